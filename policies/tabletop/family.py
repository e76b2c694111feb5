"""A family of tabletop policies from hopeless to good, to see whether a world keeps their order.

All act on observations alone, so that they run in the simulator and in worlds learned from it
alike. `FAMILY` names them; "policies.tabletop.family:NAME" is each one's import path (factories
`(env, seed) -> policy`). What each reaches in the simulator is in docs/tabletop.md.
"""

from functools import partial

import gymnasium as gym

from policies import families
from policies.families import clones
from policies.tabletop.from_pixels import PixelPusher, blocks_of
from policies.tabletop.pushing import PushConfig
from policies.tabletop.scene import NAMES


class Wander(families.Wander):
    """Goes in random directions, each for a while, without looking."""

    HOLD, BOUNDS, STREAM = 6, (-1, 1), 9


push = PixelPusher
# At an eighth of the speed, so that time runs out now and then.
slow = partial(PixelPusher, config=PushConfig(pace=0.12))
# Straight on, through the other blocks.
straight = partial(PixelPusher, config=PushConfig(looks_around=False))
# Moving about one step, or one and a half, off the one meant.
trembling, shaking = (partial(PixelPusher, tremble=n) for n in (1.0, 1.4))
slipping = partial(PixelPusher, slips=0.15)  # about every seven steps


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


clone_20, clone_1000 = clones("policies.tabletop.cloning", "clone_20", "clone_1000")
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
