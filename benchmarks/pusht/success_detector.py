"""Success detector: whether Push-T was solved, from frames alone, without a head or a simulator.

The pose of the T is read from a frame (`policies.pusht.reading`), and its overlap with the goal
computed as gym-pusht does: the share of the goal's area that the T covers. The simulator draws with
corners rounded to whole units, so coverage read from frames is off by 0.006 in the median and by up
to 0.04, and the simulator stops just past its 0.95: the threshold here is a little lower, see
`PushTSuccessDetector`.

T frames; H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from policies.pusht.geometry import BOXES, GOAL, Pose
from policies.pusht.reading import WORLD_SIZE, read_t
from policies.verdicts import Detection, Verdict, check_episode

SUCCESS = 0.95  # coverage above which gym-pusht's episodes are solved
GREENNESS = 94  # of LightGreen (144, 238, 144): its green lies so far above its red and blue
# A frame in which more than this share of the goal is visible cannot show it covered, so it needs
# no reading. Far above 1 - SUCCESS, since the goal's rim shows beyond the T's when blurred.
GOAL_VISIBLE = 0.3


@dataclass(frozen=True, kw_only=True)
class CoverageDetection(Detection):
    """What the detector found in an episode."""

    coverage: float
    """Highest coverage read; NaN where none was."""


@dataclass(frozen=True, kw_only=True)
class PushTSuccessDetector:
    """Decides from its frames whether an episode succeeded.

    Attributes:
        threshold: Coverage read above which an episode is solved. At the simulator's own 0.95 one
            true success in eight is missed, at 0.94 one in thirty.
        stride: The T is read in every `stride`-th frame and in the last; and in all frames
            in which the goal may be covered.
        most_unreadable: An episode without success in which more than this share of the frames
            inspected shows no readable T is undecidable: success may have been among them.
    """

    threshold: float = 0.94
    stride: int = 10
    most_unreadable: float = 0.2

    def __call__(self, frames: np.ndarray) -> CoverageDetection:
        """Decide on an episode.

        Args:
            frames: uint8 (T, H, W, 3), all that an episode showed after its start.
        """
        check_episode(frames)
        candidates = goal_visible(frames) < GOAL_VISIBLE
        inspected_frames = candidates.copy()
        inspected_frames[:: self.stride] = inspected_frames[-1] = True
        readings = np.full(len(frames), np.nan)
        for index in np.flatnonzero(inspected_frames).tolist():
            readings[index] = coverage(read_t(frames[index]), len(frames[index]))
            if readings[index] > self.threshold:
                return self._detection(Verdict.SUCCESS, index, readings, inspected_frames)
        verdict = Verdict.FAILURE
        if np.isnan(readings[inspected_frames]).mean() > self.most_unreadable:
            verdict = Verdict.UNDECIDABLE
        return self._detection(verdict, None, readings, inspected_frames)

    def reward(self, frames: np.ndarray, action: np.ndarray) -> tuple[float, bool]:
        """Reward and end of one transition, as gym-pusht gives them; for `WorldEnv`'s `reward_fn`.

        Args:
            frames: uint8 (2, H, W, 3), before the action and after it.
            action: What was done; ignored.
        """
        covered = coverage(read_t(frames[-1]), len(frames[-1]))
        if np.isnan(covered):
            return 0.0, False
        return min(covered / SUCCESS, 1.0), covered > self.threshold

    @staticmethod
    def _detection(
        verdict: Verdict, step: int | None, readings: np.ndarray, inspected_frames: np.ndarray
    ) -> CoverageDetection:
        inspected = inspected_frames[: len(inspected_frames) if step is None else step + 1]
        chosen = readings[: len(inspected)][inspected]
        known = chosen[~np.isnan(chosen)]
        return CoverageDetection(
            verdict=verdict,
            step=step,
            coverage=float(known.max()) if known.size else float("nan"),
            unreadable=float(np.isnan(chosen).mean()),
        )


def coverage(pose: Sequence[float] | np.ndarray, size: int) -> float:
    """Share of the goal that a T covers, as gym-pusht's `_get_coverage`, to about 0.0005.

    Args:
        pose: (x, y, angle) as `read_t` gives it: pixels and radians; NaN gives NaN.
        size: Side of the frame in pixels.
    """
    x, y, angle = (float(value) for value in pose)
    if np.isnan(x):
        return float("nan")
    scale = WORLD_SIZE / size
    block = Pose(x=x * scale, y=y * scale, angle=angle)
    return float(_inside(block.to_block(_GOAL_POINTS)).mean())


def goal_visible(frames: np.ndarray) -> np.ndarray:
    """Share of the goal's area that is visibly green, (...) of frames uint8 (..., H, W, 3)."""
    red, green, blue = np.moveaxis(frames.astype(np.float32), -1, 0)
    shares = ((green - (red + blue) / 2) / GREENNESS).clip(0, 1)
    area = len(_GOAL_POINTS) / _DENSITY**2 * (frames.shape[-2] / WORLD_SIZE) ** 2
    return shares.sum(axis=(-1, -2)) / area


def _inside(points: np.ndarray) -> np.ndarray:
    """Which points (N, 2) of the block's frame lie in the T."""
    bar, stem = (np.all(np.abs(points - centre) <= half, axis=-1) for centre, half in BOXES)
    return np.asarray(bar | stem)


def _goal_points() -> np.ndarray:
    """Points (N, 2) spread evenly over the goal, in simulator units."""
    across = (np.arange(120 * _DENSITY) + 0.5) / _DENSITY
    points = np.stack(np.meshgrid(across - 60, across), axis=-1).reshape(-1, 2)
    return GOAL.to_world(points[_inside(points)])


_DENSITY = 2  # points a simulator unit along each side
_GOAL_POINTS = _goal_points()
