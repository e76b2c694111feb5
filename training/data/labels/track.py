"""Bodies followed through episodes, several episodes at a time.

A frame's pose begins with that of the frame before. Where that does not fit, it is looked for in
blurred pictures, then in the whole picture. A body whose pixels do not change has not moved, and
keeps its pose to the bit, so that a world can learn what moves and what does not.

Dimensions: E episodes, T frames of one, H height, W width, Q numbers of the observation.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from training.data.labels.body import Body
from training.data.labels.register import Fit, Pixels, judge, refine
from training.data.labels.scene import Scene, cover
from training.data.labels.search import Search, blurred

# A pose is one where so much of what is free looks as predicted; less, and it is looked for anew.
GOOD = 0.85
# Residuals so many times the body's own call for a search, too.
GOOD_ERROR = 1.35
# It is written as found from so much matched and so much seen on, with deviations of place (pixels)
# and angle (rad) below these.
LEAST_MATCHED, LEAST_VISIBLE, MOST_DEVIATION = 0.6, 0.35, (0.5, 0.1)
# Blur of the pictures in which a body that has moved far is looked for, and pixels around it.
BLUR, FAR = 2.0, 5.0
# Body that is newly seen, as a share, which is worth registering a resting body again.
NEWLY_SEEN = 0.03
# Of the body's area, what must be unexplained in a frame for a search to be worth it.
WORTH_A_SEARCH = 0.3
# What a pixel beside must be, too, where it is asked whether a body has moved.
BESIDE = np.ones((3, 3), np.uint8)
# Where the robot is no sprite, and what covers a body is not known exactly, a body rests while it
# seems to move by less than this from where it lay: in pixels and rad.
STEADY = (0.25, 0.05)
# Mean squared change of a resting body's pixels: so many times the noise's, and this besides.
REST_NOISE, REST_LEVELS = 3.0, 0.1


@dataclass(frozen=True, eq=False)
class Track:
    """One body in one episode.

    Attributes:
        poses: x, y in index coordinates of pixels, angle in (-pi, pi], (T, 3).
        labelled: Whether it was found; other poses are between those found before and after, bool
            (T,).
        visible: Share of it that is seen, (T,).
        residual: Root mean square of what is left unexplained, grey levels, (T,).
        deviation: Of place in pixels and angle in rad, by residual and curvature, (T, 2).
    """

    poses: np.ndarray
    labelled: np.ndarray
    visible: np.ndarray
    residual: np.ndarray
    deviation: np.ndarray


class Tracker:
    """Follows one body through a batch of episodes, a frame of each at a time."""

    def __init__(self, body: Body, scene: Scene, count: int):
        self.body, self.scene = body, scene
        self.found = np.zeros(count, bool)
        self.fit = Fit.none(np.zeros((count, 3)))
        self.rests = np.zeros(count, bool)
        self.most_seen = np.zeros(count)

    @cached_property
    def search(self) -> Search:
        """In the whole picture."""
        symmetry = self.body.symmetry if self.scene.camera is not None else 1
        return Search(self.body.sprite, self.scene.background.picture, symmetry=symmetry)

    @cached_property
    def soft(self) -> tuple:
        """Sprite and background, blurred."""
        behind = self.scene.background.picture
        return self.body.sprite.blurred(BLUR), blurred(behind, BLUR)

    def step(
        self,
        which: np.ndarray,
        frames: np.ndarray,
        free: np.ndarray,
        before: tuple[np.ndarray, np.ndarray] | None,
    ) -> None:
        """Take the next frame of episodes numbered `which`.

        Args:
            which: (B,).
            frames: float32 (B, H, W, 3).
            free: bool (B, H, W).
            before: Frames and free pixels of the step before, of the same episodes.
        """
        poses, found = self.fit.poses[which], self.found[which]
        rests = np.zeros(len(which), bool)
        if before is not None:
            rests = found & self._unchanged(poses, frames, free, *before)
        fit = self._judge(frames, free, poses)
        again = rests & (fit.visible > self.most_seen[which] + NEWLY_SEEN)
        moved = found & ~rests | again
        if moved.any():
            fit.put(moved, self._follow(frames[moved], free[moved], poses[moved]))
        lost = ~found | (moved & ~self._good(fit))
        if lost.any():
            old = Fit(*(values[lost] for values in vars(fit).values()))
            known = np.where(found[lost, None], poses[lost], 0.0)
            fit.put(lost, self._find(frames[lost], free[lost], old, known, found[lost]))
        seen = np.where(rests, np.maximum(fit.visible, self.most_seen[which]), fit.visible)
        self.most_seen[which], self.rests[which] = seen, rests
        self.fit.put(which, fit)
        self.found[which] = self._labelled(fit)

    def _judge(self, frames: np.ndarray, free: np.ndarray, poses: np.ndarray) -> Fit:
        behind = self.scene.background.picture
        return judge(self.body.sprite, frames, behind, free, poses, turns=self.body.turns)

    def _refine(self, frames: np.ndarray, free: np.ndarray, poses: np.ndarray, **how) -> np.ndarray:
        behind = self.scene.background.picture
        return refine(self.body.sprite, frames, behind, free, poses, turns=self.body.turns, **how)

    def _good(self, fit: Fit) -> np.ndarray:
        return (fit.matched > GOOD) & (fit.error < GOOD_ERROR * self.body.error)

    def _labelled(self, fit: Fit) -> np.ndarray:
        """Which fits (B,) are labels."""
        return (
            (fit.matched > LEAST_MATCHED)
            & (fit.visible > LEAST_VISIBLE)
            & (fit.deviation < MOST_DEVIATION).all(1)
        )

    def _unchanged(
        self,
        poses: np.ndarray,
        frames: np.ndarray,
        free: np.ndarray,
        frames_before: np.ndarray,
        free_before: np.ndarray,
    ) -> np.ndarray:
        """Whether the body's pixels are those of the frame before, bool (B,)."""
        pixels = Pixels(self.body.sprite, poses, frames.shape[1:3], 1.0)
        at = (pixels.frame, pixels.y, pixels.x)
        both = free & free_before
        if self.scene.camera is not None:  # a robot that is no sprite has edges that are not exact
            both = np.stack([cv2.erode(one.astype(np.uint8), BESIDE) > 0 for one in both])
        usable = both[at]
        change = ((frames[at] - frames_before[at]) ** 2).mean(-1)
        count = pixels.sums(usable)
        mean = pixels.sums(change * usable) / np.maximum(count, 1)
        allowed = REST_NOISE * self.scene.background.noise**2 + REST_LEVELS
        return (count > LEAST_VISIBLE * self.body.sprite.area) & (mean < allowed)

    def _follow(self, frames: np.ndarray, free: np.ndarray, poses: np.ndarray) -> Fit:
        """From the pose of the frame before."""
        fit = self._judge(frames, free, self._refine(frames, free, poses))
        far = ~self._good(fit)
        if far.any():
            sprite, behind = self.soft
            coarse = refine(
                sprite,
                blurred(frames[far], BLUR),
                behind,
                free[far],
                poses[far],
                turns=self.body.turns,
                margin=FAR,
                robust=False,
            )
            near = self._refine(frames[far], free[far], coarse, margin=2.5)
            nearer = self._judge(frames[far], free[far], near)
            old = Fit(*(values[far] for values in vars(fit).values()))
            fit.put(far, nearer.better(old))
        return fit

    def _find(
        self, frames: np.ndarray, free: np.ndarray, fit: Fit, known: np.ndarray, found: np.ndarray
    ) -> Fit:
        """In the whole picture; what is no better than `fit` is left."""
        area = (self.scene.background.foreground(frames) & free).sum((1, 2))
        worth = np.flatnonzero(area > WORTH_A_SEARCH * self.body.sprite.area)
        if not len(worth):
            return fit
        candidates = [self.search.candidates(frames[i], free[i]) for i in worth]
        rows = np.repeat(worth, [len(one) for one in candidates])
        poses = self._refine(frames[rows], free[rows], np.concatenate(candidates), margin=3.0)
        tried = self._judge(frames[rows], free[rows], poses)
        for i in worth:
            mine = np.flatnonzero(rows == i)
            best = mine[tried.score[mine].argmax()]
            if tried.score[best] > fit.score[i]:
                pose = tried.poses[best]
                if self.body.symmetry > 1:
                    pose[2] = equivalent(
                        pose[2], known[i, 2] if found[i] else 0.0, self.body.symmetry
                    )
                chosen = Fit(*(values[best : best + 1] for values in vars(tried).values()))
                fit.put(np.array([i]), chosen)
        return fit


