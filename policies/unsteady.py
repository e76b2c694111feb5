"""The unsteadiness of a hand, with which policies of a chosen skill are made from a good one."""

import numpy as np


class Unsteady:
    """Trembling, and now and then a slip, in which the hand goes anywhere for a while.

    Args:
        rng: Its own.
        tremble: Standard deviation of actions around those meant; those of neighbouring steps are
            alike.
        steadiness: Correlation of the trembling from step to step.
        slips: Share of the steps in which a slip begins.
        slip_steps: How long one lasts.
        anywhere: Low and high of where it goes.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        *,
        tremble: float,
        steadiness: float,
        slips: float,
        slip_steps: int,
        anywhere: tuple[float, float],
    ):
        self._rng, self._scale, self._kept = rng, tremble, steadiness
        self._slips, self._slip_steps, self._anywhere = slips, slip_steps, anywhere
        self.tremble = rng.normal(0, tremble, 2)
        """How far beside what is meant the hand is, (2,)."""
        self._left, self._to = 0, np.zeros(2)

    def step(self) -> tuple[np.ndarray | None, bool]:
        """One step on.

        Returns:
            Where a slip goes, (2,), None where there is none; and whether it begins now.
        """
        fresh = self._rng.normal(0, self._scale, 2)
        self.tremble = self._kept * self.tremble + np.sqrt(1 - self._kept**2) * fresh
        begins = self._left == 0 and self._rng.uniform() < self._slips
        if begins:
            self._left, self._to = self._slip_steps, self._rng.uniform(*self._anywhere, 2)
        if not self._left:
            return None, False
        self._left -= 1
        return self._to, begins
