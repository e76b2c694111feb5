"""A scene: the background, the robot's layer and the bodies, all from frames and observations.

Dimensions: N frames, H height, W width, Q numbers of the observation.
"""

from dataclasses import dataclass

import numpy as np

from training.data.labels.background import Background, fit_background
from training.data.labels.pieces import Piece, find_kinds, find_pieces, free_of_others
from training.data.labels.register import Pixels, judge, refine
from training.data.labels.robot import ROUND_IT, RobotPart, follow
from training.data.labels.search import Search
from training.data.labels.sprite import Sprite, build_sprite, turn
from training.data.labels.symmetry import ROUND, order_of_symmetry

# Frames of a body that its sprite is made of, at most, and rounds of registering and averaging.
INSTANCES, ROUNDS = 240, 4
# Pixels beside a piece that its sprite has.
BORDER = 2.5
# Instances that match less than this are left out of the sprite.
MATCHES = 0.7


@dataclass(frozen=True, eq=False)
class Body:
    """A rigid body.

    Attributes:
        sprite: About its centroid.
        symmetry: Order of its turns that cannot be seen; 1: none, `ROUND`: all.
        error: Squared residual a pixel where it is wholly seen, the median.
        instances: Frames that the sprite was made of.
    """

    sprite: Sprite
    symmetry: int
    error: float
    instances: int

    @property
    def turns(self) -> bool:
        """Whether its angle can be seen."""
        return self.symmetry != ROUND


@dataclass(frozen=True, eq=False)
class Scene:
    """What the frames of a data set are made of.

    Attributes:
        background: Of all.
        robot: Parts that follow the observation.
        bodies: The largest first.
        observations: Names of the observations, in the order that the robot's parts read.
        unexplained: Share of the foreground that neither the robot nor a body explains.
    """

    background: Background
    robot: tuple[RobotPart, ...]
    bodies: tuple[Body, ...]
    observations: tuple[str, ...]
    unexplained: float

    def robot_mask(self, observations: np.ndarray) -> np.ndarray:
        """Pixels that the robot's layer covers or touches, for (N, Q): bool (N, H, W)."""
        size = self.background.picture.shape[:2]
        mask = np.zeros((len(observations), *size), bool)
        for part in self.robot:
            cover(mask, part.sprite, part.poses(observations), ROUND_IT)
        return mask


def cover(mask: np.ndarray, sprite: Sprite, poses: np.ndarray, margin: float) -> None:
    """Set what sprites at poses (N, 3) cover in bool (N, H, W)."""
    size = (mask.shape[1], mask.shape[2])
    pixels = Pixels(sprite, poses, size, margin)
    mask[pixels.frame, pixels.y, pixels.x] = True


def fit_scene(
    frames: np.ndarray,
    observations: np.ndarray,
    names: tuple[str, ...],
    *,
    most_bodies: int | None = None,
) -> Scene:
    """Find background, robot and bodies in frames of many episodes.

    Args:
        frames: uint8 (N, H, W, 3).
        observations: The robot's own, float64 (N, Q).
        names: Of the observations.
        most_bodies: Keep no more than so many kinds, those that show most often.

    Raises:
        ValueError: There is no constant background, or no body before it.
    """
    background = fit_background(frames)
    background.check()
    foreground = background.foreground(frames)
    kinds = find_kinds(find_pieces(frames, foreground), len(frames))
    robot = []
    for kind in kinds:
        found = follow(kind, observations)
        if found is not None:
            robot.append(_robot_part(kind, found, frames, foreground, observations, background))
    first = Scene(background, tuple(robot), (), names, 0.0)
    left_out = first.robot_mask(observations)
    pieces = find_pieces(frames, foreground, left_out)
    kinds = find_kinds(pieces, len(frames))[:most_bodies]
    if not kinds:
        raise ValueError(
            "no rigid body found: nothing shows again and again with one colour and size before "
            "the background, apart from what follows the robot. Label more episodes, in which "
            "bodies lie free of the robot and of each other"
        )
    bodies = [_body(kind, frames, foreground & ~left_out, left_out, background) for kind in kinds]
    bodies.sort(key=lambda body: -body.sprite.area)
    named = sum(piece.area for kind in kinds for piece in kind)
    cut = sum(piece.area for piece in pieces if not piece.whole)
    everything = sum(piece.area for piece in pieces)
    unexplained = max(0.0, 1 - (named + cut) / max(everything, 1))
    return Scene(background, tuple(robot), tuple(bodies), names, unexplained)