def equivalent(angle: float, near: float, order: int) -> float:
    """The angle that a body of such a symmetry shows alike, nearest to another."""
    period = 2 * np.pi / order
    return near + (angle - near + period / 2) % period - period / 2


def track(
    scene: Scene, frames: list[np.ndarray], observations: list[np.ndarray]
) -> list[list[Track]]:
    """Labels of all bodies in some episodes.

    Args:
        scene: Of the data set.
        frames: Of each episode, uint8 (T, H, W, 3).
        observations: Likewise, float64 (T, Q).

    Returns:
        For each episode, for each body, a `Track`.
    """
    lengths = np.array([len(one) for one in frames])
    trackers = [Tracker(body, scene, len(frames)) for body in scene.bodies]
    history: list[list[tuple[np.ndarray, Fit, np.ndarray, np.ndarray]]] = [[] for _ in trackers]
    before: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]] = {}
    for t in range(lengths.max()):
        which = np.flatnonzero(lengths > t)
        pictures = np.stack([frames[i][t] for i in which]).astype(np.float32)
        robot = scene.robot_mask(np.stack([observations[i][t] for i in which]), pictures)
        for number, tracker in enumerate(trackers):
            free = ~robot
            for other in trackers:
                if other is not tracker:
                    covered = np.zeros_like(free)
                    poses = other.fit.poses[which].copy()
                    poses[~other.found[which]] = -1e3  # outside of the picture
                    cover(covered, other.body.sprite, poses, 0.0)
                    free &= ~covered
            earlier = None
            if number in before:
                kept = np.isin(before[number][0], which)
                earlier = (before[number][1][kept], before[number][2][kept])
            tracker.step(which, pictures, free, earlier)
            before[number] = (which, pictures, free)
            fit = Fit(*(values[which].copy() for values in vars(tracker.fit).values()))
            history[number].append(
                (which, fit, tracker.found[which].copy(), tracker.rests[which].copy())
            )
    return [
        [
            _gather(steps, episode, scene.bodies[number], steady=scene.camera is not None)
            for number, steps in enumerate(history)
        ]
        for episode in range(len(frames))
    ]


