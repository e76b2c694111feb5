"""A family of Push-T policies from hopeless to good, to see whether a world keeps their order.

All act on observations alone, so that they run in gym-pusht and in worlds learned from it alike.
`FAMILY` names them; "policies.pusht_family:NAME" is each one's import path (factories
`(env, seed) -> policy`). What each reaches in the real simulator is in docs/policies.md.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium as gym
import numpy as np

from policies.pusht.from_pixels import PixelExpert

Factory = Callable[[gym.Env, int], Callable[[Any], np.ndarray]]


class Wander:
    """Goes to random places, one after the other, without looking."""

    kind = "random"
    max_steps: int | None = None
    HOLD = 8  # steps for which a place is aimed at

    def __init__(self, env: gym.Env, seed: int):
        self._rng = np.random.default_rng([seed, 8])
        self._target, self._left = np.zeros(2), 0

    def __call__(self, observation: object) -> np.ndarray:
        """The next target (2,) of the disc, px."""
        if self._left == 0:
            self._target, self._left = self._rng.uniform(0, 512, 2), self.HOLD
        self._left -= 1
        return self._target.astype(np.float32)


expert = PixelExpert
# With fewer pushes tried before each one than the full budget's.
expert_6, expert_3, expert_2 = (partial(PixelExpert, candidates=n) for n in (6, 3, 2))
# With targets about so many px off.
trembling_8, trembling_12, trembling_16 = (partial(PixelExpert, tremble=n) for n in (8, 12, 16))
slipping = partial(PixelExpert, slips=0.04)  # about every 25 steps


def _clone(name: str) -> Factory:
    """A shipped behaviour-cloned policy; its network loads when first used."""

    def factory(env: gym.Env, seed: int) -> Callable[[Any], np.ndarray]:
        from policies.pusht.cloning import clone_of

        return clone_of(name, seed)

    return factory


clone_200, clone_1000 = _clone("clone_200"), _clone("clone_1000")
wander = Wander

FAMILY = (
    "expert",
    "expert_6",
    "expert_3",
    "expert_2",
    "trembling_8",
    "trembling_12",
    "trembling_16",
    "slipping",
    "clone_1000",
    "clone_200",
    "wander",
)
