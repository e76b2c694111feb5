"""What the environments take as actions, and what they refuse."""

from typing import Any

import numpy as np
from gymnasium import error, spaces
from torch import Tensor

from world_model import WorldConfig
from world_model.choices import ChoicesConfig


def action_shape(config: WorldConfig, chunk: int | None) -> tuple[int, ...]:
    """Shape of what one environment takes a step: (A,), or (k, A) for k actions at once."""
    return (config.action_dim,) if chunk is None else (chunk, config.action_dim)


def action_space(config: WorldConfig, chunk: int | None = None) -> spaces.Space:
    """The action space of the simulator that a world was learned from, or `chunk` times it."""
    if config.choices is not None:
        return _space_of(config.choices, chunk)
    shape = action_shape(config, chunk)
    low, high = (np.array(bound, np.float32) for bound in (config.action_low, config.action_high))
    return spaces.Box(np.broadcast_to(low, shape).copy(), np.broadcast_to(high, shape).copy())


def _space_of(choices: ChoicesConfig, chunk: int | None) -> spaces.Space:
    """The space of discrete actions, or of `chunk` of them."""
    if choices.space == "multi_binary":
        count = len(choices.counts)
        return spaces.MultiBinary(count if chunk is None else (chunk, count))
    if choices.space == "discrete" and chunk is None:
        return spaces.Discrete(choices.counts[0], start=choices.first[0])
    counts, first = (np.array(x, np.int64) for x in (choices.counts, choices.first))
    if chunk is not None:
        shape = (chunk, *choices.shape)
        counts, first = (np.tile(x, chunk).reshape(shape) for x in (counts, first))
    return spaces.MultiDiscrete(counts, start=first)


def as_vectors(config: WorldConfig, actions: np.ndarray) -> np.ndarray:
    """What a policy has chosen for a batch, (B, ...) in the environment's own form, as the world's
    actions float32 (B, A).

    Raises:
        gym.error.InvalidAction: A discrete action that there is not.
    """
    if config.choices is None:
        return actions
    return check_actions(config, actions, (len(actions), config.action_dim))


def simulator_action(config: WorldConfig, space: spaces.Space, vector: np.ndarray) -> Any:
    """An action (A,) of a world, as the simulator with that action space takes it."""
    if config.choices is not None:
        numbers = config.choices.numbers(vector).astype(space.dtype)
        return numbers if config.choices.shape else numbers[()]
    return np.asarray(vector).reshape(space.shape).astype(space.dtype)


def check_chunk(chunk: Any) -> int | None:
    """The number of actions a step, None for one without an axis of its own.

    Raises:
        ValueError: neither None nor a positive integer.
    """
    if chunk is None:
        return None
    if isinstance(chunk, bool) or not isinstance(chunk, int | np.integer) or chunk < 1:
        raise ValueError(f"chunk is {chunk!r}, expected None or a number of actions, at least 1")
    return int(chunk)


def check_actions(
    config: WorldConfig,
    actions: Any,
    shape: tuple[int, ...],
    ignored: np.ndarray | None = None,
    *,
    cure: str = "look for a division by zero in the policy",
) -> np.ndarray:
    """Actions as float32 of `shape` (..., A), clipped into the action space.

    Args:
        config: Config of the world that takes them.
        actions: Anything that NumPy takes as an array of numbers, or a tensor on any device. Of a
            world with discrete actions: those, as integers, or one-hot vectors as recordings hold
            them.
        shape: What is expected.
        ignored: bool (B,), actions of a batch whose values do not matter; default none.
        cure: What to do about NaN and infinity.

    Raises:
        gym.error.InvalidAction: not real numbers, another shape, NaN or infinite.
    """
    if isinstance(actions, Tensor):
        actions = actions.detach().cpu()
    if config.choices is not None:
        return _check_choices(config.choices, actions, shape, ignored)
    low, high = np.array(config.action_low), np.array(config.action_high)
    components = " ".join(config.action_names)
    expected = f"this world expects {shape}" + (f": {components}" if components else "")
    array = _as_array(actions, expected)
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise error.InvalidAction(
            f"action has type {array.dtype}, this world expects numbers, best float32 as in "
            "env.action_space"
        )
    if array.shape != shape:
        raise error.InvalidAction(f"action has shape {array.shape}, {expected}")
    if ignored is not None:
        array = np.where(ignored.reshape(-1, *[1] * (array.ndim - 1)), low, array)
    if not np.isfinite(array).all():
        raise error.InvalidAction(
            f"action {array.tolist()} has NaN or infinite components, expected numbers from "
            f"{low.tolist()} to {high.tolist()}; {cure}"
        )
    return np.clip(array, low, high).astype(np.float32)


def _check_choices(
    choices: ChoicesConfig, actions: Any, shape: tuple[int, ...], ignored: np.ndarray | None
) -> np.ndarray:
    """`check_actions` of discrete actions."""
    leading = shape[:-1]
    own = (*leading, *choices.shape)
    expected = f"this world expects integers of shape {own}: {choices.describe()}"
    array = _as_array(actions, expected)
    if array.shape == own and array.dtype.kind in "biu":
        if ignored is not None:
            first = np.array(choices.first)[() if choices.shape else 0]
            array = np.where(ignored.reshape(-1, *[1] * (array.ndim - 1)), first, array)
        try:
            return choices.one_hot(array)
        except ValueError as wrong:
            raise error.InvalidAction(str(wrong)) from wrong
    if array.shape == shape and array.dtype.kind in "biuf":
        hot = choices.settled(array.astype(np.float32))
        if ignored is None or not ignored.any():
            wrong = (hot != array).any(-1)
        else:
            wrong = (hot != array).any(-1) & ~ignored.reshape(-1, *[1] * (array.ndim - 2))
        if not wrong.any():
            return hot
        raise error.InvalidAction(
            f"action {array[wrong][0].tolist()} is no one-hot vector of {choices.counts}; "
            f"{expected}"
        )
    raise error.InvalidAction(f"action has type {array.dtype} and shape {array.shape}, {expected}")


def _as_array(actions: Any, expected: str) -> np.ndarray:
    try:
        return np.asarray(actions)
    except ValueError as ragged:
        raise error.InvalidAction(f"action is no array ({ragged}), {expected}") from ragged