def _gather(
    steps: list[tuple[np.ndarray, Fit, np.ndarray, np.ndarray]],
    episode: int,
    body: Body,
    *,
    steady: bool,
) -> Track:
    """The track of one episode; `steady`: changes too small to be told are none."""
    rows = []
    for which, fit, found, rests in steps:
        at = int(np.searchsorted(which, episode))
        if at >= len(which) or which[at] != episode:
            break
        rows.append(
            (fit.poses[at], fit.visible[at], fit.error[at], fit.deviation[at], found[at], rests[at])
        )
    poses, visible, error, deviation, found, rests = (
        np.array(part) for part in zip(*rows, strict=True)
    )
    # While it rests it is where it was best seen, which is the last that it was registered.
    for t in range(len(poses) - 2, -1, -1):
        if rests[t + 1]:
            poses[t] = poses[t + 1]
    poses = filled(poses, found)
    if not body.turns:
        poses[:, 2] = 0
    if steady:
        poses = held(poses, 2 * np.pi / max(1, body.symmetry))
    poses[:, 2] = -((-poses[:, 2] + np.pi) % (2 * np.pi) - np.pi)
    return Track(poses, found, visible, np.sqrt(error), deviation)


def held(poses: np.ndarray, period: float) -> np.ndarray:
    """Poses (T, 3) that change only where a body has left the place where it lay, by `STEADY`;
    angles that differ by the period look alike."""
    result = poses.copy()
    for t in range(1, len(result)):
        change = result[t] - result[t - 1]
        change[2] = (change[2] + period / 2) % period - period / 2
        if np.hypot(*change[:2]) < STEADY[0] and abs(change[2]) < STEADY[1]:
            result[t] = result[t - 1]
    return result


def filled(poses: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Poses (T, 3), those not found on a line between their neighbours' that were."""
    known = np.flatnonzero(found)
    if not len(known):
        return poses
    result = poses.copy()
    angles = np.unwrap(poses[known, 2])
    times = np.arange(len(poses))
    for i, values in enumerate((poses[known, 0], poses[known, 1], angles)):
        result[:, i] = np.where(found, poses[:, i], np.interp(times, known, values))
    return result
