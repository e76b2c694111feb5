"""Which turns of a body cannot be seen: its sprite against itself, turned."""

import numpy as np

from training.data.labels.sprite import FINE, Sprite, turn

# Two views are alike if they differ by less than this share of what the body differs from nothing.
ALIKE = 0.12
# Orders of symmetry that are looked for; above them a body counts as round.
HIGHEST = 8
ROUND = 0


def self_difference(sprite: Sprite, num_angles: int = 360) -> np.ndarray:
    """Squared difference of a sprite and itself turned by i / num_angles of a turn, as a share of
    its energy: (num_angles,)."""
    side = len(sprite.alpha)
    y, x = np.mgrid[: side : FINE // 2, : side : FINE // 2]
    local = (np.stack([x, y], axis=-1).reshape(-1, 2) - (side - 1) / 2) / FINE
    mean = np.average(sprite.colour.reshape(-1, 3), axis=0, weights=sprite.alpha.ravel())

    def look(angle: float) -> np.ndarray:
        found = sprite.at(turn(local, angle))
        # Alpha counts as much as the largest contrast of colours.
        return np.concatenate([found[:, :1], found[:, :1] * (found[:, 3:6] - mean) / 255], axis=1)

    straight = look(0.0)
    energy = float((straight**2).sum())
    turned = (look(2 * np.pi * i / num_angles) for i in range(num_angles))
    return np.array([((one - straight) ** 2).sum() for one in turned]) / max(energy, 1e-9)


def order_of_symmetry(sprite: Sprite) -> int:
    """1: every turn is seen; n: turns by 1/n are not; `ROUND`: none is."""
    difference = self_difference(sprite)
    if difference.max() < ALIKE:
        return ROUND
    for order in range(HIGHEST, 1, -1):
        steps = np.rint(np.arange(1, order) * len(difference) / order).astype(int)
        around = [
            difference[np.arange(step - 2, step + 3) % len(difference)].min() for step in steps
        ]
        if max(around) < ALIKE:
            return order
    return 1
