"""What is on the table, and where the camera sees it: sizes, shapes, colours and projection.

Arithmetic only: neither MuJoCo nor a window. Places are in metres on the table, x to the right and
y away from the camera, the origin in its middle; z is up. Pixels are (x, y) from the picture's
upper left corner, y down.
"""

from dataclasses import dataclass

import numpy as np

TABLE = (0.14, 0.13)  # half its width and half its depth, m, to the inside of the rim
BLOCK_HEIGHT = 0.024
PUSHER_RADIUS = 0.009
PUSHER_TIP = 0.036  # height of the coloured tip, m
PUSHER_MARGIN = 0.010  # how near the pusher's axis comes to the rim, m
STEP = 0.015  # how far the pusher goes in one step along each axis, m
TOUCHING = 0.04  # distance between two blocks' middles at which they count as touching, m
SIZE = 96  # pixels along each side of what is observed


@dataclass(frozen=True, kw_only=True)
class Block:
    """One of the blocks: an upright prism over an outline."""

    name: str
    colour: tuple[float, float, float]
    """Red, green and blue in [0, 1]."""
    outline: tuple[tuple[float, float], ...]
    """Corners around the middle, m, counterclockwise."""
    turn: float
    """Angle after which it looks the same, rad; 0 for a round one."""

    @property
    def radius(self) -> float:
        """Of the circle around it, m."""
        return float(np.linalg.norm(self.outline, axis=1).max())


def _ring(count: int, radius: float, first: float = 0.0) -> tuple[tuple[float, float], ...]:
    angles = first + 2 * np.pi * np.arange(count) / count
    return tuple((float(radius * np.cos(a)), float(radius * np.sin(a))) for a in angles)


_LONG, _THIN = 0.021, 0.0075  # half the length and half the width of the cross's bars
_CROSS = (
    *((_LONG, -_THIN), (_LONG, _THIN), (_THIN, _THIN), (_THIN, _LONG)),
    *((-_THIN, _LONG), (-_THIN, _THIN), (-_LONG, _THIN), (-_LONG, -_THIN)),
    *((-_THIN, -_THIN), (-_THIN, -_LONG), (_THIN, -_LONG), (_THIN, -_THIN)),
)
BARS = (_LONG, _THIN)
BLOCKS = (
    Block(
        name="cube",
        colour=(0.95, 0.10, 0.08),
        outline=_ring(4, 0.0165 * 2**0.5, np.pi / 4),
        turn=np.pi / 2,
    ),
    Block(name="cylinder", colour=(0.08, 0.25, 1.0), outline=_ring(32, 0.018), turn=0.0),
    Block(
        name="prism",
        colour=(1.0, 0.85, 0.0),
        outline=_ring(3, 0.024, np.pi / 2),
        turn=2 * np.pi / 3,
    ),
    Block(name="cross", colour=(0.05, 0.72, 0.15), outline=_CROSS, turn=np.pi / 2),
)
NAMES = tuple(block.name for block in BLOCKS)
PUSHER_COLOUR = (1.0, 0.0, 0.85)

# Where the pusher's axis may be, m: low and high, (2,) each.
REACH_LOW = -np.array(TABLE) + PUSHER_MARGIN
REACH_HIGH = np.array(TABLE) - PUSHER_MARGIN

# The camera looks from the front and above at a point of the table.
CAMERA_AT = np.array([0.0, 0.009, 0.0])
CAMERA_ELEVATION = np.radians(60.0)
CAMERA_DISTANCE = 0.62
CAMERA_FOVY = 29.4  # degrees

_FORWARD = np.array([0.0, np.cos(CAMERA_ELEVATION), -np.sin(CAMERA_ELEVATION)])
CAMERA_RIGHT = np.array([1.0, 0.0, 0.0])
CAMERA_UP = np.array([0.0, np.sin(CAMERA_ELEVATION), np.cos(CAMERA_ELEVATION)])
CAMERA_PLACE = CAMERA_AT - CAMERA_DISTANCE * _FORWARD


def to_pixels(points: np.ndarray, size: int = SIZE) -> np.ndarray:
    """Where the camera sees points (..., 3), m: (x, y) in pixels of a square picture, (..., 2)."""
    seen = np.asarray(points, np.float64) - CAMERA_PLACE
    across, up, depth = seen @ CAMERA_RIGHT, seen @ CAMERA_UP, seen @ _FORWARD
    focal = size / 2 / np.tan(np.radians(CAMERA_FOVY) / 2)
    return np.stack((size / 2 + focal * across / depth, size / 2 - focal * up / depth), axis=-1)


def to_table(pixels: np.ndarray, height: float, size: int = SIZE) -> np.ndarray:
    """The points (..., 2), m, at a height above the table that are seen at pixels (..., 2)."""
    focal = size / 2 / np.tan(np.radians(CAMERA_FOVY) / 2)
    off = (np.asarray(pixels, np.float64) - size / 2) / focal
    rays = _FORWARD + off[..., :1] * CAMERA_RIGHT - off[..., 1:] * CAMERA_UP
    reach = (height - CAMERA_PLACE[2]) / rays[..., 2:]
    return (CAMERA_PLACE + reach * rays)[..., :2]


def at_height(places: np.ndarray, height: float) -> np.ndarray:
    """Places (..., 2) on the table as points (..., 3) at a height, m."""
    places = np.asarray(places, np.float64)
    return np.concatenate((places, np.full((*places.shape[:-1], 1), height)), axis=-1)


def polygon_area(corners: tuple[tuple[float, float], ...]) -> float:
    """Area inside of corners, m^2 (the shoelace formula)."""
    x, y = np.array(corners).T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2


def rotation(angle: float) -> np.ndarray:
    """Turns by an angle, counterclockwise, (2, 2)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
