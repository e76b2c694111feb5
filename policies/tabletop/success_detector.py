"""Success detector: whether the blocks have met, from frames alone.

Where the two blocks are is read from a frame (reading.py) and taken back to the table, through the
camera that is known.

T frames; H height, W width.
"""

from dataclasses import dataclass

import numpy as np

from policies.tabletop.from_pixels import MOVE, TO
from policies.tabletop.reading import HEIGHTS, measure
from policies.tabletop.scene import STEP, TOUCHING, to_table
from policies.verdicts import Detection, Verdict, check_episode


@dataclass(frozen=True, kw_only=True)
class DistanceDetection(Detection):
    """What the detector found in an episode."""

    distance: float
    """The least that was read, m; NaN where none was."""


@dataclass(frozen=True, kw_only=True)
class TouchSuccessDetector:
    """Decides from its frames whether an episode succeeded.

    Attributes:
        move: The block that is pushed.
        to: The block that it is pushed to.
        threshold: Distance read, m, at which they have met: a little more than the simulator's, as
            readings are off by half a millimetre in the median, by more where the arm hides a part.
        most_unreadable: An episode without success in which more than this share of the frames
            does not show both blocks is undecidable: success may have been among them.
    """

    move: str = MOVE
    to: str = TO
    threshold: float = TOUCHING + 0.001
    most_unreadable: float = 0.2

    def __call__(self, frames: np.ndarray) -> DistanceDetection:
        """Decide on an episode.

        Args:
            frames: uint8 (T, H, W, 3), all that an episode showed after its start.
        """
        check_episode(frames)
        distances = self.distances(frames)
        met = np.flatnonzero(distances <= self.threshold)
        step = int(met[0]) if len(met) else None
        inspected = distances if step is None else distances[: step + 1]
        known, unreadable = inspected[~np.isnan(inspected)], float(np.isnan(inspected).mean())
        verdict = Verdict.SUCCESS if step is not None else Verdict.FAILURE
        if step is None and unreadable > self.most_unreadable:
            verdict = Verdict.UNDECIDABLE
        return DistanceDetection(
            verdict=verdict,
            step=step,
            distance=float(known.min()) if known.size else float("nan"),
            unreadable=unreadable,
        )

    def reward(self, frames: np.ndarray, action: np.ndarray) -> tuple[float, bool]:
        """Reward and end of one transition, as the simulator gives them; for `WorldEnv`'s
        `reward_fn`.

        Args:
            frames: uint8 (2, H, W, 3), before the action and after it.
            action: What was done; not looked at.
        """
        before, after = self.distances(frames)
        if np.isnan(after):
            return 0.0, False
        reward = 0.0 if np.isnan(before) else float(before - after) / STEP
        return reward, bool(after <= self.threshold)

    def distances(self, frames: np.ndarray) -> np.ndarray:
        """How far apart the two blocks' middles are in frames (T, H, W, 3): m (T,), NaN where one
        of them cannot be read."""
        found, size = measure(frames), frames.shape[1]
        move, to = (to_table(found[name], HEIGHTS[name], size) for name in (self.move, self.to))
        return np.linalg.norm(move - to, axis=-1)
