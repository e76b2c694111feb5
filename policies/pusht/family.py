"""A family of Push-T policies from hopeless to good, to see whether a world keeps their order.

All act on observations alone, so that they run in gym-pusht and in worlds learned from it alike.
`FAMILY` names them; "policies.pusht_family:NAME" is each one's import path (factories
`(env, seed) -> policy`). What each reaches in the real simulator is in docs/policies.md.
"""

from collections.abc import Callable
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


def expert(env: gym.Env, seed: int) -> PixelExpert:
    """The push-sampling expert with its full budget."""
    return PixelExpert(env, seed)


def expert_6(env: gym.Env, seed: int) -> PixelExpert:
    """Tries 6 pushes before each one."""
    return PixelExpert(env, seed, candidates=6)


def expert_3(env: gym.Env, seed: int) -> PixelExpert:
    """Tries 3 pushes before each one."""
    return PixelExpert(env, seed, candidates=3)


def expert_2(env: gym.Env, seed: int) -> PixelExpert:
    """Tries 2 pushes before each one."""
    return PixelExpert(env, seed, candidates=2)


def trembling_8(env: gym.Env, seed: int) -> PixelExpert:
    """The expert with targets about 8 px off."""
    return PixelExpert(env, seed, tremble=8)


def trembling_12(env: gym.Env, seed: int) -> PixelExpert:
    """The expert with targets about 12 px off."""
    return PixelExpert(env, seed, tremble=12)


def trembling_16(env: gym.Env, seed: int) -> PixelExpert:
    """The expert with targets about 16 px off."""
    return PixelExpert(env, seed, tremble=16)


def slipping(env: gym.Env, seed: int) -> PixelExpert:
    """The expert that slips about every 25 steps."""
    return PixelExpert(env, seed, slips=0.04)


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
