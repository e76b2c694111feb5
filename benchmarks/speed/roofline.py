"""The device's roofline: peak rates of matrix products of given shapes, and of a large copy.

Peaks are measured, never taken from a data sheet, and in the same run as the figures that are
compared with them: clocks, neighbours and libraries differ from one run to the next.
"""

import functools
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from world_model.runtime.cuda_graph import CapturedFunction

Shape = tuple[int, int, int]
"""(m, n, k): a product of (m, k) with (k, n), 2 m n k floating-point operations."""
Product = tuple[Shape, "torch.dtype"]

LARGE_MATMUL = {"cpu": 1536, "cuda": 8192}  # side of the matrices
LARGE_COPY = {"cpu": 2**27, "cuda": 2**30}  # bytes, well past any cache
BUDGET = 1.0  # seconds that a measurement takes
MIN_ROUNDS = 5


def products_peak(products: Sequence[Product], device: torch.device | str) -> float:
    """FLOP/s of matrix products and nothing else: see `products_alone`."""
    return product_flops(products) / seconds_of(products_alone(products, device), device)


def product_flops(products: Sequence[Product]) -> int:
    """Floating-point operations of matrix products."""
    return sum(2 * m * n * k for (m, n, k), _ in products)


def products_alone(products: Sequence[Product], device: torch.device | str) -> Callable[[], object]:
    """Matrix products and nothing else, one after the other, all at each call.

    Each product has operands of its own, the second laid out as a linear layer keeps its weights
    (n, k), so that weights come from as far away in memory as they do in a model whose layers
    these are: give a shape once for each layer that has it. On a GPU they are captured as one
    graph, as a world's steps are.

    Args:
        products: (m, n, k) of each, and the type of operands and results, in the order of the
            model.
        device: Where they are.

    Returns:
        A function, done when the device is (`synchroniser`).

    Raises:
        ValueError: No products, or one with a side under 1.
    """
    if not products or any(side < 1 for shape, _ in products for side in shape):
        raise ValueError(f"products are {list(products)}, expected (m, n, k) of at least 1 each")
    operands = [
        (
            torch.randn(m, k, dtype=dtype, device=device),
            torch.randn(n, k, dtype=dtype, device=device).t(),
            torch.empty(m, n, dtype=dtype, device=device),
        )
        for (m, n, k), dtype in products
    ]

    def multiply(**_: torch.Tensor) -> torch.Tensor:
        for left, right, out in operands:
            torch.mm(left, right, out=out)
        return operands[-1][-1]

    if torch.device(device).type != "cuda":
        return multiply
    result = {"result": operands[-1][-1]}  # gives the device
    captured = CapturedFunction(multiply, {}, residents=result, name="matrix products")
    return functools.partial(captured, copy=False)


def measure_for(seconds: float, *, rehearsal: bool) -> None:
    """Set for how many seconds each peak is measured; briefly, and on small shapes, in a
    rehearsal."""
    global BUDGET
    BUDGET = 0.02 if rehearsal else seconds
    if rehearsal:
        LARGE_MATMUL["cpu"], LARGE_COPY["cpu"] = 256, 2**20


def large_matmul_peak(dtype: torch.dtype, device: torch.device | str) -> float:
    """FLOP/s of one large square matrix product: about the most that the device can do."""
    side = LARGE_MATMUL[torch.device(device).type]
    return products_peak([((side, side, side), dtype)], device)


def copy_peak(device: torch.device | str) -> float:
    """Bytes a second, read and written ones together, of a copy too large for any cache."""
    size = LARGE_COPY[torch.device(device).type]
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds_of(lambda: target.copy_(source), device)


def seconds_of(call: Callable[[], object], device: torch.device | str) -> float:
    """Median seconds of a call, its kernels finished, over about a second of calls."""
    finish = synchroniser(device)
    rounds: list[float] = []
    call()  # first calls allocate, and choose kernels
    finish()
    start = time.perf_counter()
    while len(rounds) < MIN_ROUNDS or time.perf_counter() - start < BUDGET:
        begin = time.perf_counter()
        call()
        finish()
        rounds.append(time.perf_counter() - begin)
    return float(np.median(rounds))


def synchroniser(device: torch.device | str) -> Callable[[], None]:
    """A function that returns when all that was asked of the device is done."""
    chosen = torch.device(device)
    if chosen.type == "cuda":
        return lambda: torch.cuda.synchronize(chosen)
    return lambda: None
