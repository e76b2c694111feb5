"""What other programs ask of each environment of a batch, as they would of single ones."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from gymnasium.vector import VectorEnv

from irasim_env.task import Observation, WorldTask

# AsyncVectorEnv refuses these too: they are the batch's.
OF_THE_BATCH = ("reset", "step", "close")


class EachEnvironment(VectorEnv[Observation, np.ndarray, np.ndarray]):
    """`call`, `get_attr` and `set_attr`, with the meaning that they have in Gymnasium's
    `SyncVectorEnv` over `WorldEnv`s with time limits."""

    _task: WorldTask
    _limits: np.ndarray
    """Steps after which each environment truncates, int64 (B,)."""

    def __init__(self) -> None:
        self._set: dict[str, list[Any]] = {}  # what `set_attr` has set, by name

    def call(self, name: str, *args: Any, **kwargs: Any) -> tuple[Any, ...]:
        """What each environment's method returns, or its attribute where that is no method.

        Args:
            name: `render`, `_max_episode_steps`, `task`, `task_description`, `world`, the name of
                a property of `WorldEnv`, or what `set_attr` has set.
            *args: Arguments of the method.
            **kwargs: The same by name.

        Raises:
            AttributeError: a single environment has no such attribute, or keeps it for itself
                alone. So has `_max_episode_steps` one that has no time limit.
        """
        values = self._values(name)
        if name in _SHARED:  # a world is callable, and no method
            return tuple(values)
        return tuple(value(*args, **kwargs) if callable(value) else value for value in values)

    def get_attr(self, name: str) -> tuple[Any, ...]:
        """An attribute of each environment; the same as `call(name)`.

        Raises:
            AttributeError: see `call`.
        """
        return self.call(name)

    def set_attr(self, name: str, values: Any) -> None:
        """Set an attribute of each environment.

        `_max_episode_steps` changes the time limits, from the next step on. `task` and
        `task_description`, and any name that an environment does not have, are kept for
        `get_attr`.

        Args:
            name: Which attribute.
            values: A list or tuple of one value each, or one value for all.

        Raises:
            ValueError: another number of values, an attribute that the batch shares, or a value
                that it cannot have.
        """
        values = list(values) if isinstance(values, list | tuple) else [values] * self.num_envs
        if len(values) != self.num_envs:
            raise ValueError(
                f"set_attr got {len(values)} values of {name!r} for {self.num_envs} environments; "
                "give one each, or one for all"
            )
        if name == "_max_episode_steps":
            self._limits = time_limits(values, self.num_envs)
        elif name in _SETTABLE_WORDS or not (name in _SHARED or hasattr(self, name)):
            self._set[name] = values
        else:
            raise ValueError(
                f"set_attr cannot set {name!r}, which the batch shares; make the environments "
                "with another one, as in gymnasium.make_vec(...)"
            )

    def _values(self, name: str) -> Sequence[Any]:
        """An attribute of each environment, methods as callables."""
        if name in OF_THE_BATCH:
            raise AttributeError(
                f"{name!r} is the batch's, not each environment's; call {name}() itself"
            )
        if name in self._set:
            return self._set[name]
        if name == "render":
            frames = self.render()
            return [None] * self.num_envs if frames is None else frames
        if name == "_max_episode_steps":
            if (self._limits == NO_LIMIT).any():
                raise AttributeError(
                    "no '_max_episode_steps': not every environment has a time limit; make them "
                    "with max_episode_steps=300, or so"
                )
            return self._limits.tolist()
        if name in ("np_random", "np_random_seed"):
            return getattr(self, name)
        if name in _SHARED:
            return [_SHARED[name](self)] * self.num_envs
        raise AttributeError(
            f"environments of a learned world have no {name!r}; expected one of "
            f"{', '.join(sorted([*_SHARED, *self._set, 'render', '_max_episode_steps']))}"
        )


NO_LIMIT = np.iinfo(np.int64).max
_SETTABLE_WORDS = ("task", "task_description")
# Attributes of a `WorldEnv` that are the same for each environment of a batch.
_SHARED: dict[str, Callable[[EachEnvironment], Any]] = {
    "action_space": lambda envs: envs.single_action_space,
    "observation_space": lambda envs: envs.single_observation_space,
    "metadata": lambda envs: envs.metadata,
    "output": lambda envs: envs._task.output,
    "render_mode": lambda envs: envs.render_mode,
    "spec": lambda envs: envs.spec,
    "task": lambda envs: envs._task.name,
    "task_description": lambda envs: envs._task.description,
    "world": lambda envs: envs._task.world,
}


def time_limits(limits: int | Sequence[int] | None, num_envs: int) -> np.ndarray:
    """Steps after which each environment truncates, int64 (B,).

    Raises:
        ValueError: no positive integers, or another number of them.
    """
    if limits is None or (isinstance(limits, int) and limits == -1):
        return np.full(num_envs, NO_LIMIT)
    array = np.asarray(limits)
    if array.shape not in ((), (num_envs,)) or array.dtype.kind not in "iu" or (array < 1).any():
        raise ValueError(
            f"max_episode_steps is {limits!r}, expected a positive integer, one for each of "
            f"{num_envs} environments, or None (-1) for no limit"
        )
    return np.broadcast_to(array, num_envs).astype(np.int64)
