"""Shapes of Push-T: poses of the block, where a disc can touch it, ways around it.

Dimension key: N points. Lengths are simulator pixels (512 x 512 a side), angles radians; "block
frame" is the block's own frame, in which its outline never changes.
"""

import heapq
from dataclasses import dataclass

import numpy as np

DISC_RADIUS = 15.0
# The T's outline in the block frame; the disc touches it at a side's point plus the outward normal.
OUTLINE = np.array(
    [(-60, 0), (60, 0), (60, 30), (15, 30), (15, 120), (-15, 120), (-15, 30), (-60, 30)], float
)
# Centres and half sizes of the two boxes that make the T.
BOX_CENTERS = np.array([(0, 15), (0, 75)], float)
BOX_HALVES = np.array([(60, 15), (15, 45)], float)
BOXES = tuple(zip(BOX_CENTERS, BOX_HALVES, strict=True))
# What `irasim label` takes for the block's place and direction, in the block frame: the centroid,
# and the longer axis from its heavier end on.
LABEL_PLACE = (BOX_HALVES.prod(1)[:, None] * BOX_CENTERS).sum(0) / BOX_HALVES.prod(1).sum()
LABEL_ANGLE = np.pi / 2
# How far from the block the disc's centre keeps when it only travels.
TRAVEL_CLEARANCE = 24.0
# Where a disc's centre may be sent: inside of the walls.
LOW, HIGH = 18.0, 494.0


