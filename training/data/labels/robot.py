"""The robot's own layer: what in the picture follows its low-dimensional observation.

A kind of pieces follows it if its place is an affine function of the observation. That holds for
robots that move in the picture's plane; of others no layer is made. What hides bodies, such as an
arm before a camera that looks aslant, is looked for where frames show it in which the observation
is nearly the same.

Dimensions: N frames, M frames that are kept, Q numbers of the observation, H height, W width.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy.spatial import KDTree

from training.data.labels.pieces import Piece
from training.data.labels.sprite import Sprite

# Of the deviation of its places, an affine function must leave less than this, and so many pixels.
UNEXPLAINED, OFF = 0.1, 1.0
# Frames of like observation that say where a robot is that is no sprite.
NEAREST = 9
# Pixels around the robot's layer that take no part in registration.
ROUND_IT = 0.75


@dataclass(frozen=True, eq=False)
class RobotPart:
    """A sprite that lies at `matrix` (2, Q) of the observation and `offset` (2,).

    Attributes:
        sprite: How it looks.
        matrix, offset: To pixels.
        off: root mean square distance of the pieces from there, in pixels.
    """

    sprite: Sprite
    matrix: np.ndarray
    offset: np.ndarray
    off: float

    def poses(self, observations: np.ndarray) -> np.ndarray:
        """Where it lies for observations (N, Q): (N, 3)."""
        places = observations @ self.matrix.T + self.offset
        return np.concatenate([places, np.zeros((len(places), 1))], axis=1)


def follow(
    kind: list[Piece], observations: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Matrix, offset and error in pixels of an affine map from observations (N, Q), if pieces of a
    kind follow it; else None."""
    places = np.array([piece.centre for piece in kind])
    known = observations[[piece.frame for piece in kind]]
    if not known.shape[1] or len(kind) < 2 * known.shape[1] + 4:
        return None
    mean, scale = known.mean(0), known.std(0)
    scale = np.where(scale > 1e-9, scale, 1.0)
    inputs = np.concatenate([(known - mean) / scale, np.ones((len(known), 1))], axis=1)
    weights, solution = np.ones(len(known)), np.zeros((inputs.shape[1], 2))
    away = np.zeros(len(known))
    for _ in range(15):  # least absolute distances, by weights
        weighted = inputs * weights[:, None]
        ridge = 1e-6 * len(known) * np.eye(inputs.shape[1])
        solution = np.linalg.solve(weighted.T @ inputs + ridge, weighted.T @ places)
        away = np.linalg.norm(places - inputs @ solution, axis=1)
        weights = 1 / np.maximum(away, 0.1)
    off = float(np.sqrt(np.mean(np.sort(away)[: max(1, int(0.9 * len(away)))] ** 2)))
    spread = float(np.sqrt(places.var(0).sum()))
    if off > min(OFF, UNEXPLAINED * spread):
        return None
    matrix = (solution[:-1] / scale[:, None]).T
    return matrix, solution[-1] - matrix @ mean, off


@dataclass(frozen=True, eq=False)
class RobotByExample:
    """Where the robot was seen when the observation was nearly the same.

    Attributes:
        observations: Of the frames that are kept, (M, Q).
        shown: What they show besides background and bodies, bool (M, H, W).
    """

    observations: np.ndarray
    shown: np.ndarray

    @cached_property
    def _scale(self) -> np.ndarray:
        return np.maximum(self.observations.std(0), 1e-9)

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.observations / self._scale)

    def mask(self, observations: np.ndarray) -> np.ndarray:
        """Pixels that the robot may cover or touch for observations (N, Q): bool (N, H, W)."""
        count = min(NEAREST, len(self.observations))
        rows = self._tree.query(observations / self._scale, count)[1].reshape(-1, count)
        masks = [self.shown[row].sum(0, dtype=np.uint8) > count / 3 for row in rows]
        kernel = np.ones((3, 3), np.uint8)
        return np.stack([cv2.dilate(mask.astype(np.uint8), kernel) > 0 for mask in masks])
