"""Reads the disc and the T from Push-T frames, true or predicted, by colour and shape.

gym-pusht draws its 512 x 512 world with pygame and scales it down (`_draw` and `_get_img` of
gym_pusht/envs/pusht.py), so colours and sizes are known: each pixel is split into what the scene is
painted with, and the known shape is fitted to the share of its colour by least squares. What does
not look enough like the shape is unreadable and comes back as NaN, so that it can be counted.

H height, W width; N pixels. Positions are (x, y) in pixels of the frame: simulator units times
W / 512, y down. Angles are the simulator's, in radians.
"""

from collections.abc import Callable

import cv2
import numpy as np

from policies.pusht.geometry import BOXES, DISC_RADIUS, rotation

WORLD_SIZE = 512  # simulator units along each side of the frame
MIN_SIZE = 48  # pixels: below it the disc is under three pixels wide

# What the scene is painted with: background, goal, T (its fill), disc (its fill). The grey walls
# are left out with the outermost pixels.
PALETTE = np.array([[255, 255, 255], [144, 238, 144], [143, 163, 184], [78, 126, 255]], float)
WALL = 8  # simulator units from the edge of the frame to the inside of the wall

EDGE = 2  # units by which the T's outline is drawn beyond its shape
T_CENTROID = np.array([0, 285 / 7])
T_REACH = 90  # simulator units from the T's centroid that hold all of it

DISC_FOUND = 0.5  # share of the disc's place that must be blue
DISC_RIVAL = 0.6  # blue elsewhere, in discs, beyond which it is undecided which one is meant
DISC_SEEN = 0.2  # share of blue below which a pixel is haze, and no part of a rival
T_FOUND = 0.55  # overlap of the fitted T with the grey (of shares, so blur lowers it)
T_CERTAIN = 0.8  # overlap that needs no other start of the fit


def read_disc(frames: np.ndarray) -> np.ndarray:
    """Centre of the disc.

    Args:
        frames: uint8 (..., H, W, 3), square, at least 48 pixels.

    Returns:
        (x, y) in pixels, float64 (..., 2); NaN where there is no disc, or more than one.
    """
    return _each(frames, _read_disc)


def read_t(frames: np.ndarray) -> np.ndarray:
    """Pose of the T: the simulator's `block_pose`, the position in pixels.

    Args:
        frames: uint8 (..., H, W, 3), square, at least 48 pixels.

    Returns:
        (x, y, angle): pixels, pixels, radians in [-pi, pi), float64 (..., 3); NaN where no T can be
        made out.
    """
    return _each(frames, _read_t)


def measure(frames: np.ndarray) -> dict[str, np.ndarray]:
    """What frames uint8 (N, H, W, 3) show: the disc (N, 2) and the T (N, 3), as above."""
    return {"disc": read_disc(frames), "T": read_t(frames)}


