"""A family of tabletop policies from hopeless to good, to see whether a world keeps their order.

All act on observations alone, so that they run in the simulator and in worlds learned from it
alike. `FAMILY` names them; "policies.tabletop.family:NAME" is each one's import path (factories
`(env, seed) -> policy`). What each reaches in the simulator is in docs/tabletop.md.
"""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np

from policies.tabletop.from_pixels import PixelPusher, blocks_of
from policies.tabletop.pushing import PushConfig
from policies.tabletop.scene import NAMES

Factory = Callable[[gym.Env, int], Callable[[Any], np.ndarray]]


class Wander:
    """Goes in random directions, each for a while, without looking."""

    kind = "random"
    max_steps: int | None = None
    HOLD = 6  # steps

    def __init__(self, env: gym.Env, seed: int):
        self._rng = np.random.default_rng([seed, 9])
        self._action, self._left = np.zeros(2, np.float32), 0

    def __call__(self, observation: object) -> np.ndarray:
        """The next action (2,)."""
        if self._left == 0:
            self._action, self._left = self._rng.uniform(-1, 1, 2).astype(np.float32), self.HOLD
        self._left -= 1
        return self._action


def push(env: gym.Env, seed: int) -> PixelPusher:
    """Pushes as well as it can."""
    return PixelPusher(env, seed)


def slow(env: gym.Env, seed: int) -> PixelPusher:
    """Pushes at an eighth of the speed, so that time runs out now and then."""
    return PixelPusher(env, seed, config=PushConfig(pace=0.12))


def straight(env: gym.Env, seed: int) -> PixelPusher:
    """Goes and pushes straight on, through the other blocks."""
    return PixelPusher(env, seed, config=PushConfig(looks_around=False))


def trembling(env: gym.Env, seed: int) -> PixelPusher:
    """Moves about one step off the one meant."""
    return PixelPusher(env, seed, tremble=1.0)


def shaking(env: gym.Env, seed: int) -> PixelPusher:
    """Moves about one and a half steps off the one meant."""
    return PixelPusher(env, seed, tremble=1.4)


def slipping(env: gym.Env, seed: int) -> PixelPusher:
    """Slips about every seven steps."""
    return PixelPusher(env, seed, slips=0.15)


def wrong_block(env: gym.Env, seed: int) -> PixelPusher:
    """Pushes another block to where the right one should go."""
    move, to = blocks_of(env)
    wrong = next(name for name in reversed(NAMES) if name not in (move, to))
    return PixelPusher(env, seed, blocks=(wrong, to))


def wrong_goal(env: gym.Env, seed: int) -> PixelPusher:
    """Pushes the right block to another one."""
    move, to = blocks_of(env)
    wrong = next(name for name in reversed(NAMES) if name not in (move, to))
    return PixelPusher(env, seed, blocks=(move, wrong))


def _clone(name: str) -> Factory:
    """A shipped behaviour-cloned policy; its network loads when first used."""

    def factory(env: gym.Env, seed: int) -> Callable[[Any], np.ndarray]:
        from policies.tabletop.cloning import clone_of

        return clone_of(name)

    return factory


clone_20, clone_1000 = _clone("clone_20"), _clone("clone_1000")
wander = Wander

FAMILY = (
    "push",
    "straight",
    "trembling",
    "slipping",
    "slow",
    "shaking",
    "clone_1000",
    "clone_20",
    "wrong_goal",
    "wrong_block",
    "wander",
)
