"""The time that a run by the clock has had, of its budget."""

import time


class Clock:
    """Time of a run, as a share of its budget; a run that goes on has what it had left."""

    def __init__(self, budget: float, begun: float):
        self.budget, self._begun = budget, begun
        self.before = 0.0
        """Seconds of earlier parts of the run."""

    @property
    def elapsed(self) -> float:
        """Seconds in all."""
        return self.before + time.monotonic() - self._begun

    @property
    def fraction(self) -> float:
        """Share of the budget."""
        return self.elapsed / self.budget
