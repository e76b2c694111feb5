"""Arguments of a vector environment, checked."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode


def check_num_envs(num_envs: Any) -> int:
    """Check the size of the batch."""
    whole = isinstance(num_envs, int | np.integer) and not isinstance(num_envs, bool)
    if not whole or num_envs < 1:
        raise ValueError(f"num_envs is {num_envs!r}, expected a whole number of at least 1")
    return int(num_envs)


def check_autoreset_mode(mode: str | AutoresetMode) -> AutoresetMode:
    """Gymnasium's enum of a mode."""
    try:
        return AutoresetMode(mode)
    except ValueError:
        raise ValueError(
            f"autoreset_mode is {mode!r}, expected one of "
            f"{', '.join(known.value for known in AutoresetMode)}"
        ) from None


def check_seeds(seed: int | Sequence[int | None] | None, num_envs: int) -> list[int | None]:
    """One seed, or None, for each environment.

    Raises:
        ValueError: another number of seeds, or one that is no integer of at least 0.
    """
    if seed is None:
        return [None] * num_envs
    try:
        seeds = list(seed)  # type: ignore[arg-type]
    except TypeError:
        first = _check_seed(seed)
        return [first + i for i in range(num_envs)]
    if len(seeds) != num_envs:
        raise ValueError(
            f"reset got {len(seeds)} seeds for {num_envs} environments; give one each (None "
            "keeps an environment's random numbers), or one for all"
        )
    return [None if each is None else _check_seed(each) for each in seeds]


def _check_seed(seed: Any) -> int:
    """Check a seed."""
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if number < 0:
        raise ValueError(
            f"reset got the seed {seed!r}, expected an integer of at least 0, one for each "
            "environment, or None"
        )
    return number


def check_starts(options: dict[str, Any], num_envs: int) -> Sequence[Any] | None:
    """The option "start" where it is a sequence of one for each environment, else None."""
    starts = options.get("start")
    if isinstance(starts, str) or not isinstance(starts, Sequence | np.ndarray):
        return None
    if isinstance(starts, np.ndarray) and not starts.ndim:
        return None
    if len(starts) != num_envs:
        raise ValueError(
            f"reset got {len(starts)} starts for {num_envs} environments; give one each, or one "
            "for all"
        )
    return list(starts)


def check_mask(mask: Any, num_envs: int) -> np.ndarray:
    """Check the option `reset_mask`."""
    if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_ or mask.shape != (num_envs,):
        form = f"{mask.dtype} {mask.shape}" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise ValueError(
            f"options['reset_mask'] is {form}, expected a NumPy array bool ({num_envs},)"
        )
    if not mask.any():
        raise ValueError("options['reset_mask'] selects no environment, expected at least one")
    return mask
