"""A few numbers that say where the T is, from Push-T frames alone, true or predicted.

Each pixel is a mixture of what gym-pusht paints with, so a 4 x 4 system gives each colour's share
of it. The moments of the T's share give its place and its direction, and fade with the T where a
world's prediction does, instead of failing.

Dimensions: B frames, H W pixels.
"""

import numpy as np

from policies.pusht import reading

UNMIX = np.linalg.inv(np.column_stack((reading.PALETTE, np.ones(4)))).astype(np.float32)
WALL = reading.WALL / 512  # walls are left out with the outermost pixels
DISC = 20 / 512  # of the frame's width, the disc's radius with its rim
CERTAIN = 0.25  # a share that is more than an edge's blur
T_AREA = (120 * 30 + 30 * 90) / 512**2  # of the frame's, where all of it is seen
NUM_FEATURES = 10


def pusht_features(pixels: np.ndarray, agent_pos: np.ndarray) -> np.ndarray:
    """Where disc and T are, each about within [-2, 2].

    Args:
        pixels: uint8 (B, H, W, 3) of Push-T.
        agent_pos: (B, 2), the disc's centre in simulator units, [0, 512].

    Returns:
        float32 (B, 10): the disc's place; the T's centroid, and from the disc; which way the T
        points (the third moment: its stem is the long end); areas of the T and of the bare goal.
    """
    shares = np.clip(pixels.astype(np.float32) @ UNMIX[:3] + UNMIX[3], 0, 1)  # (B, H, W, 4)
    height, width = pixels.shape[1:3]
    y = (np.arange(height, dtype=np.float32) + 0.5) / height
    x = (np.arange(width, dtype=np.float32) + 0.5) / width
    inside = np.outer(np.abs(y - 0.5) < 0.5 - WALL, np.abs(x - 0.5) < 0.5 - WALL)
    disc = np.asarray(agent_pos, np.float32) / 512
    away_x, away_y = x - disc[:, :1], y - disc[:, 1:]
    away = away_x[:, None] ** 2 + away_y[:, :, None] ** 2 > DISC**2  # its rim is greyish
    seen = (shares[..., 2] > CERTAIN) & inside & away
    grey = np.where(seen, shares[..., 2], 0)  # (B, H, W)
    bare_goal = np.where(shares[..., 1] > CERTAIN, shares[..., 1], 0)
    weights = grey / np.maximum(grey.sum((1, 2), keepdims=True), 1e-6)
    centre_x, centre_y = (weights * x).sum((1, 2)), (weights * y[:, None]).sum((1, 2))
    dx, dy = x - centre_x[:, None, None], (y - centre_y[:, None])[..., None]
    lopsided = weights * (dx**2 + dy**2)
    spread = np.maximum(lopsided.sum((1, 2)), 1e-6) ** 1.5
    towards_x = (lopsided * dx).sum((1, 2)) / spread
    towards_y = (lopsided * dy).sum((1, 2)) / spread
    t = np.stack((centre_x, centre_y), -1)
    features = (
        2 * disc - 1,
        2 * t - 1,
        4 * (t - disc),
        3 * np.stack((towards_x, towards_y), -1),
        np.stack((grey.mean((1, 2)), bare_goal.mean((1, 2))), -1) / T_AREA,
    )
    return np.concatenate(features, -1).astype(np.float32)