def rotation(angle: float) -> np.ndarray:
    """Matrix (2, 2) that turns by `angle`."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([(cos, -sin), (sin, cos)])


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where the block is: position (x, y) of its frame's origin and angle."""

    x: float
    y: float
    angle: float

    def to_world(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) of the block frame in the simulator's coordinates."""
        return points @ rotation(self.angle).T + (self.x, self.y)

    def to_block(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) of the simulator in the block frame."""
        return (points - (self.x, self.y)) @ rotation(self.angle)


def pose_of_label(x: float, y: float, angle: float) -> Pose:
    """The pose of a block that `irasim label` found at a place and angle."""
    angle = (angle - LABEL_ANGLE + np.pi) % (2 * np.pi) - np.pi
    x, y = np.array([x, y]) - rotation(angle) @ LABEL_PLACE
    return Pose(x=float(x), y=float(y), angle=float(angle))


GOAL = Pose(x=256.0, y=256.0, angle=np.pi / 4)  # gym-pusht's own, always the same


@dataclass(frozen=True, kw_only=True)
class Contacts:
    """N places where pushes may begin, relative to the block.

    Attributes:
        side: index (N,) of the outline's side that is touched.
        along: place (N,) on that side, in [0, 1].
        slant: direction (N,) of the push relative to the side's inward normal, radians.
    """

    side: np.ndarray
    along: np.ndarray
    slant: np.ndarray


def block_distance(points: np.ndarray) -> np.ndarray:
    """Distance (N,) of points (N, 2), in the block frame, to the T; negative inside."""
    outside = np.abs(points[:, None] - BOX_CENTERS) - BOX_HALVES  # (N, 2 boxes, 2)
    distance = np.linalg.norm(np.maximum(outside, 0), axis=-1)
    return (distance + np.minimum(outside.max(axis=-1), 0)).min(axis=-1)


def sample_contacts(rng: np.random.Generator, count: int, max_slant: float = 0.7) -> Contacts:
    """Contacts spread evenly over the outline, slanted by up to `max_slant`."""
    lengths = np.linalg.norm(np.roll(OUTLINE, -1, axis=0) - OUTLINE, axis=1)
    return Contacts(
        side=rng.choice(len(OUTLINE), size=count, p=lengths / lengths.sum()),
        along=rng.uniform(size=count),
        slant=rng.uniform(-max_slant, max_slant, size=count),
    )


def approach(contacts: Contacts, clearance: float) -> tuple[np.ndarray, np.ndarray]:
    """Start points (N, 2) and directions (N, 2) of pushes, in the block frame.

    The disc starts `clearance` before it would touch the side.
    """
    begin = OUTLINE[contacts.side]
    side = np.roll(OUTLINE, -1, axis=0)[contacts.side] - begin
    length = np.linalg.norm(side, axis=1, keepdims=True)
    inward = np.stack([-side[:, 1], side[:, 0]], axis=1) / length
    cos, sin = np.cos(contacts.slant)[:, None], np.sin(contacts.slant)[:, None]
    direction = inward * cos + np.stack([-inward[:, 1], inward[:, 0]], axis=1) * sin
    touch = begin + contacts.along[:, None] * side - DISC_RADIUS * inward
    return touch - clearance * direction, direction


class RoadMap:
    """Ways around the block: a visibility graph over the corners of a blown-up T."""

    def __init__(self, clearance: float = TRAVEL_CLEARANCE):
        margin = clearance + 4
        bar, stem = 60 + margin, 15 + margin
        self._clearance = clearance
        self._nodes = np.array(
            [
                (-bar, -margin),
                (bar, -margin),
                (bar, 30 + margin),
                (stem, 30 + margin),
                (stem, 120 + margin),
                (-stem, 120 + margin),
                (-stem, 30 + margin),
                (-bar, 30 + margin),
            ]
        )
        self._edges = self._lengths(self._nodes, self._nodes)

    def _lengths(self, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Lengths (N, M) of the straight ways between points; inf where the block is in the way."""
        share = np.linspace(0, 1, 24)[:, None]
        ways = begins[:, None, None] + (ends[None] - begins[:, None])[:, :, None] * share
        clear = block_distance(ways.reshape(-1, 2)).reshape(ways.shape[:-1]).min(-1)
        length = np.linalg.norm(ends[None] - begins[:, None], axis=-1)
        return np.where(clear >= self._clearance - 1e-6, length, np.inf)

    def route(self, pose: Pose, begin: np.ndarray, end: np.ndarray) -> list[np.ndarray] | None:
        """Corners of the shortest way from `begin` to `end` (2,), the end included; None if none.

        Both ends may be nearer to the block than the way itself: they are first moved off it.
        """
        ends = self._move_off(pose.to_block(np.stack([begin, end])))
        corners = pose.to_world(self._nodes)
        usable = np.asarray(((corners > LOW - 12) & (corners < HIGH + 12)).all(axis=1))
        points = np.concatenate([ends, self._nodes])  # 0 begin, 1 end, then the nodes
        lengths = np.full((len(points), len(points)), np.inf)
        lengths[:2] = self._lengths(ends, points)
        lengths[:, :2] = lengths[:2].T
        lengths[2:, 2:] = np.where(usable[:, None] & usable, self._edges, np.inf)
        lengths[:2, 2:][:, ~usable] = np.inf
        lengths[2:, :2][~usable] = np.inf
        order = shortest_path(lengths)
        if order is None:
            return None
        ways = [*pose.to_world(points[order]), end]
        return [np.clip(way, LOW, HIGH) for way in ways]

    def _move_off(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) of the block frame, moved out until they keep the clearance."""
        for _ in range(12):
            distance = block_distance(points)
            if (distance >= self._clearance).all():
                break
            step = 1e-3
            slope = np.stack(
                [block_distance(points + offset) - distance for offset in np.eye(2) * step], axis=1
            )
            slope /= np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-9)
            gap = np.maximum(self._clearance + 0.5 - distance, 0)
            points = points + np.minimum(gap, 8)[:, None] * slope
        return points


def shortest_path(lengths: np.ndarray) -> list[int] | None:
    """Nodes from 0 to 1 (both included) on the shortest way over `lengths` (N, N), or None."""
    best, heap = {0: 0.0}, [(0.0, 0, [0])]
    while heap:
        total, node, path = heapq.heappop(heap)
        if node == 1:
            return path
        if total > best[node]:
            continue
        for other in np.flatnonzero(np.isfinite(lengths[node])).tolist():
            new = total + lengths[node, other]
            if new < best.get(other, np.inf):
                best[other] = new
                heapq.heappush(heap, (new, other, [*path, other]))
    return None
