"""`Slow-v0`: an environment that takes its time, for what happens meanwhile."""

import time
from typing import Any

import gymnasium as gym

from tests.brought_environments import Square


class Slow(Square):
    """A tenth of a second a step."""

    def step(self, action: Any):
        time.sleep(0.1)
        return super().step(action)


gym.register("Slow-v0", entry_point=Slow)
