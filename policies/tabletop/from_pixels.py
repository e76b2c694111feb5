"""Tabletop policies that act on what can be seen: `{"pixels", "effector_pos"}`, in any tabletop.

The same policy therefore runs in the simulator and in a world learned from it. Each is made by
`factory(env, seed)` and called as `policy(observation) -> action`; `env` says which block goes to
which alone.
"""

from typing import Any

import gymnasium as gym
import numpy as np

from policies.observed import check_observation
from policies.tabletop.pushing import BlockPusher, PushConfig
from policies.tabletop.reading import places
from policies.tabletop.scene import NAMES
from policies.unsteady import Unsteady

MOVE, TO = "cube", "cylinder"  # where the environment says nothing else


def blocks_of(env: gym.Env) -> tuple[str, str]:
    """Which block goes to which: as the simulator was made, this one or that behind a world."""
    inside = env.unwrapped
    world = getattr(getattr(inside, "task", None), "world", None)
    if world is not None:
        truth = world.config.ground_truth
        said = {} if truth is None else truth.kwargs
        return said.get("move", MOVE), said.get("to", TO)
    return getattr(inside, "move", MOVE), getattr(inside, "to", TO)


class Seen:
    """Blocks as an observation shows them.

    A block that cannot be made out is taken to be where it was seen last; before it was ever seen,
    in the middle of the table.
    """

    def __init__(self) -> None:
        self._last = np.zeros((len(NAMES), 2))

    def __call__(self, observation: Any) -> tuple[np.ndarray, np.ndarray]:
        """Places of the blocks (4, 2) and of the pusher (2,), m."""
        seen = check_observation(observation, "effector_pos")
        found = places(np.asarray(seen["pixels"]))
        for i, name in enumerate(NAMES):
            if not np.isnan(found[name]).any():
                self._last[i] = found[name]
        return self._last.copy(), np.asarray(seen["effector_pos"], np.float64)


class PixelPusher:
    """Pushes one block to another on sight, with a chosen skill and a chosen unsteadiness.

    Args:
        env: Any tabletop that observes "pixels_effector_pos".
        seed: Of its trembling and slips.
        config: How well it pushes.
        blocks: Which block goes to which; default what the environment says.
        tremble: Standard deviation of its actions around those meant; those of neighbouring steps
            are alike, as a hand's are.
        slips: Share of the steps in which a slip begins: for half a second it goes anywhere.
    """

    kind = "pixel_pusher"
    max_steps: int | None = None

    def __init__(
        self,
        env: gym.Env,
        seed: int,
        *,
        config: PushConfig | None = None,
        blocks: tuple[str, str] | None = None,
        tremble: float = 0.0,
        slips: float = 0.0,
    ):
        self._seen = Seen()
        self._pusher = BlockPusher(*(blocks or blocks_of(env)), config)
        self._hand = Unsteady(
            np.random.default_rng([seed, 8]),
            tremble=tremble,
            steadiness=0.7,
            slips=slips,
            slip_steps=5,
            anywhere=(-1, 1),
        )

    def __call__(self, observation: Any) -> np.ndarray:
        """The next action (2,)."""
        slip, begins = self._hand.step()
        if begins:
            self._pusher.forget()
        action = self._pusher(*self._seen(observation)) if slip is None else slip
        return np.clip(action + self._hand.tremble, -1, 1).astype(np.float32)


class Rest:
    """Leaves the pusher where it is: how fresh starts are recorded."""

    kind = "rest"
    max_steps: int | None = None

    def __init__(self, env: gym.Env, seed: int):
        pass

    def __call__(self, observation: Any) -> np.ndarray:
        """Nothing (2,)."""
        return np.zeros(2, np.float32)
