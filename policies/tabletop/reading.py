"""Reads blocks and pusher from pictures of the table, true or predicted, by their colours.

Everything on the table but the blocks and the pusher's tip is grey, so a pixel's hue says what it
shows and how colourful it is says how much of it. A place is the middle of what is seen of a
colour; where the arm or another block hides a part, it is moved by as much as the middle of an
upright cylinder would move, were the same part of it hidden. What does not look enough like a block
is unreadable and comes back as NaN, so that it can be counted.

H height, W width. Positions are (x, y) in pixels, y down: where the camera sees the middle of the
block, half its height above the table, or of the pusher's tip.
"""

import cv2
import numpy as np

from policies.tabletop.scene import (
    BLOCK_HEIGHT,
    BLOCKS,
    CAMERA_ELEVATION,
    NAMES,
    PUSHER_RADIUS,
    PUSHER_TIP,
    SIZE,
    at_height,
    polygon_area,
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
TABLE_GREY, ARM_GREY = 0.85, 0.45  # above the one a grey is the table, below the other it hides it
UNHIDDEN = 0.97  # share of a block beyond which nothing is hidden
ROUNDS = 3
# Height above the table, m, of what is read as the place: half of a block's, and of the tip.
TALL = {**dict.fromkeys(NAMES, BLOCK_HEIGHT), PUSHER: PUSHER_TIP}
HEIGHTS = {name: tall / 2 for name, tall in TALL.items()}
RADII = {**{block.name: block.radius for block in BLOCKS}, PUSHER: PUSHER_RADIUS}
# Radii of the cylinders that cover as much of the table as the blocks do, m.
WIDE = {
    **{block.name: (polygon_area(block.outline) / np.pi) ** 0.5 for block in BLOCKS},
    PUSHER: PUSHER_RADIUS,
}


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
    highest = frame.max(-1).astype(np.float32) / 255
    colourful = (highest - frame.min(-1).astype(np.float32) / 255) / FULL
    colourful = np.where(colourful < SEEN, 0, colourful.clip(0, 1))
    shares = {
        name: np.where(np.abs((hue - HUES[name] + 90) % 180 - 90) <= HUE_WIDTH[name], colourful, 0)
        for name in HEIGHTS
    }
    # What is no table: other blocks, and greys as dark as the arm and the rim.
    dark = ((TABLE_GREY - highest) / (TABLE_GREY - ARM_GREY)).clip(0, 1) * (colourful == 0)
    things = sum(shares.values()) + dark
    return {name: _place(shares[name], things - shares[name], name) for name in HEIGHTS}


def _place(shares: np.ndarray, hidden: np.ndarray, name: str) -> np.ndarray:
    """Where a block is, given its share of each pixel (H, W) and that of what may hide it."""
    size = len(shares)
    rows, columns = np.nonzero(shares)
    if not len(rows):
        return np.full(2, np.nan)
    points = np.stack((columns, rows), axis=1) + 0.5
    weights = shares[rows, columns].astype(np.float64)
    radius = RADII[name] * size / SIZE * _PIXELS_PER_METRE
    blurred = cv2.GaussianBlur(shares, (0, 0), radius / 2, borderType=cv2.BORDER_CONSTANT)
    middle = np.array(np.unravel_index(np.argmax(blurred), shares.shape))[::-1] + 0.5
    near = np.zeros(len(rows), bool)
    for _ in range(3):
        near = np.linalg.norm(points - middle, axis=1) < 1.6 * radius + 1
        if not near.any():
            return np.full(2, np.nan)
        middle = np.average(points[near], axis=0, weights=weights[near])
    seen, elsewhere = weights[near].sum(), weights[~near].sum()
    if seen < FOUND * _AREAS[name] * (size / SIZE) ** 2 or elsewhere > RIVAL * seen:
        return np.full(2, np.nan)
    return _behind(middle, hidden, name, 2.2 * radius + 2)


def _behind(middle: np.ndarray, hidden: np.ndarray, name: str, reach: float) -> np.ndarray:
    """The place (2,) of a block, of which what is not hidden has its middle (2,) there: that is as
    far off as it is for a cylinder."""
    size = len(hidden)
    low = np.maximum((middle - reach).astype(int), 0)
    high = np.minimum((middle + reach).astype(int) + 1, size)
    window = hidden[low[1] : high[1], low[0] : high[0]]
    free = (1 - window).clip(0, 1)
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    place = middle
    for _ in range(ROUNDS):
        cover = _cylinder(place, x, y, name, size)
        total, left = cover.sum(), (cover * free).sum()
        if left > UNHIDDEN * total:
            return place
        if left < 1:
            return np.full(2, np.nan)
        lost = cover / total - cover * free / left
        place = middle + ((lost * x).sum(), (lost * y).sum())
    return place if np.linalg.norm(place - middle) < reach else np.full(2, np.nan)


def _cylinder(place: np.ndarray, x: np.ndarray, y: np.ndarray, name: str, size: int) -> np.ndarray:
    """Share of each pixel at (x, y) that an upright cylinder in the block's stead covers."""
    at = at_height(to_table(place, HEIGHTS[name], size), 0.0)
    top = at + np.array([0, 0, TALL[name]])
    foot_x, foot_y = to_pixels(at, size)
    across = to_pixels(at + np.array([WIDE[name], 0, 0]), size)[0] - foot_x
    # Circles on the table look like ellipses: stretched until they are circles again, the outline
    # is that of all discs between foot and top.
    stretch = 1 / np.sin(CAMERA_ELEVATION)
    height = (foot_y - to_pixels(top, size)[1]) * stretch
    below = (foot_y - y) * stretch
    distance = np.hypot(x - foot_x, below - below.clip(0, height))
    return (across - distance + 0.5).clip(0, 1)


def _shown(name: str) -> float:
    """About how many pixels it shows in the middle of the table."""
    x, y = np.meshgrid(np.arange(SIZE) + 0.5, np.arange(SIZE) + 0.5)
    middle = to_pixels(np.array([0, 0, HEIGHTS[name]]))
    return float(_cylinder(middle, x, y, name, SIZE).sum())


_PIXELS_PER_METRE = float(
    np.linalg.norm(to_pixels(np.array([0.01, 0, 0])) - to_pixels(np.zeros(3))) / 0.01
)
_AREAS = {name: _shown(name) for name in HEIGHTS}
