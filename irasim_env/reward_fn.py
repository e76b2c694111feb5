"""A reward of the user's own: what it is given, and what it may return."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor

RewardFn = Callable[[np.ndarray, np.ndarray], tuple[float, bool]]


def check_reward_fn(reward_fn: RewardFn | None) -> RewardFn | None:
    """A function, or None.

    Raises:
        ValueError: it cannot be called.
    """
    if reward_fn is not None and not callable(reward_fn):
        raise ValueError(
            f"reward_fn is {reward_fn!r}, expected a function (frames, action) -> (reward, "
            "terminated), or None for what the world's head predicts"
        )
    return reward_fn


def check_judged(judged: Any) -> tuple[float, bool]:
    """What a `reward_fn` returned, as a float and a bool.

    Raises:
        ValueError: no tuple of two, a reward that is no number or NaN, or an end that is no bool.
    """
    if not isinstance(judged, tuple) or len(judged) != 2:
        raise ValueError(
            f"reward_fn returned {judged!r}, expected a tuple (reward, terminated), such as "
            "(0.0, False)"
        )
    reward, terminated = judged
    try:
        number = float("nan" if isinstance(reward, str | bytes) else reward)
    except (TypeError, ValueError):
        number = math.nan
    if math.isnan(number):
        raise ValueError(
            f"reward_fn returned the reward {reward!r}, expected a number other than NaN; look for "
            "a division by zero in it"
        )
    flag = np.asarray(terminated.cpu() if isinstance(terminated, Tensor) else terminated)
    if flag.shape or flag.dtype != np.bool_:
        raise ValueError(
            f"reward_fn returned {terminated!r} for whether the episode ends, expected True or "
            "False; make a number a comparison, or bool(...)"
        )
    return number, bool(flag)
