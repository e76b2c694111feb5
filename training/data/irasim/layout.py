"""Tells data in IRASim's published layout, which the chunk presets train on, from our episodes."""

from pathlib import Path
from typing import Any

from training.data.episodes import SPLITS, read_json

# Keys of our annotations that the published ones never have.
OURS = ("rewards", "terminated")
MODELS = ("frame_ada", "video_ada", "lvdm", "vdm")


def refuse_published(root: Path) -> None:
    """Raise ValueError if a directory holds published data: another kind of model trains on them.

    Nothing is said of directories that hold none, or none that can be read: whoever reads them
    does.
    """
    found = (
        path
        for split in SPLITS
        for path in sorted((root / "annotation" / split).glob("[!.]*.json"))[:1]
    )
    path = next(found, None)
    if path is None:
        return
    try:
        annotation = read_json(path)
    except ValueError:
        return
    datasets = published_datasets(annotation)
    if datasets:
        presets = ", ".join(f"{name}_{model}" for name in datasets for model in MODELS)
        raise ValueError(
            f"{root} is in IRASim's published layout ({path.name} has no {' and no '.join(OURS)}): "
            f"irasim train --preset PRESET --data {root} trains on it, PRESET being one of "
            f"{presets}; the default preset trains on episodes of `irasim collect` and `convert`"
        )


def published_datasets(annotation: dict[str, Any]) -> tuple[str, ...]:
    """The published datasets that an annotation may be of; none if it is ours, or of neither."""
    if any(key in annotation for key in OURS):
        return ()
    if "state" in annotation and "continuous_gripper_state" in annotation:
        return ("rt1", "bridge")
    if "actions" in annotation:
        return ("languagetable",)
    return ()
