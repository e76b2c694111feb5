"""A rigid body: its sprite, made of the frames in which it is seen whole.

One frame's pixels are registered to some others, averaged on a finer grid, registered to all, and
so on: registration and super-resolution at once.

Dimensions: N frames, B frames of one body, H height, W width.
"""

from dataclasses import dataclass, replace

import numpy as np

from training.data.labels.background import Background
from training.data.labels.pieces import Piece, free_of_others
from training.data.labels.register import Fit, judge, refine, under
from training.data.labels.search import CANDIDATES, Search
from training.data.labels.side import Side, top_and_side, without_side
from training.data.labels.sprite import Sprite, build_sprite, turn
from training.data.labels.symmetry import ROUND, order_of_symmetry

# Frames of a body that its sprite is made of, at most; of these, the first sprite, of one frame's
# pixels, is registered to so many. Rounds of registering and averaging.
INSTANCES, AT_FIRST, ROUNDS = 240, 60, 4
# Pixels beside a piece that its sprite has.
BORDER = 2.5
# Deviation over which cells of one frame's pixels are averaged, in cells, and of many frames'.
OF_ONE, OF_MANY = 1.8, 0.8
# Instances that match less than this are left out of the sprite.
MATCHES = 0.7
# Heights that are tried for a body's side, as shares of that of the camera, and rounds with it.
TALL, SIDE_ROUNDS = np.linspace(0.0, 0.12, 25)[1:], 2
# What is rigid matches one sprite: of its instances this share, and residuals in grey levels.
RIGID_SHARE, RIGID_RESIDUAL = 0.6, 30.0


@dataclass(frozen=True, eq=False)
class Body:
    """A rigid body.

    Attributes:
        sprite: About its centroid.
        symmetry: Order of its turns that cannot be seen; 1: none, `ROUND`: all.
        error: Squared residual a pixel where it is wholly seen, the median.
        instances: Frames that the sprite was made of.
        share: Of the frames that were looked at, how many match it.
    """

    sprite: Sprite
    symmetry: int
    error: float
    instances: int
    share: float = 1.0

    @property
    def turns(self) -> bool:
        """Whether its angle can be seen."""
        return self.symmetry != ROUND

    @property
    def rigid(self) -> bool:
        """Whether one sprite explains it."""
        return self.share >= RIGID_SHARE and self.error < RIGID_RESIDUAL**2


@dataclass(frozen=True, eq=False)
class Instances:
    """Frames (B, H, W, 3), grey levels, that show a body, and where they show nothing else, bool
    (B, H, W).

    The sprite's radius is in pixels.
    """

    frames: np.ndarray
    free: np.ndarray
    background: Background
    radius: float

    def take(self, rows: np.ndarray) -> "Instances":
        """Some of them."""
        return Instances(self.frames[rows], self.free[rows], self.background, self.radius)

    def build(
        self, poses: np.ndarray, smooth: float = OF_MANY, like: Sprite | None = None
    ) -> Sprite:
        """The sprite by their poses (B, 3); its side is that of another before it."""
        behind = self.background.picture
        if like is not None and like.side is not None:
            behind = under(like, poses, behind)
        sprite = build_sprite(
            self.frames,
            behind,
            self.free,
            poses,
            self.radius,
            contrast=self.background.contrast,
            smooth=smooth,
        )
        return sprite if like is None else replace(sprite, side=like.side)

    def search(self, sprite: Sprite, most: int = CANDIDATES) -> np.ndarray:
        """The best pose in each, of all: (B, 3)."""
        search = Search(sprite, self.background.picture)
        pictures = self.frames.astype(np.float32)
        pairs = zip(pictures, self.free, strict=True)
        found = [search.candidates(picture, free)[:most] for picture, free in pairs]
        best = None
        for candidate in range(most):
            poses = np.stack([one[min(candidate, len(one) - 1)] for one in found])
            fit = self.fit(sprite, poses, turns=True, margin=3.0)
            best = fit if best is None else best.better(fit)
        assert best is not None
        return best.poses

    def fit(self, sprite: Sprite, poses: np.ndarray, *, turns: bool, margin: float = 1.5) -> Fit:
        """Registered from poses nearby."""
        picture, behind = self.frames.astype(np.float32), self.background.picture
        poses = refine(sprite, picture, behind, self.free, poses, turns=turns, margin=margin)
        return judge(sprite, picture, behind, self.free, poses, turns=turns)


