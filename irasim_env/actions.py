"""What the environments take as actions, and what they refuse."""

from typing import Any

import numpy as np
from gymnasium import error, spaces
from torch import Tensor

from world_model import WorldConfig


def action_shape(config: WorldConfig, chunk: int | None) -> tuple[int, ...]:
    """Shape of what one environment takes a step: (A,), or (k, A) for k actions at once."""
    return (config.action_dim,) if chunk is None else (chunk, config.action_dim)


def action_space(config: WorldConfig, chunk: int | None = None) -> spaces.Box:
    """The action space of the simulator that a world was learned from, or `chunk` times it."""
    shape = action_shape(config, chunk)
    low, high = (np.array(bound, np.float32) for bound in (config.action_low, config.action_high))
    return spaces.Box(np.broadcast_to(low, shape).copy(), np.broadcast_to(high, shape).copy())


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
        actions: Anything that NumPy takes as an array of numbers, or a tensor on any device.
        shape: What is expected.
        ignored: bool (B,), actions of a batch whose values do not matter; default none.
        cure: What to do about NaN and infinity.

    Raises:
        gym.error.InvalidAction: not real numbers, another shape, NaN or infinite.
    """
    low, high = np.array(config.action_low), np.array(config.action_high)
    components = " ".join(config.action_names)
    expected = f"this world expects {shape}" + (f": {components}" if components else "")
    if isinstance(actions, Tensor):
        actions = actions.detach().cpu()
    try:
        array = np.asarray(actions)
    except ValueError as ragged:
        raise error.InvalidAction(f"action is no array ({ragged}), {expected}") from ragged
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
            f"action {array.tolist()} has NaN or infinite components, expected numbers within "
            f"{low.tolist()} and {high.tolist()}; {cure}"
        )
    return np.clip(array, low, high).astype(np.float32)
