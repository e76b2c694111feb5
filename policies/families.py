"""What families of policies, from hopeless to good, have in common whatever their task."""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import gymnasium as gym
import numpy as np

Factory = Callable[[gym.Env, int], Callable[[Any], np.ndarray]]


class Wander:
    """Takes random actions, each for a while, without looking."""

    kind = "random"
    max_steps: int | None = None
    HOLD: int
    """Steps that an action is taken for."""
    BOUNDS: tuple[float, float]
    STREAM: int
    """With the episode's seed, that of its random numbers."""

    def __init__(self, env: gym.Env, seed: int):
        self._rng = np.random.default_rng([seed, self.STREAM])
        self._action, self._left = np.zeros(2, np.float32), 0

    def __call__(self, observation: object) -> np.ndarray:
        """The next action (2,)."""
        if self._left == 0:
            self._action = self._rng.uniform(*self.BOUNDS, 2).astype(np.float32)
            self._left = self.HOLD
        self._left -= 1
        return self._action


def clones(module: str, *names: str) -> Iterator[Factory]:
    """Shipped behaviour-cloned policies by name; the module of their networks, which makes them by
    `clone_of(name, seed)`, loads when first used."""

    def clone(name: str) -> Factory:
        return lambda env, seed: import_module(module).clone_of(name, seed)

    return map(clone, names)
