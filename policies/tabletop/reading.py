"""Reads blocks and pusher from pictures of the table, true or predicted, by their colours.

Everything on the table but the blocks and the pusher's tip is grey, so a pixel's hue says what it
shows and how colourful it is says how much of it. A place is the middle of what is seen of a
colour, corrected for nothing: the arm may hide a part. What does not look enough like a block is
unreadable and comes back as NaN, so that it can be counted.

H height, W width. Positions are (x, y) in pixels, y down: where the camera sees the middle of the
block, half its height above the table, or of the pusher's tip.
"""

import cv2
import numpy as np

from policies.tabletop.scene import (
    BLOCK_HEIGHT,
    BLOCKS,
    NAMES,
    PUSHER_RADIUS,
    SIZE,
    at_height,
    to_pixels,
    to_table,
)

PUSHER = "pusher"
MIN_SIZE = 48  # pixels: below it the pusher is under three pixels wide
# Hues of red, blue, yellow, green and magenta as OpenCV counts them (180 to a turn), and how far
# around each a pixel is of that colour.
HUES = {"cube": 0, "cylinder": 114, "prism": 25, "cross": 65, PUSHER: 155}
HUE_WIDTH = {"cube": 10, "cylinder": 16, "prism": 10, "cross": 22, PUSHER: 13}
FULL = 0.45  # difference of the highest and the lowest of red, green and blue of a face in shade
SEEN = 0.25  # below it a pixel is haze
FOUND = 0.3  # share of what a block in full view shows that must be seen
RIVAL = (
    0.6  # more of its colour elsewhere than this share of it: it is undecided which one is meant
)
# Height above the table, m, of what is read as the place: half of a block's, and of the pusher the
# middle of what the arm leaves to be seen of its tip.
HEIGHTS = {**dict.fromkeys(NAMES, BLOCK_HEIGHT / 2), PUSHER: 0.0145}
RADII = {**{block.name: block.radius for block in BLOCKS}, PUSHER: PUSHER_RADIUS}


def measure(frames: np.ndarray) -> dict[str, np.ndarray]:
    """Places of the four blocks and the pusher in pictures.

    Args:
        frames: uint8 (N, H, W, 3), square, at least 48 pixels.

    Returns:
        (x, y) in pixels, float64 (N, 2), of each by name; NaN where it cannot be made out, or is
        seen twice.
    """
    frames = np.asarray(frames)
    if frames.ndim != 4 or frames.dtype != np.uint8 or frames.shape[-1] != 3:
        raise ValueError(
            f"frames are {frames.dtype} {frames.shape}, expected uint8 (N, height, width, 3) as "
            "the simulator observes them"
        )
    height, width = frames.shape[1:3]
    if height != width or height < MIN_SIZE:
        raise ValueError(
            f"frames are {height} x {width}, expected square ones of at least {MIN_SIZE} pixels: "
            "read them as the simulator observes them"
        )
    found = [_read(frame) for frame in frames]
    return {name: np.array([one[name] for one in found]).reshape(-1, 2) for name in HEIGHTS}


def places(frame: np.ndarray) -> dict[str, np.ndarray]:
    """Where blocks and pusher are on the table, (2,) in m by name, NaN where they are not seen."""
    found = measure(frame[None])
    return {name: to_table(at[0], HEIGHTS[name], len(frame)) for name, at in found.items()}


def true_pixels(poses: np.ndarray, effector: np.ndarray, size: int = SIZE) -> dict[str, np.ndarray]:
    """What `measure` ideally gives for poses (N, 4, 3) and places of the pusher (N, 2), m."""
    known = {name: poses[:, i, :2] for i, name in enumerate(NAMES)} | {PUSHER: effector}
    return {name: to_pixels(at_height(known[name], HEIGHTS[name]), size) for name in HEIGHTS}


def _read(frame: np.ndarray) -> dict[str, np.ndarray]:
    """The same for one frame (H, W, 3), (2,) each."""
    hue = cv2.cvtColor(frame, cv2.COLOR_RGB2HSV)[..., 0].astype(np.int16)
    colourful = (frame.max(-1).astype(np.float32) - frame.min(-1)) / (255 * FULL)
    colourful = np.where(colourful < SEEN, 0, colourful.clip(0, 1))
    return {
        name: _place(
            np.where(np.abs((hue - HUES[name] + 90) % 180 - 90) <= HUE_WIDTH[name], colourful, 0),
            name,
        )
        for name in HEIGHTS
    }


def _place(shares: np.ndarray, name: str) -> np.ndarray:
    """The middle of what is seen of one colour, given its share of each pixel (H, W)."""
    size = len(shares)
    rows, columns = np.nonzero(shares)
    if not len(rows):
        return np.full(2, np.nan)
    points = np.stack((columns, rows), axis=1) + 0.5
    weights = shares[rows, columns].astype(np.float64)
    radius = RADII[name] * size / SIZE * _PIXELS_PER_METRE
    blurred = cv2.GaussianBlur(shares, (0, 0), radius / 2, borderType=cv2.BORDER_CONSTANT)
    middle = np.array(np.unravel_index(np.argmax(blurred), shares.shape))[::-1] + 0.5
    for _ in range(3):
        near = np.linalg.norm(points - middle, axis=1) < 1.6 * radius + 1
        if not near.any():
            return np.full(2, np.nan)
        middle = np.average(points[near], axis=0, weights=weights[near])
    seen, elsewhere = weights[near].sum(), weights[~near].sum()
    if seen < FOUND * _full_view(name, size) or elsewhere > RIVAL * seen:
        return np.full(2, np.nan)
    return middle


def _full_view(name: str, size: int) -> float:
    """About how many pixels a block shows in the middle of the table."""
    return _AREAS[name] * (size / SIZE) ** 2


def _shown(name: str) -> float:
    """Pixels that the outline of a block covers there, its upright sides included."""
    radius, height = RADII[name], 2 * HEIGHTS[name]
    ring = [(radius * np.cos(a), radius * np.sin(a)) for a in np.linspace(0, 2 * np.pi, 33)]
    outlines = {block.name: block.outline for block in BLOCKS} | {PUSHER: tuple(ring)}
    corners = np.concatenate([at_height(np.array(outlines[name]), z) for z in (0.0, height)])
    hull = cv2.convexHull(to_pixels(corners).astype(np.float32))
    return float(cv2.contourArea(hull))


_PIXELS_PER_METRE = float(
    np.linalg.norm(to_pixels(np.array([0.01, 0, 0])) - to_pixels(np.zeros(3))) / 0.01
)
_AREAS = {name: _shown(name) for name in HEIGHTS}
