"""What to do about a split without episodes: collect some, or convert again."""

from pathlib import Path

# Written beside the episodes by `irasim convert` (training.convert_in).
CONVERTED = "convert.json"


def cure_for_missing(root: str | Path, split: str) -> str:
    """How this dataset gets (more) episodes of a split, in words."""
    if (Path(root) / CONVERTED).is_file():
        option = (
            f" with --{split} N" if split in ("val", "test") else " with fewer in --val and --test"
        )
        return f"convert again{option} into another directory"
    return f"record some with `irasim collect --split {split}`, or convert yours"
