"""What to do about a split without episodes: collect some, or convert again."""

import shlex
from pathlib import Path

from training.data.episodes import read_json

# Written beside the episodes by `irasim collect`, and by `irasim convert` (lerobot/convert_in.py).
COLLECTED, CONVERTED = "collect.json", "convert.json"
LEROBOT = Path("meta", "info.json")
"""What every LeRobot dataset has; one is often given where episodes are wanted."""


def cure_for_missing(root: str | Path, split: str) -> str:
    """How this dataset gets (more) episodes of a split, in words."""
    root = Path(root)
    if (root / LEROBOT).is_file():
        command = shlex.join(["irasim", "convert", str(root), "--out", f"data/{root.name}"])
        return (
            f"it is a LeRobot dataset: make episodes of it with `{command}` (--height, --width and "
            "--fps make them small) and give that directory"
        )
    if (root / CONVERTED).is_file():
        option = (
            f" with --{split} N" if split in ("val", "test") else " with fewer in --val and --test"
        )
        return f"convert again{option} into another directory"
    command = collect_again(root, split)
    if command is not None:
        return f"record some with `{command}`"
    return f"record some with `irasim collect --split {split}`, or convert yours"


def collect_again(root: Path, split: str) -> str | None:
    """The command that records more of what was collected here; None if nothing was."""
    if not (root / COLLECTED).is_file():
        return None
    try:
        run = read_json(root / COLLECTED)["runs"][-1]["config"]
        words = ["irasim", "collect", "--env-id", run["env_id"], "--out", str(root)]
        words += ["--split", split, "--policy", run["policy"]]
        if run["env_kwargs"] != "{}":
            words += ["--env-kwargs", run["env_kwargs"]]
        if run.get("hidden"):
            words += ["--hidden", *run["hidden"]]
        return shlex.join(words)
    except (ValueError, KeyError, IndexError, TypeError):  # not as collect writes it
        return None