def disc_error(disc: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distance in pixels between disc centres (..., 2); NaN where either is unreadable."""
    return np.linalg.norm(np.asarray(disc) - true, axis=-1)


def pose_error(pose: np.ndarray, true: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distance in pixels and angle in degrees between T poses (..., 3); NaN where unreadable."""
    difference = np.asarray(pose) - true
    turn = (difference[..., 2] + np.pi) % (2 * np.pi) - np.pi
    return np.linalg.norm(difference[..., :2], axis=-1), np.degrees(np.abs(turn))


def t_iou(frames: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Overlap of the T in two frames: intersection over union of its pixels.

    A pixel is the T's where grey is most of it; below the disc, where it cannot be seen, where the
    T fitted to the same frame lies. So a ghost, a hole or a blurred T costs overlap even where its
    pose can be read.

    Args:
        frames: uint8 (..., H, W, 3).
        true: uint8 frames of the same shape.

    Returns:
        From 0 to 1, float64 (...); NaN where neither frame has any T.
    """
    ours, theirs = _each(frames, t_mask), _each(true, t_mask)
    if ours.shape != theirs.shape:
        raise ValueError(f"frames {ours.shape} and {theirs.shape} differ: compare like with like")
    both, either = np.sum(ours * theirs, axis=(-1, -2)), np.maximum(ours, theirs).sum(axis=(-1, -2))
    return np.divide(both, either, out=np.full(both.shape, np.nan), where=either > 0)


def t_mask(frame: np.ndarray) -> np.ndarray:
    """Pixels of the T in one frame (H, W, 3), as 0 or 1, float64 (H, W)."""
    scale = len(frame) / WORLD_SIZE
    _, grey, blue = _shares(frame)
    mask = (grey > 0.5) & _inside_walls(len(frame))
    hidden = blue > 0.25
    pose = _read_t(frame)
    if hidden.any() and not np.isnan(pose).any():
        fitted = _t_coverage(pose, _pixel_centres(len(frame)), scale).reshape(mask.shape)
        mask = np.where(hidden, fitted > 0.5, mask)
    return mask.astype(np.float64)


def _each(frames: np.ndarray, read: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Applies `read` to every frame of uint8 (..., H, W, 3)."""
    frames = np.asarray(frames)
    if frames.ndim < 3 or frames.dtype != np.uint8 or frames.shape[-1] != 3:
        raise ValueError(
            f"frames are {frames.dtype} {frames.shape}, expected uint8 (..., height, width, 3) as "
            "gym-pusht observes them"
        )
    height, width = frames.shape[-3:-1]
    if height != width or height < MIN_SIZE:
        raise ValueError(
            f"frames are {height} x {width}, expected square ones of at least {MIN_SIZE} pixels: "
            "Push-T's world is square, read frames as the simulator observes them"
        )
    results = [read(frame) for frame in frames.reshape(-1, height, width, 3)]
    shape = np.shape(results[0] if results else read(np.full((height, width, 3), 255, np.uint8)))
    return np.array(results).reshape(*frames.shape[:-3], *shape)


def _read_disc(frame: np.ndarray) -> np.ndarray:
    scale = len(frame) / WORLD_SIZE
    _, _, blue = _shares(frame)
    radius, points = DISC_RADIUS * scale, _pixel_centres(len(frame))
    area = np.pi * radius**2
    shares = blue.ravel()
    peak = _densest(blue, radius)
    near = np.linalg.norm(points - peak, axis=1) < 2.5 * radius

    def coverage(centre: np.ndarray, at: np.ndarray) -> np.ndarray:
        return (radius - np.linalg.norm(at - centre, axis=1) + 0.5).clip(0, 1)

    centre = _fit(lambda p: coverage(p, points[near]), peak, shares[near], np.full(2, 0.1))
    disc = coverage(centre, points)
    found = np.minimum(disc, shares).sum()
    elsewhere = np.linalg.norm(points - centre, axis=1) > radius + 2
    rival = shares[elsewhere & (shares > DISC_SEEN)].sum()
    # At a corner of the frame a quarter of the disc is seen; less is not one.
    visible = max(disc.sum(), area / 4)
    unreadable = found < DISC_FOUND * visible or rival > DISC_RIVAL * area
    return np.full(2, np.nan) if unreadable else centre


def _read_t(frame: np.ndarray) -> np.ndarray:
    scale = len(frame) / WORLD_SIZE
    points = _pixel_centres(len(frame))
    _, grey, blue = _shares(frame)
    grey = np.where(_inside_walls(len(frame)), grey, 0)
    centroid = _densest(grey, T_REACH * scale / 2)
    near = np.linalg.norm(points - centroid, axis=1) < 1.3 * T_REACH * scale
    if grey.ravel()[near].sum() < 1:
        return np.full(3, np.nan)
    centroid = np.average(points[near], axis=0, weights=grey.ravel()[near])
    # What the disc hides and the wall confuses takes no part in the fit.
    seen = near & (blue < 0.25).ravel() & _inside_walls(len(frame)).ravel()
    at, shares = points[seen], grey.ravel()[seen]

    def render(pose: np.ndarray) -> np.ndarray:
        return _t_coverage(pose, at, scale)

    starts = []
    for angle in np.arange(-np.pi, np.pi, np.pi / 8):
        starts.append(np.array([*(centroid - scale * T_CENTROID @ rotation(angle).T), angle]))
    starts.sort(key=lambda pose: _overlap(render(pose), shares), reverse=True)
    best, best_overlap = np.full(3, np.nan), T_FOUND
    for start in starts[:3]:
        pose = _fit(render, start, shares, np.array([0.1, 0.1, 0.01]))
        overlap = _overlap(render(pose), shares)
        if overlap > best_overlap:
            best, best_overlap = pose, overlap
        if overlap > T_CERTAIN:
            break
    best[2] = (best[2] + np.pi) % (2 * np.pi) - np.pi
    return best


def _overlap(cover: np.ndarray, shares: np.ndarray) -> float:
    """Intersection over union of two sets of shares (N,)."""
    return float(np.minimum(cover, shares).sum() / max(np.maximum(cover, shares).sum(), 1e-9))


def _fit(
    render: Callable[[np.ndarray], np.ndarray],
    start: np.ndarray,
    shares: np.ndarray,
    steps: np.ndarray,
) -> np.ndarray:
    """Least squares of render(p) - shares (N,) by Levenberg-Marquardt, derivatives by differences.

    Central differences over `steps` (a tenth of a pixel and alike) see the whole soft edge.
    """
    place, damping = start, 1e-2
    residual = render(place) - shares
    for _ in range(12):
        jacobian = np.stack(
            [(render(place + s) - render(place - s)) / (2 * s.sum()) for s in np.diag(steps)],
            axis=1,
        )
        normal = jacobian.T @ jacobian
        damped = normal + damping * (np.diag(np.diag(normal)) + 1e-6 * np.eye(len(place)))
        change = np.linalg.solve(damped, -jacobian.T @ residual)
        trial = render(place + change) - shares
        if trial @ trial < residual @ residual:
            place, residual, damping = place + change, trial, damping / 3
            if np.all(np.abs(change) < steps / 20):
                break
        else:
            damping *= 5
    return place


def _shares(frame: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How much of each pixel is goal, T and disc, each (H, W) in 0..1: linear unmixing."""
    # Shares sum to one and mix to the colour: four equations a pixel.
    mixing = np.concatenate([PALETTE / 255, np.ones((4, 1))], axis=1)  # (paint, rgb and one)
    colours = np.concatenate([frame / 255, np.ones((*frame.shape[:2], 1))], axis=-1)
    shares = (colours @ np.linalg.inv(mixing)).clip(0, 1)
    return shares[..., 1], shares[..., 2], shares[..., 3]


def _pixel_centres(size: int) -> np.ndarray:
    """Where each pixel of a frame samples the world, (x, y) in pixels, (size * size, 2)."""
    # pygame paints its pixel i at world i, and cv2.resize puts pixel centres at i + 1/2.
    along = np.arange(size) + 0.5 - 0.5 * size / WORLD_SIZE
    x, y = np.meshgrid(along, along)
    return np.stack([x.ravel(), y.ravel()], axis=1)


def _inside_walls(size: int) -> np.ndarray:
    """Pixels (size, size) that show neither the wall nor what is behind it."""
    along = np.abs(np.arange(size) + 0.5 - size / 2) < size / 2 - WALL * size / WORLD_SIZE
    return along[:, None] & along[None, :]


def _densest(shares: np.ndarray, radius: float) -> np.ndarray:
    """Centre (x, y) of the window of about this radius that holds the most."""
    blurred = cv2.GaussianBlur(shares, (0, 0), radius / 2, borderType=cv2.BORDER_CONSTANT)
    return _pixel_centres(len(shares))[np.argmax(blurred)]


def _t_coverage(pose: np.ndarray, points: np.ndarray, scale: float) -> np.ndarray:
    """Share of each pixel (N,) at points (N, 2) that a T at this pose covers, soft over a pixel."""
    local = (points - pose[:2]) @ rotation(pose[2]) / scale  # (N, 2) in the block's frame
    distances = []
    for centre, half in BOXES:
        across, along = (np.abs(local - centre) - half).T
        outside = np.hypot(np.maximum(across, 0), np.maximum(along, 0))
        distances.append(outside + np.minimum(np.maximum(across, along), 0))
    distance = np.minimum(*distances) - EDGE
    return (0.5 - distance * scale).clip(0, 1)
