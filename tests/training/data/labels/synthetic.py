"""A synthetic scene with known poses: bodies on a table, seen from above, and a disc that pushes.

A red bracket (no symmetry), a blue square (four turns look alike) and a dark disc that follows the
observation, over the bodies; a background with a gradient and stripes; noise of a camera.
"""

import cv2
import numpy as np

from training.data.episodes import Episode
from training.data.labels.sprite import turn

SIZE, FINER = 64, 8
# Corners in pixels, in coordinates of the body; its true pose is that of this frame.
BRACKET = np.array([[-9, -6], [9, -6], [9, -1], [-3, -1], [-3, 7], [-9, 7]], float)
SQUARE = np.array([[-5, -5], [5, -5], [5, 5], [-5, 5]], float)
RED, BLUE, DARK = (200, 60, 50), (60, 90, 210), (40, 40, 40)
DISC = 3.0
# The robot's own numbers: units of its own, its axes swapped, and one that shows nowhere.
MATRIX = np.array([[0.0, 20.0, 0.0], [-25.0, 0.0, 0.0]])
OFFSET = np.array([6.0, 58.0])


def background(shift: float = 0.0) -> np.ndarray:
    """Float (SIZE, SIZE, 3)."""
    y, x = np.mgrid[:SIZE, :SIZE].astype(float)
    grey = 170 + 0.6 * x - 0.4 * y + 14 * ((x + shift) // 8 % 2)
    return np.stack([grey, grey * 0.95, grey * 0.85], axis=-1)


def polygon(corners: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Share of each pixel that a polygon covers, (SIZE, SIZE); `pose` is (x, y, angle), pixels."""
    places = (turn(corners, pose[2]) + pose[:2]) * FINER
    mask = np.zeros((SIZE * FINER, SIZE * FINER), np.uint8)
    cv2.fillPoly(mask, [np.rint((places - 0.5) * 256).astype(np.int32)], 255, cv2.LINE_8, 8)
    return cv2.resize(mask, (SIZE, SIZE), interpolation=cv2.INTER_AREA) / 255


def circle(centre: np.ndarray) -> np.ndarray:
    """As `polygon`, for the disc."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    corners = DISC * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return polygon(corners, np.array([*centre, 0.0]))


def draw(poses: dict[str, np.ndarray], centre: np.ndarray, behind: np.ndarray) -> np.ndarray:
    """One frame without noise."""
    frame = behind.copy()
    for name, corners, colour in (("bracket", BRACKET, RED), ("square", SQUARE, BLUE)):
        if name in poses:
            alpha = polygon(corners, poses[name])[..., None]
            frame = frame * (1 - alpha) + alpha * np.array(colour)
    alpha = circle(centre)[..., None]
    return frame * (1 - alpha) + alpha * np.array(DARK)


def walk(rng: np.random.Generator, length: int, low: float, high: float) -> np.ndarray:
    """Poses (length, 3) that rest and move in turn, places within bounds."""
    poses = np.empty((length, 3))
    pose = np.array([*rng.uniform(low, high, 2), rng.uniform(-np.pi, np.pi)])
    speed = np.zeros(3)
    for t in range(length):
        if t % 6 == 0:
            moves = rng.uniform() < 0.6
            speed = rng.normal(0, (1.0, 1.0, 0.12)) if moves else np.zeros(3)
        pose = pose + speed
        pose[:2] = pose[:2].clip(low, high)
        poses[t] = pose
    return poses


def make_episode(number: int, *, length: int = 24, moving_camera: bool = False) -> Episode:
    """An episode; its hidden states are the true poses `bracket` and `square`."""
    rng = np.random.default_rng(number)
    true = {"bracket": walk(rng, length, 14, 50)}
    while True:  # the bodies lie apart
        true["square"] = walk(rng, length, 9, 55)
        gaps = np.linalg.norm(true["square"][:, :2] - true["bracket"][:, :2], axis=1)
        if gaps.min() > 19:
            break
    path = walk(rng, length, 4, 60)[:, :2]  # over the bodies, too
    robot = np.concatenate([(path - OFFSET) @ np.linalg.inv(MATRIX[:, :2]).T, path[:, :1] * 0], 1)
    robot[:, 2] = rng.normal(size=length)
    frames = []
    for t in range(length):
        behind = background(8 * rng.uniform() if moving_camera else 0.0)
        if moving_camera:
            behind = np.roll(behind, rng.integers(-20, 20, 2), axis=(0, 1)) * rng.uniform(0.6, 1.2)
        frame = draw({name: poses[t] for name, poses in true.items()}, path[t], behind)
        frames.append(frame + rng.normal(0, 1.5, frame.shape))
    return Episode(
        episode_id=f"{number:06d}",
        frames=np.rint(np.clip(frames, 0, 255)).astype(np.uint8),
        actions=np.zeros((length - 1, 2), np.float32),
        rewards=np.zeros(length - 1),
        terminated=np.zeros(length - 1, bool),
        states={"joints": robot},
        hidden=true,
        fps=10.0,
    )


def errors(
    labels: np.ndarray, true: np.ndarray, used: np.ndarray, symmetry: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Distances in pixels and angles in degrees of labels (N, 3), where `used`, once the sprite's
    origin and direction are expressed in the true body's."""
    labels, true = labels[used], true[used]
    period = 2 * np.pi / symmetry
    angles = labels[:, 2] - true[:, 2]
    turned = np.angle(np.exp(1j * angles * symmetry).mean()) / symmetry
    off = (angles - turned + period / 2) % period - period / 2
    local = turn(labels[:, :2] - true[:, :2], -true[:, 2])
    origin = np.median(local, axis=0) if symmetry == 1 else np.zeros(2)
    return np.linalg.norm(local - origin, axis=1), np.degrees(np.abs(off))
