"""What callers give to worlds and samplers, checked: numbers, seeds, devices.

Values on a CUDA device are not checked, as that would wait for it; their type and shape are.

Dimensions: B environments.
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

INTEGERS = (torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8)


def as_tensor(what: str, values: Any, expected: str) -> Tensor:
    """Values as a tensor where they are, sharing memory if they can.

    Raises:
        ValueError: They make no array of one type.
    """
    try:
        if isinstance(values, np.ndarray) and min(values.strides, default=0) < 0:
            values = values.copy()  # torch has no negative strides
        return torch.as_tensor(values)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(
            f"{what} are no array of numbers ({error}), expected {expected}"
        ) from error


def as_numbers(what: str, values: Any, expected: str) -> Tensor:
    """Values as a float tensor where they are.

    Raises:
        ValueError: They are not real numbers.
    """
    tensor = as_tensor(what, values, expected)
    if tensor.numel() and (tensor.dtype == torch.bool or tensor.is_complex()):
        raise ValueError(
            f"{what} are {tensor.dtype}, expected {expected} of real numbers, best float32"
        )
    return tensor


def check_finite(what: str, values: Tensor, cure: str) -> None:
    """Refuse NaN and infinity in host memory; on a device nothing is read.

    Raises:
        ValueError: Some value is not finite.
    """
    if values.device.type != "cpu":
        return
    wrong = ~values.isfinite()
    if wrong.any():
        place = tuple(wrong.nonzero()[0].tolist())
        raise ValueError(
            f"{what} are {values[place].item()} at {place}, which is not finite; {cure}"
        )


def as_seeds(seeds: Sequence[int] | np.ndarray | Tensor, count: int) -> Tensor:
    """Seeds as int64 (B,) in memory of their own, where they are.

    Raises:
        ValueError: They are not `count` integers of 64 bits.
    """
    expected = f"{count} integers from -2^63 to 2^63 - 1, one for each clip"
    if isinstance(seeds, Tensor) and seeds.device.type != "cpu":
        whole, kept = seeds.dtype in INTEGERS, seeds
    else:
        try:
            array = np.asarray(seeds.detach() if isinstance(seeds, Tensor) else seeds)
        except (TypeError, ValueError) as error:  # ragged, or half precision
            raise ValueError(f"seeds are {seeds!r}, expected {expected}") from error
        whole = array.dtype.kind in "iu" and bool((array <= np.iinfo(np.int64).max).all())
        kept = torch.from_numpy(array.astype(np.int64)) if whole else torch.empty(array.shape)
    if kept.ndim > 1 or kept.numel() != count:
        raise ValueError(f"{kept.numel()} seeds for {count} clips, expected {expected}")
    if not whole:
        raise ValueError(f"seeds are {seeds!r}, expected {expected}")
    return kept.reshape(-1).to(torch.int64, copy=True)


def as_indices(what: str, values: Any, count: int) -> list[int]:
    """Indices as a list.

    Raises:
        ValueError: There are none, or one is no integer from 0 to `count` - 1.
    """
    expected = f"expected at least one integer from 0 to {count - 1}"
    try:
        indices = [-1 if isinstance(value, bool) else operator.index(value) for value in values]
    except TypeError as error:
        raise ValueError(f"{what} are {values!r}, {expected}") from error
    if not indices or min(indices) < 0 or max(indices) >= count:
        raise ValueError(f"{what} are {values!r}, {expected}")
    return indices


def find_device(device: str | torch.device) -> torch.device:
    """The device of a name.

    Raises:
        ValueError: There is none of that name here.
    """
    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        there += ["mps", "mps:0"]
    if str(device) not in there:
        missing = "" if len(there) > 1 else "; torch finds no GPU on this machine"
        raise ValueError(
            f"device is {str(device)!r}, expected one that is here: {', '.join(there)}{missing}"
        )
    return torch.device(device)
