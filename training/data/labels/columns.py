"""Labels in an episode's annotation, beside what was recorded: hidden states by name.

Of a body called NAME: `NAME` (x, y, angle), which `irasim train --hidden NAME --poses NAME` takes,
and `NAME_visible`, `NAME_labelled`, `NAME_residual` and `NAME_deviation` (place, angle), which say
how far to trust it.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.episodes import annotation_path, read_json, write_json
from training.data.labels.track import Track

SUFFIXES = ("", "_visible", "_labelled", "_residual", "_deviation")
# Digits after the point: a thousandth of a pixel's hundredth is no information.
DIGITS = 5


@dataclass(frozen=True)
class Units:
    """From pixels of a picture to the units of its plane.

    Attributes:
        left, top: Of the picture, in them.
        scale: Units a pixel.
    """

    left: float
    top: float
    scale: float

    @classmethod
    def of(cls, plane: tuple[float, float, float, float] | None, size: tuple[int, int]) -> "Units":
        """Those of a plane (left, top, right, bottom) seen in pictures (H, W); pixels where None.

        Raises:
            ValueError: A pixel is not square in them.
        """
        height, width = size
        left, top, right, bottom = plane or (0.0, 0.0, float(width), float(height))
        across, down = (right - left) / width, (bottom - top) / height
        if not across > 0 or not down > 0 or abs(across / down - 1) > 0.01:
            raise ValueError(
                f"--plane {left:g} {top:g} {right:g} {bottom:g} of pictures {height} x {width}: a "
                f"pixel is {across:g} wide and {down:g} high; expected a square one, since bodies "
                "are rigid in the picture"
            )
        return cls(left, top, across)


def column_names(names: tuple[str, ...]) -> list[str]:
    """Of all bodies."""
    return [name + suffix for name in names for suffix in SUFFIXES]


def columns(name: str, track: Track, units: Units) -> dict[str, np.ndarray]:
    """A body's hidden states, (T, n) each."""
    poses = track.poses.copy()
    poses[:, :2] = (poses[:, :2] + 0.5) * units.scale + (units.left, units.top)
    deviation = np.where(track.labelled[:, None], track.deviation, 0.0)
    values = (
        poses,
        track.visible[:, None],
        track.labelled[:, None].astype(float),
        track.residual[:, None],
        deviation * (units.scale, 1.0),
    )
    return {name + suffix: value for suffix, value in zip(SUFFIXES, values, strict=True)}


def add_columns(root: Path, split: str, episode_id: str, found: dict[str, np.ndarray]) -> None:
    """Write them into the annotation: all of it, or else what was there stays."""
    path = annotation_path(root, split, episode_id)
    content = read_json(path)
    hidden = {key: np.round(values, DIGITS).tolist() for key, values in found.items()}
    content["hidden"] = {**content.get("hidden", {}), **hidden}
    write_json(path, content)


def drop_columns(root: Path, split: str, episode_id: str, names: set[str]) -> None:
    """Take labels out of the annotation."""
    path = annotation_path(root, split, episode_id)
    content = read_json(path)
    hidden = content.get("hidden", {})
    if names & set(hidden):
        content["hidden"] = {key: hidden[key] for key in hidden if key not in names}
        write_json(path, content)


def hidden_names(root: Path, split: str, episode_id: str) -> set[str]:
    """Names of the hidden states that an episode has."""
    hidden = read_json(annotation_path(root, split, episode_id)).get("hidden", {})
    return set(hidden) if isinstance(hidden, dict) else set()
