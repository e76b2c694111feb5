"""How joints follow their targets: a linear law of each, fitted by least squares.

Its free run needs the targets alone. Dimensions: T frames, J joints, F features.
"""

from collections.abc import Sequence

import numpy as np

LAGS = 5
"""Targets that a step of a joint is predicted from: the one that leads to it and those before."""


class JointResponse:
    """Predicts joints from absolute targets; both in the robot's own units."""

    def __init__(self, joints: Sequence[np.ndarray], targets: Sequence[np.ndarray]):
        """Fit.

        Args:
            joints: Of each episode, (T, J).
            targets: Of each episode, (T, J); `targets[t]` led to `joints[t]`, that of the first
                frame means nothing (see `training.clips.ClipStore`).

        Raises:
            ValueError: There are not as many targets as joints.
        """
        if joints[0].shape[1:] != targets[0].shape[1:]:
            raise ValueError(
                f"{joints[0].shape[1]} joints and actions of {targets[0].shape[1]} numbers: "
                "expected a target for each joint; choose another --state"
            )
        inputs, steps = [], []
        for q, u in zip(joints, targets, strict=True):
            for t in range(2, len(q)):
                inputs.append(_features(q[t - 1], q[t - 2], u, t))
                steps.append(q[t] - q[t - 1])
        x, y = np.stack(inputs), np.stack(steps)  # (F, 1 + LAGS + 1, J), (F, J)
        scale = x.std(axis=0).mean(axis=-1)[:, None] + 1e-6
        ridge = 1e-3 * len(x) * np.diag(scale[:, 0] ** 2)
        self.weights = np.stack(
            [
                np.linalg.solve(x[:, :, j].T @ x[:, :, j] + ridge, x[:, :, j].T @ y[:, j])
                for j in range(y.shape[1])
            ],
            axis=-1,
        )
        self.offset = np.mean([q[0] - u[1] for q, u in zip(joints, targets, strict=True)], axis=0)

    def run(self, targets: np.ndarray) -> np.ndarray:
        """Joints (T, J) under the targets that led to each frame (T, J), T at least 2."""
        joints = np.empty_like(targets)
        joints[0] = targets[1] + self.offset
        for t in range(1, len(targets)):
            features = _features(joints[t - 1], joints[max(t - 2, 0)], targets, t)
            joints[t] = joints[t - 1] + (features * self.weights).sum(axis=0)
        return joints


def _features(last: np.ndarray, earlier: np.ndarray, targets: np.ndarray, t: int) -> np.ndarray:
    """What the step to frame t is predicted from, (2 + LAGS, J)."""
    lagged = [targets[max(t - lag, 1)] - last for lag in range(LAGS)]
    return np.stack([last - earlier, *lagged, np.ones_like(last)])
