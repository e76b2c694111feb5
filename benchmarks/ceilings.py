"""What a device can reach: matrix products of given shapes, one large one, and a large copy.

A ceiling is measured, never read off a data sheet, and in the run whose figures are held against
it: clocks, neighbours and libraries differ from one run to the next.
"""

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

Shape = tuple[int, int, int]
"""(m, n, k): a product of (m, k) with (k, n), 2 m n k floating-point operations."""

LARGE_MATMUL = {"cpu": 1536, "cuda": 8192}  # side of the matrices
LARGE_COPY = {"cpu": 2**27, "cuda": 2**30}  # bytes, well past any cache
BUDGET = 1.0  # seconds that a measurement takes
MIN_ROUNDS = 5


def matmul_ceiling(
    shapes: Sequence[Shape], dtype: "torch.dtype", device: "torch.device | str"
) -> float:
    """FLOP/s of matrix products of these shapes and nothing else, one after the other.

    Each product has operands of its own, the second laid out as a linear layer keeps its weights
    (n, k), so that weights come from as far away in memory as they do in a model whose layers
    these are: give a shape once for each layer that has it.

    Args:
        shapes: (m, n, k) of each product, in the order of the model.
        dtype: Of operands and results.
        device: Where they are.

    Returns:
        Floating-point operations a second: all of a round's by the median round's time.

    Raises:
        ValueError: No shapes, or one with a side under 1.
    """
    import torch

    if not shapes or any(side < 1 for shape in shapes for side in shape):
        raise ValueError(f"shapes are {list(shapes)}, expected (m, n, k) of at least 1 each")
    operands = [
        (
            torch.randn(m, k, dtype=dtype, device=device),
            torch.randn(n, k, dtype=dtype, device=device).t(),
            torch.empty(m, n, dtype=dtype, device=device),
        )
        for m, n, k in shapes
    ]

    def products() -> None:
        for left, right, out in operands:
            torch.mm(left, right, out=out)

    return sum(2 * m * n * k for m, n, k in shapes) / seconds_of(products, device)


def large_matmul_ceiling(dtype: "torch.dtype", device: "torch.device | str") -> float:
    """FLOP/s of one large square matrix product: about the most that the device can do."""
    import torch

    side = LARGE_MATMUL[torch.device(device).type]
    return matmul_ceiling([(side, side, side)], dtype, device)


def copy_ceiling(device: "torch.device | str") -> float:
    """Bytes a second, read and written ones together, of a copy too large for any cache."""
    import torch

    size = LARGE_COPY[torch.device(device).type]
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds_of(lambda: target.copy_(source), device)


def seconds_of(work: Callable[[], object], device: "torch.device | str") -> float:
    """Median seconds of a call, its kernels finished, over about a second of calls."""
    import numpy as np

    finish = synchroniser(device)
    rounds: list[float] = []
    work()  # first calls allocate, and choose kernels
    finish()
    start = time.perf_counter()
    while len(rounds) < MIN_ROUNDS or time.perf_counter() - start < BUDGET:
        begin = time.perf_counter()
        work()
        finish()
        rounds.append(time.perf_counter() - begin)
    return float(np.median(rounds))


def synchroniser(device: "torch.device | str") -> Callable[[], None]:
    """A function that returns when all that was asked of the device is done."""
    import torch

    chosen = torch.device(device)
    if chosen.type == "cuda":
        return lambda: torch.cuda.synchronize(chosen)
    return lambda: None
