"""How far labels that `irasim label` found are from the poses that a simulator recorded.

    python -m benchmarks.experiments.label_accuracy DATA --splits val test

The labels' origin is the sprite's centroid, and their zero angle its longer axis; the simulator's
are others, fixed to the body. So one offset (x, y in the body's frame, and an angle) is fitted, by
medians over all labelled frames, before anything is compared. Nothing else is: neither scale nor
a shift of the picture. Before a camera that looks aslant labels lie in the plane in which robot and
bodies touch, which is not the table's: --affine fits an affine map from there first.

    python -m benchmarks.experiments.label_accuracy DATA --label cube --true cube_pose \\
        --symmetry 4 --pixel 0.00334 --affine
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from training.data.episodes import SPLITS, list_episodes, read_record

# Visible shares from which rows begin.
FROM = (0.95, 0.75, 0.5, 0.0)


@dataclass(frozen=True, kw_only=True)
class AccuracyConfig:
    """What to compare."""

    data: Annotated[Path, tyro.conf.Positional]
    """A labelled data set whose episodes hold the true poses too."""
    splits: tuple[str, ...] = SPLITS
    """Which splits."""
    label: str = "block"
    """The body's name among the labels."""
    true: str = "block_pose"
    """The recorded pose: x, y, angle."""
    pixel: float = 512 / 96
    """Units of both in a pixel."""
    symmetry: int = 1
    """In how many directions the body looks the same; 0: it is round."""
    affine: bool = False
    """Fit an affine map of places first."""


def turned(places: np.ndarray, angles: np.ndarray) -> np.ndarray:
    """Places (..., 2) turned by angles (...)."""
    cos, sin = np.cos(angles), np.sin(angles)
    x, y = places[..., 0], places[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def offsets(
    labels: np.ndarray, true: np.ndarray, used: np.ndarray, symmetry: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where true poses (N, 3) are off from labels (N, 3) after one rigid offset, fitted where used.

    Returns:
        x and y off, in the picture's directions, (N, 2); angles off in rad, (N,); the offset (3,).
    """
    angles = true[:, 2] - labels[:, 2]
    if symmetry == 0:
        angles = np.zeros_like(angles)
    order = max(1, symmetry)
    turn = np.angle(np.exp(1j * order * angles[used]).mean()) / order
    turn += np.median(np.angle(np.exp(1j * order * (angles[used] - turn)))) / order
    if symmetry != 1:  # there is no origin but the middle
        away = labels[:, :2] - true[:, :2]
        away = away - np.median(away[used], axis=0)
        return away, np.angle(np.exp(1j * order * (angles - turn))) / order, np.array([0, 0, turn])
    local = turned(true[:, :2] - labels[:, :2], -labels[:, 2])
    origin = np.median(local[used], axis=0)
    away = labels[:, :2] + turned(origin, labels[:, 2]) - true[:, :2]
    return away, np.angle(np.exp(1j * (angles - turn))), np.array([*origin, turn])


def main(config: AccuracyConfig) -> None:
    """Print a table."""
    labels, true, visible, labelled = [], [], [], []
    for split in config.splits:
        for episode_id in list_episodes(config.data, split):
            hidden = read_record(config.data, split, episode_id)[0]["hidden"]
            labels.append(hidden[config.label])
            true.append(hidden[config.true])
            visible.append(hidden[f"{config.label}_visible"][:, 0])
            labelled.append(hidden[f"{config.label}_labelled"][:, 0] > 0)
    pose, truth = np.concatenate(labels), np.concatenate(true)
    seen, used = np.concatenate(visible), np.concatenate(labelled)
    if config.affine:
        places = np.concatenate([pose[:, :2], np.ones((len(pose), 1))], axis=1)
        found = np.linalg.lstsq(places[used], truth[used, :2], rcond=None)[0]
        raw = np.linalg.norm(pose[used, :2] - truth[used, :2], axis=1) / config.pixel
        print(
            f"affine map {np.round(found, 4).tolist()}; without it the median is "
            f"{np.median(raw):.2f} px"
        )
        pose = np.concatenate([places @ found, pose[:, 2:]], axis=1)
    off, angles, offset = offsets(pose, truth, used, config.symmetry)
    place = np.linalg.norm(off, axis=1) / config.pixel
    degrees = np.degrees(np.abs(angles))
    shift = np.median(off[used], axis=0) / config.pixel
    print(
        f"{len(labels)} episodes, {len(pose):,} frames, labelled {used.mean():.2%}; offset "
        f"{offset[0] / config.pixel:.3f}, {offset[1] / config.pixel:.3f} px, "
        f"{np.degrees(offset[2]):.2f} degrees; median error along x and y {shift[0]:+.3f}, "
        f"{shift[1]:+.3f} px\n"
    )
    print(
        "| visible | frames | place, px: median, 90 %, 99 %, largest | angle, degrees: likewise |"
    )
    print("|---|---:|---|---|")
    rows = [("all labelled", used)]
    above = np.inf
    for bound in FROM:
        name = f"{bound:g} and more" if above == np.inf else f"{bound:g} to {above:g}"
        rows.append((name, used & (seen >= bound) & (seen < above)))
        above = bound
    rows.append(("not labelled (interpolated)", ~used))
    for name, mask in rows:
        if mask.any():
            figures = [
                ", ".join(f"{q:.2f}" for q in np.quantile(values[mask], (0.5, 0.9, 0.99, 1)))
                for values in (place, degrees)
            ]
            print(f"| {name} | {mask.sum():,} | {figures[0]} | {figures[1]} |")
    resting = (np.abs(np.concatenate([np.diff(one, axis=0) for one in true])) == 0).all(1)
    kept = (np.concatenate([np.diff(one, axis=0) for one in labels]) == 0).all(1)
    print(
        f"\nwhere the true pose does not change, labels keep theirs in {kept[resting].mean():.2%}"
    )


if __name__ == "__main__":
    main(tyro.cli(AccuracyConfig))
