"""Registration: where a sprite lies in pictures, by least squares over the pixels near it.

The error of the composite picture is minimised by Levenberg-Marquardt over (x, y, angle), in a
batch; residuals of single pixels count as a logarithm (Cauchy), so that what hides a part of the
body does not pull at the rest.

Dimensions: B frames, P pixels of all of them, G cells along a sprite's side.
"""

from dataclasses import dataclass

import numpy as np

from training.data.labels.sprite import FINE, LEAST_ALPHA, Sprite

# Grey levels at which a pixel's residual begins to count less.
OUTLIER = 30.0
# A pixel shows the body where its colour is this near to what is predicted, in grey levels.
MATCH = 60.0
# Pixels beside the body that take part.
MARGIN = 1.5
# Steps smaller than this end it, in pixels (the angle's at the body's edge).
CONVERGED = 0.004


@dataclass(frozen=True, eq=False)
class Fit:
    """How well sprites fit, of B frames.

    Attributes:
        poses: (B, 3).
        error: squared residuals a pixel of the body, robust, (B,), grey levels squared.
        matched: share of the body's free pixels that look as predicted, (B,).
        visible: share of the body that is free, within the picture, and looks so, (B,).
        deviation: of place in pixels and of angle in rad, from residuals and curvature, (B, 2).
    """

    poses: np.ndarray
    error: np.ndarray
    matched: np.ndarray
    visible: np.ndarray
    deviation: np.ndarray

    def better(self, other: "Fit") -> "Fit":
        """Of each frame the fit that explains more of the picture."""
        ours = self.score >= other.score
        return Fit(
            *(
                np.where(ours.reshape(-1, *[1] * (mine.ndim - 1)), mine, theirs)
                for mine, theirs in zip(vars(self).values(), vars(other).values(), strict=True)
            )
        )

    @property
    def score(self) -> np.ndarray:
        """Visible pixels that match count for it, residuals against it: (B,)."""
        return self.matched - np.sqrt(self.error) / 255

    def put(self, rows: np.ndarray, part: "Fit") -> None:
        """Write the fits of frames `rows`."""
        for mine, theirs in zip(vars(self).values(), vars(part).values(), strict=True):
            mine[rows] = theirs

    @classmethod
    def none(cls, poses: np.ndarray) -> "Fit":
        """Of bodies that were not found."""
        count = len(poses)
        return cls(
            poses.copy(),
            np.full(count, 255.0**2),
            np.zeros(count),
            np.zeros(count),
            np.full((count, 2), np.inf),
        )


