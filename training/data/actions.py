"""How an environment's actions are recorded: as vectors float32 (A,), discrete ones as one-hot.

Dimensions: A components of a recorded action.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from world_model.choices import ChoicesConfig


@dataclass(frozen=True, kw_only=True)
class ActionForm:
    """Between an environment's own actions and recorded ones."""

    space: Any
    """The environment's action space."""
    choices: ChoicesConfig | None
    """What its discrete actions are; None of a Box."""

    def recorded(self, action: Any) -> np.ndarray:
        """What a policy gave, as float32 (A,).

        Raises:
            ValueError: It is not in the space.
        """
        if self.choices is not None:
            return self.choices.one_hot(self._whole(action))
        vector = np.asarray(action, dtype=np.float32)
        if not self.space.contains(vector.astype(self.space.dtype)):
            raise ValueError(f"the policy's action {vector} is not in {self.space}")
        return vector.reshape(-1)

    def stepped(self, vector: np.ndarray) -> Any:
        """A recorded action (A,) as the environment takes it."""
        if self.choices is None:
            return vector.reshape(self.space.shape).astype(self.space.dtype)
        numbers = self.choices.numbers(vector).astype(self.space.dtype)
        return numbers if self.choices.shape else numbers[()]

    def _whole(self, action: Any) -> np.ndarray:
        numbers = np.asarray(action)
        whole = numbers.dtype.kind in "biu" and numbers.shape == self.space.shape
        if not whole or not self.space.contains(self._typed(numbers)):
            raise ValueError(f"the policy's action {action!r} is not in {self.space}")
        return numbers.astype(np.int64)

    def _typed(self, numbers: np.ndarray) -> Any:
        return numbers.astype(self.space.dtype)[()]


def action_form(space: Any) -> ActionForm:
    """How actions of a space are recorded.

    Raises:
        ValueError: They are neither a Box nor discrete; the message names a wrapper.
    """
    import gymnasium as gym

    if isinstance(space, gym.spaces.Box) and np.prod(space.shape) > 0:
        return ActionForm(space=space, choices=None)
    if isinstance(space, gym.spaces.Discrete):
        return ActionForm(
            space=space,
            choices=ChoicesConfig(
                space="discrete", counts=(int(space.n),), first=(int(space.start),)
            ),
        )
    if isinstance(space, gym.spaces.MultiDiscrete) and space.nvec.ndim == 1:
        return ActionForm(
            space=space,
            choices=ChoicesConfig(
                space="multi_discrete",
                counts=tuple(map(int, space.nvec)),
                first=tuple(map(int, space.start)),
            ),
        )
    if isinstance(space, gym.spaces.MultiBinary) and len(space.shape) == 1:
        count = space.shape[0]
        return ActionForm(
            space=space,
            choices=ChoicesConfig(space="multi_binary", counts=(2,) * count, first=(0,) * count),
        )
    raise ValueError(
        f"action space is {space}, expected a Box, Discrete, MultiDiscrete or MultiBinary of one "
        "dimension. Register an environment that takes them flat: gymnasium.wrappers."
        "TransformAction(env, lambda flat: gymnasium.spaces.unflatten(env.action_space, flat), "
        "gymnasium.spaces.flatten_space(env.action_space))"
    )