def fit_body(
    kind: list[Piece],
    frames: np.ndarray,
    foreground: np.ndarray,
    left_out: np.ndarray,
    background: Background,
    foot: np.ndarray | None = None,
) -> Body:
    """The body that a kind of pieces shows.

    Args:
        kind: Pieces, each whole.
        frames: uint8 (N, H, W, 3).
        foreground: What is neither background nor robot, bool (N, H, W).
        left_out: The robot, bool (N, H, W).
        background: Of all.
        foot: Place below a camera that looks aslant, in index coordinates of pixels.
    """
    chosen = spread_over(kind, INSTANCES)
    areas = np.array([piece.area for piece in chosen])
    first = int(np.abs(areas - np.median(areas)).argmin())
    free = [free_of_others(p, foreground[p.frame]) & ~left_out[p.frame] for p in chosen]
    instances = Instances(
        frames[[piece.frame for piece in chosen]],
        np.stack(free),
        background,
        max(piece.reach for piece in chosen if piece.area <= np.quantile(areas, 0.9)) + BORDER,
    )
    whole, colours = instances, None
    if foot is not None:
        shown = np.zeros(instances.free.shape, bool)
        for number, piece in enumerate(chosen):
            shown[number, piece.pixels[:, 0], piece.pixels[:, 1]] = True
        colours = top_and_side(instances.frames, shown, foot)
    if colours is not None:  # the top alone, at first
        alone = without_side(instances.frames, background.picture, *colours)
        instances = replace(instances, frames=alone)
    alone = instances.take(np.array([first]))
    sprite = alone.build(np.array([[*chosen[first].centre, 0.0]]), OF_ONE)
    some = np.unique(np.linspace(0, len(chosen) - 1, AT_FIRST).astype(int))
    poses = instances.take(some).search(sprite)
    sprite, _ = about_centroid(instances.take(some), poses)
    poses = instances.search(sprite, 2)
    turns = True
    for _ in range(ROUNDS - 1):
        turns = order_of_symmetry(sprite) != ROUND
        all_fits = instances.fit(sprite, poses, turns=turns)
        poses = all_fits.poses
        used = all_fits.matched >= min(MATCHES, float(np.median(all_fits.matched)))
        sprite = instances.take(used).build(poses[used])
    if colours is not None and foot is not None:
        instances = whole
        sprite = with_side(sprite, instances.take(used), poses[used], Side(colours[1], 0.0, foot))
        for _ in range(SIDE_ROUNDS):
            all_fits = instances.fit(sprite, poses, turns=turns)
            poses = all_fits.poses
            used = all_fits.matched >= min(MATCHES, float(np.median(all_fits.matched)))
            sprite = instances.take(used).build(poses[used], like=sprite)
    sprite, poses = about_centroid(instances.take(used), poses[used], sprite)
    symmetry = order_of_symmetry(sprite)
    fit = instances.take(used).fit(sprite, poses, turns=symmetry != ROUND)
    matched = float((all_fits.matched >= MATCHES).mean())
    return Body(sprite, symmetry, float(np.median(fit.error)), int(used.sum()), matched)


def with_side(sprite: Sprite, instances: Instances, poses: np.ndarray, side: Side) -> Sprite:
    """The sprite with a side of the height that explains frames best in which it lies at poses."""
    tried = [replace(sprite, side=replace(side, tall=float(tall))) for tall in TALL]
    pictures, behind = instances.frames.astype(np.float32), instances.background.picture
    errors = [np.median(judge(one, pictures, behind, instances.free, poses).error) for one in tried]
    return tried[int(np.argmin(errors))]


def about_centroid(
    instances: Instances, poses: np.ndarray, like: Sprite | None = None
) -> tuple[Sprite, np.ndarray]:
    """The sprite, its origin and direction those that `Sprite.principal` tells; poses of it."""
    before = instances.build(poses, like=like)
    origin = before.principal()
    places = poses[:, :2] + turn(origin[None, :2], poses[:, 2])
    moved = np.concatenate([places, poses[:, 2:] + origin[2]], axis=1)
    if like is None or like.side is None:
        return instances.build(moved), moved
    # What lies under it is known where it was before.
    behind = under(before, poses, instances.background.picture)
    sprite = build_sprite(
        instances.frames,
        behind,
        instances.free,
        moved,
        instances.radius,
        contrast=instances.background.contrast,
    )
    return replace(sprite, side=like.side), moved


def spread_over(kind: list[Piece], count: int) -> list[Piece]:
    """At most so many of them, evenly."""
    return [kind[i] for i in np.unique(np.linspace(0, len(kind) - 1, count).astype(int))]