class Pixels:
    """The pixels near sprites in a batch of frames, as flat arrays, sorted by frame."""

    def __init__(self, sprite: Sprite, poses: np.ndarray, size: tuple[int, int], margin: float):
        """Those within a margin of the sprite at poses (B, 3) in pictures of a size (H, W)."""
        height, width = size
        reach = int(np.ceil(sprite.reach + margin + 1))
        if sprite.side is not None and len(poses):
            length = sprite.side.length(poses[:, :2])
            reach += int(np.ceil(length[(np.abs(poses[:, :2]) < 1e3).all(1)].max(initial=0)))
        offsets = np.arange(-reach, reach + 1)
        y, x = (grid.ravel() for grid in np.meshgrid(offsets, offsets, indexing="ij"))
        round_ = np.hypot(x, y) <= reach
        middle = np.rint(poses[:, :2]).astype(np.int64)
        xs = middle[:, :1] + x[round_]  # (B, P)
        ys = middle[:, 1:] + y[round_]
        cos, sin = (f(poses[:, 2:]).astype(np.float32) for f in (np.cos, np.sin))
        dx = (xs - poses[:, :1]).astype(np.float32)
        dy = (ys - poses[:, 1:2]).astype(np.float32)
        near = sprite.near(margin)

        def covered(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
            side = len(near)
            columns = np.rint((cos * dx + sin * dy) * FINE).astype(np.int32) + side // 2
            rows = np.rint((cos * dy - sin * dx) * FINE).astype(np.int32) + side // 2
            inside = (columns >= 0) & (columns < side) & (rows >= 0) & (rows < side)
            return inside & near[np.where(inside, rows, 0), np.where(inside, columns, 0)]

        inside = covered(dx, dy)
        if sprite.side is not None:
            for share in (0.5, 1.0):
                at_x, at_y = sprite.side.behind(xs, ys, share)
                inside |= covered(
                    (at_x - poses[:, :1]).astype(np.float32),
                    (at_y - poses[:, 1:2]).astype(np.float32),
                )
        inside &= (xs >= 0) & (xs < width) & (ys >= 0) & (ys < height)
        self.frame, place = np.nonzero(inside)
        self.x, self.y = xs[self.frame, place], ys[self.frame, place]
        self.count = len(poses)

    def sums(self, values: np.ndarray) -> np.ndarray:
        """Sums over the pixels of each frame: (P,) to (B,)."""
        return np.bincount(self.frame, values, minlength=self.count)

    def keep(self, frames: np.ndarray) -> np.ndarray:
        """Leave out all but some frames, bool (B,), numbered anew; the pixels kept, bool (P,)."""
        kept = frames[self.frame]
        self.frame = (frames.cumsum() - 1)[self.frame[kept]]
        self.x, self.y = self.x[kept], self.y[kept]
        self.count = int(frames.sum())
        return kept


def dot(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of colours (P, 3) and (P, 3): (P,)."""
    return np.einsum("pc,pc->p", first, second)


def residuals(
    sprite: Sprite, poses: np.ndarray, pixels: Pixels, seen: np.ndarray, behind: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Predicted less seen (P, 3), its derivatives (P, 3, 3) by pose, and alpha (P,).

    The angle's derivative is by the way at the body's edge, in pixels.
    """
    pose = poses.astype(np.float32)[pixels.frame]
    dx, dy = pixels.x - pose[:, 0], pixels.y - pose[:, 1]
    cos, sin = np.cos(pose[:, 2]), np.sin(pose[:, 2])
    local = np.stack([cos * dx + sin * dy, cos * dy - sin * dx], axis=1)
    table = sprite.at(local)
    alpha = table[:, 0]
    if sprite.side is not None:
        share, side_slopes, side_local = sprite.side_at(pixels.x, pixels.y, pose)
        shade = (sprite.side.colour - behind).astype(np.float32)
        behind = behind + share[:, None] * shade
    over = table[:, 3:6] - behind
    residual = behind + alpha[:, None] * over - seen
    along = table[:, 1:2] * over + alpha[:, None] * table[:, 6:9]  # by the sprite's own x
    aside = table[:, 2:3] * over + alpha[:, None] * table[:, 9:12]
    cos, sin, edge = cos[:, None], sin[:, None], max(sprite.reach, 1.0)

    def by_pose(along: np.ndarray, aside: np.ndarray, local: np.ndarray) -> np.ndarray:
        local = local / edge
        turned = along * local[:, 1:] - aside * local[:, :1]
        return np.stack([sin * aside - cos * along, -sin * along - cos * aside, turned], axis=1)

    slopes = by_pose(along, aside, local)
    if sprite.side is not None:
        shade = shade * (1 - alpha[:, None])
        slopes += by_pose(side_slopes[:, :1] * shade, side_slopes[:, 1:] * shade, side_local)
    return residual, slopes, alpha


def under(sprite: Sprite, poses: np.ndarray, background: np.ndarray) -> np.ndarray:
    """What sprites at poses (B, 3) lie over: the background (H, W, 3), and where they have one
    their own side, float32 (B, H, W, 3)."""
    found = np.repeat(background[None].astype(np.float32), len(poses), axis=0)
    if sprite.side is None:
        return found
    pixels = Pixels(sprite, poses, (background.shape[0], background.shape[1]), MARGIN)
    at = (pixels.frame, pixels.y, pixels.x)
    share = sprite.side_at(pixels.x, pixels.y, poses[pixels.frame])[0][:, None]
    found[at] += share * (sprite.side.colour - found[at])
    return found


def refine(
    sprite: Sprite,
    frames: np.ndarray,
    background: np.ndarray,
    free: np.ndarray,
    poses: np.ndarray,
    *,
    turns: bool = True,
    margin: float = MARGIN,
    rounds: int = 12,
    robust: bool = True,
) -> np.ndarray:
    """Poses (B, 3) from those nearby.

    Args:
        sprite: What to find.
        frames: float32 (B, H, W, 3).
        background: float32 (H, W, 3).
        free: bool (B, H, W): pixels that nothing else covers.
        poses: To begin with.
        turns: Whether its angle can be seen.
        margin: How far around the first pose pixels take part.
        rounds: Most steps.
        robust: Whether large residuals count less.
    """
    poses = poses.astype(np.float64)
    pixels = Pixels(sprite, poses, frames.shape[1:3], margin)
    usable = free[pixels.frame, pixels.y, pixels.x]
    pixels.frame, pixels.x, pixels.y = (part[usable] for part in (pixels.frame, pixels.x, pixels.y))
    seen = frames[pixels.frame, pixels.y, pixels.x]
    behind = background[pixels.y, pixels.x]
    active = np.arange(len(poses))  # their numbers in the batch
    unit = np.array([1.0, 1.0, 1 / max(sprite.reach, 1.0)])

    def look(at: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        residual, slopes, _ = residuals(sprite, at, pixels, seen, behind)
        squared = dot(residual, residual)
        if robust:
            cost = OUTLIER**2 * np.log1p(squared / OUTLIER**2)
            weight = 1 / (1 + squared / OUTLIER**2)
        else:
            cost, weight = squared, np.ones_like(squared)
        gradient = np.empty((pixels.count, 3))
        curvature = np.empty((pixels.count, 3, 3))
        for i in range(3):
            gradient[:, i] = pixels.sums(weight * dot(slopes[:, i], residual))
            for j in range(i + 1):
                both = pixels.sums(weight * dot(slopes[:, i], slopes[:, j]))
                curvature[:, i, j] = curvature[:, j, i] = both
        if not turns:
            gradient[:, 2] = curvature[:, 2, :] = curvature[:, :, 2] = 0
        return pixels.sums(cost), gradient, curvature

    damping = np.full(len(active), 1e-3)
    cost, gradient, curvature = look(poses)
    for _ in range(rounds):
        size = np.trace(curvature, axis1=1, axis2=2)
        held = damping[:, None, None] * (
            curvature * np.eye(3) + (1e-3 * size[:, None, None] + 1e-3) * np.eye(3)
        )
        step = -np.linalg.solve(curvature + held, gradient[..., None])[..., 0]
        step *= np.minimum(1, 1.5 / np.maximum(np.linalg.norm(step, axis=1), 1e-9))[:, None]
        trial = poses[active] + step * unit
        found = look(trial)
        better = found[0] <= cost
        poses[active[better]] = trial[better]
        cost = np.where(better, found[0], cost)
        gradient[better], curvature[better] = found[1][better], found[2][better]
        damping = np.where(better, damping / 5, damping * 8)
        going = (np.abs(step).max(1) > CONVERGED) & (damping < 1e4)
        if not going.any():
            break
        if not going.all():
            kept = pixels.keep(going)
            seen, behind = seen[kept], behind[kept]
            active, damping, cost = active[going], damping[going], cost[going]
            gradient, curvature = gradient[going], curvature[going]
    return poses


def judge(
    sprite: Sprite,
    frames: np.ndarray,
    background: np.ndarray,
    free: np.ndarray,
    poses: np.ndarray,
    *,
    turns: bool = True,
) -> Fit:
    """How well poses (B, 3) fit; arguments as `refine`."""
    pixels = Pixels(sprite, poses, frames.shape[1:3], MARGIN)
    usable = free[pixels.frame, pixels.y, pixels.x].astype(np.float32)
    seen = frames[pixels.frame, pixels.y, pixels.x]
    residual, slopes, alpha = residuals(sprite, poses, pixels, seen, background[pixels.y, pixels.x])
    covered = alpha * usable
    squared = dot(residual, residual)
    matches = squared < MATCH**2
    free_area = pixels.sums(covered)
    matched_area = pixels.sums(covered * matches)
    weight = usable / (1 + squared / OUTLIER**2)
    on_body = (alpha > LEAST_ALPHA) * usable
    cost = usable * OUTLIER**2 * np.log1p(squared / OUTLIER**2)
    error = pixels.sums(cost) / np.maximum(pixels.sums(on_body), 1) / 3
    size = 3 if turns else 2
    curvature = np.zeros((len(poses), 3, 3))
    for i in range(size):
        for j in range(i + 1):
            both = pixels.sums(weight * dot(slopes[:, i], slopes[:, j]))
            curvature[:, i, j] = curvature[:, j, i] = both
    curvature += 1e-6 * np.eye(3)
    spread = np.linalg.inv(curvature) * error[:, None, None]
    place = np.sqrt(spread[:, 0, 0] + spread[:, 1, 1])
    angle = np.sqrt(spread[:, 2, 2]) / max(sprite.reach, 1.0) if turns else np.zeros(len(poses))
    return Fit(
        poses.astype(np.float64),
        error,
        np.where(free_area > 0, matched_area / np.maximum(free_area, 1e-6), 0),
        (matched_area / max(sprite.area, 1e-6)).clip(0, 1),
        np.stack([place, angle], axis=1),
    )
