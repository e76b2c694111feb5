"""A scene: the background, the robot's layer and the bodies, all from frames and observations.

Dimensions: N frames, H height, W width, Q numbers of the observation.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from training.data.labels.background import Background, fit_background
from training.data.labels.body import BORDER, INSTANCES, Body, fit_body, spread_over
from training.data.labels.camera import Camera, find_camera
from training.data.labels.pieces import Piece, find_kinds, find_pieces, free_of_others
from training.data.labels.register import Pixels
from training.data.labels.robot import ROUND_IT, RobotByExample, RobotPart, follow
from training.data.labels.sprite import Sprite, build_sprite

# Of what moves, besides the robot, so much may be of no kind.
SHAPELESS = 0.5
# Grey levels within which a pixel has a body's colour.
LIKE = 45.0


@dataclass(frozen=True, eq=False)
class Scene:
    """What the frames of a data set are made of.

    Attributes:
        background: Of all.
        robot: Parts that follow the observation.
        bodies: The largest first.
        observations: Names of the observations, in the order that the robot's parts read.
        unexplained: Share of the foreground that neither the robot nor a body explains.
        soft: Kinds of things that no one sprite explains, and that are not labelled.
        camera: Where it looks aslant; background and sprites are then of rectified pictures.
        picture: The background as the camera sees it, float32 (H, W, 3); None where that is the
            scene's.
        examples: Of a robot that no part follows, where it was seen.
    """

    background: Background
    robot: tuple[RobotPart, ...]
    bodies: tuple[Body, ...]
    observations: tuple[str, ...]
    unexplained: float
    soft: int = 0
    camera: Camera | None = None
    picture: np.ndarray | None = None
    examples: RobotByExample | None = None

    def rectified(self, frames: np.ndarray) -> np.ndarray:
        """Frames uint8 (N, H, W, 3) as bodies are looked for in them."""
        return frames if self.camera is None else self.camera.rectify(frames)

    def strange(self, frames: np.ndarray) -> np.ndarray:
        """Pixels of frames (N, H, W, 3) that look like neither background nor body: bool
        (N, H, W)."""
        found = self.background.foreground(frames)
        for colour in self._colours:
            found &= ((frames - colour) ** 2).sum(-1) > LIKE**2
        return found

    @cached_property
    def _colours(self) -> list[np.ndarray]:
        """Of the bodies' tops and sides, (3,) each."""
        sprites = [body.sprite for body in self.bodies]
        tops = [np.median(one.colour[one.alpha > 0.9], axis=0) for one in sprites]
        sides = [one.side.colour for one in sprites if one.side is not None]
        return [colour.astype(np.float32) for colour in (*tops, *sides)]

    def robot_mask(self, observations: np.ndarray, frames: np.ndarray | None = None) -> np.ndarray:
        """Pixels that the robot covers or touches, or that no picture shows.

        Args:
            observations: (N, Q).
            frames: float32 (N, H, W, 3); looked at where the robot is no sprite.

        Returns:
            bool (N, H, W).
        """
        size = self.background.picture.shape[:2]
        mask = np.zeros((len(observations), *size), bool)
        if self.camera is not None and self.picture is not None:
            mask |= ~self.camera.seen((self.picture.shape[0], self.picture.shape[1]))
        for part in self.robot:
            cover(mask, part.sprite, part.poses(observations), ROUND_IT)
        if self.examples is not None and frames is not None:
            mask |= self.examples.mask(observations) & self.strange(frames)
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
    noise: float,
    most_bodies: int | None = None,
    sizes: tuple[int, ...] | None = None,
) -> Scene:
    """Find background, robot and bodies in frames of many episodes.

    Args:
        frames: uint8 (N, H, W, 3).
        observations: The robot's own, float64 (N, Q).
        names: Of the observations.
        noise: Of a pixel, as `noise_between` frames of an episode.
        most_bodies: Keep no more than so many kinds, those that show most often.
        sizes: How many numbers each observation has; a camera is looked for where one has two.

    Raises:
        ValueError: There is no constant background, or no rigid body before it.
    """
    background = fit_background(frames, noise)
    background.check()
    foreground = background.foreground(frames)
    kinds = find_kinds(find_pieces(frames, foreground), len(frames))
    robot = []
    for kind in kinds:
        follows = follow(kind, observations)
        if follows is not None:
            robot.append(_robot_part(kind, follows, frames, foreground, observations, background))
    camera, picture = None, None
    if not robot and names and sizes is not None:
        parts = np.split(observations, np.cumsum(sizes)[:-1], axis=1)
        camera = find_camera(frames, foreground, dict(zip(names, parts, strict=True)))
    if camera is not None:
        picture, frames = background.picture, camera.rectify(frames)
        background = fit_background(frames, noise)
        foreground = background.foreground(frames)
    first = Scene(background, tuple(robot), (), names, 0.0, camera=camera, picture=picture)
    left_out = first.robot_mask(observations)
    pieces = find_pieces(frames, foreground, left_out)
    kinds = find_kinds(pieces, len(frames))[:most_bodies]
    if not kinds:
        raise ValueError(
            "no rigid body found: nothing shows again and again with one colour and size before "
            "the background, apart from what follows the robot. Label more episodes, in which "
            "bodies lie free of the robot and of each other"
        )
    everything = sum(piece.area for piece in pieces)
    named = sum(piece.area for kind in kinds for piece in kind)
    cut = sum(piece.area for piece in pieces if not piece.whole)
    unexplained = max(0.0, 1 - (named + cut) / max(everything, 1))
    if most_bodies is None and unexplained > SHAPELESS:
        raise ValueError(
            f"{unexplained:.0%} of what moves comes in no kind of one colour and size (at most "
            f"{SHAPELESS:.0%}): soft or shapeless things, or a camera that moves. Rigid bodies "
            "before a fixed camera can be labelled; --bodies N tries all the same"
        )
    rest = foreground & ~left_out
    foot = None if camera is None else camera.foot
    found = [fit_body(kind, frames, rest, left_out, background, foot) for kind in kinds]
    bodies = sorted((body for body in found if body.rigid), key=lambda body: -body.sprite.area)
    if not bodies:
        raise ValueError(
            f"{len(found)} kinds of things move, but none looks the same wherever it lies "
            f"(residuals of {', '.join(f'{body.error**0.5:.0f}' for body in found)} grey levels). "
            "Only rigid bodies in the picture's plane can be labelled: train without --hidden"
        )
    soft = len(found) - len(bodies)
    return Scene(background, tuple(robot), tuple(bodies), names, unexplained, soft, camera, picture)


def _robot_part(
    kind: list[Piece],
    found: tuple[np.ndarray, np.ndarray, float],
    frames: np.ndarray,
    foreground: np.ndarray,
    observations: np.ndarray,
    background: Background,
) -> RobotPart:
    matrix, offset, off = found
    chosen = spread_over(kind, INSTANCES)
    numbers = [piece.frame for piece in chosen]
    places = observations[numbers] @ matrix.T + offset
    poses = np.concatenate([places, np.zeros((len(places), 1))], axis=1)
    free = np.stack([free_of_others(piece, foreground[piece.frame]) for piece in chosen])
    radius = float(np.median([piece.reach for piece in chosen])) + BORDER
    sprite = build_sprite(
        frames[numbers], background.picture, free, poses, radius, contrast=background.contrast
    )
    return RobotPart(sprite, matrix, offset, off)