def _robot_part(
    kind: list[Piece],
    found: tuple[np.ndarray, np.ndarray, float],
    frames: np.ndarray,
    foreground: np.ndarray,
    observations: np.ndarray,
    background: Background,
) -> RobotPart:
    matrix, offset, off = found
    chosen = _spread_over(kind, INSTANCES)
    numbers = [piece.frame for piece in chosen]
    places = observations[numbers] @ matrix.T + offset
    poses = np.concatenate([places, np.zeros((len(places), 1))], axis=1)
    free = np.stack([free_of_others(piece, foreground[piece.frame]) for piece in chosen])
    radius = float(np.median([piece.reach for piece in chosen])) + BORDER
    sprite = build_sprite(
        frames[numbers], background.picture, free, poses, radius, contrast=background.contrast
    )
    return RobotPart(sprite, matrix, offset, off)


def _body(
    kind: list[Piece],
    frames: np.ndarray,
    foreground: np.ndarray,
    left_out: np.ndarray,
    background: Background,
) -> Body:
    """Sprite of a kind: registered to one frame, averaged, registered to the average, and so on."""
    chosen = _spread_over(kind, INSTANCES)
    areas = np.array([piece.area for piece in chosen])
    first = chosen[int(np.abs(areas - np.median(areas)).argmin())]
    radius = max(piece.reach for piece in chosen if piece.area <= np.quantile(areas, 0.9)) + BORDER
    free = np.stack([free_of_others(p, foreground[p.frame]) & ~left_out[p.frame] for p in chosen])
    numbers = [piece.frame for piece in chosen]
    seen = frames[numbers]
    pictures = seen.astype(np.float32)
    behind = background.picture
    start = np.array([[*first.centre, 0.0]])
    sprite = build_sprite(
        frames[first.frame][None],
        behind,
        free[chosen.index(first)][None],
        start,
        radius,
        contrast=background.contrast,
        smooth=1.8,
    )
    poses = np.array([[*piece.centre, 0.0] for piece in chosen])
    turns, used = True, np.ones(len(chosen), bool)
    for number in range(ROUNDS):
        if number < 2:  # at first one frame's pixels, and then an average, may mislead
            poses = _search_all(sprite, pictures, behind, free)
        poses = refine(sprite, pictures, behind, free, poses, turns=turns)
        fit = judge(sprite, pictures, behind, free, poses, turns=turns)
        used = fit.matched >= min(MATCHES, float(np.median(fit.matched)))
        sprite = build_sprite(
            seen[used],
            behind,
            free[used],
            poses[used],
            radius,
            contrast=background.contrast,
        )
        sprite, moved = sprite.canonical()
        poses = np.concatenate(
            [poses[:, :2] + turn(moved[None, :2], poses[:, 2]), poses[:, 2:] + moved[2]], axis=1
        )
        if number == ROUNDS - 1:
            # Made anew, since moving it to its centroid has blurred it.
            sprite = build_sprite(
                seen[used], behind, free[used], poses[used], radius, contrast=background.contrast
            )
        turns = order_of_symmetry(sprite) != ROUND
    poses = refine(sprite, pictures, behind, free, poses, turns=turns)
    fit = judge(sprite, pictures, behind, free, poses, turns=turns)
    return Body(
        sprite, order_of_symmetry(sprite), float(np.median(fit.error[used])), int(used.sum())
    )


def _search_all(
    sprite: Sprite, pictures: np.ndarray, behind: np.ndarray, free: np.ndarray
) -> np.ndarray:
    """The best pose of a sprite in each picture."""
    search = Search(sprite, behind)
    best = None
    found = [search.candidates(picture, mask) for picture, mask in zip(pictures, free, strict=True)]
    for candidate in range(max(map(len, found))):
        poses = np.stack([one[min(candidate, len(one) - 1)] for one in found])
        poses = refine(sprite, pictures, behind, free, poses, margin=3.0)
        fit = judge(sprite, pictures, behind, free, poses)
        best = fit if best is None else best.better(fit)
    assert best is not None
    return best.poses


def _spread_over(kind: list[Piece], count: int) -> list[Piece]:
    """At most so many of them, evenly."""
    if len(kind) <= count:
        return kind
    return [kind[i] for i in np.linspace(0, len(kind) - 1, count).astype(int)]
