"""What a call costs the device: floating-point operations, bytes, and its matrix products."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from benchmarks.speed.roofline import Product, Shape, products_peak

aten = torch.ops.aten


@dataclass(frozen=True, kw_only=True)
class Operations:
    """The operations of one call."""

    flops: int
    """Of matrix products, convolutions and attention; the rest is not counted."""
    num_bytes: int
    """Sizes of what each operation takes and gives, summed: what moves if nothing is fused and
    nothing stays in a cache."""
    products: tuple[Product, ...]
    """(m, n, k) and type of each matrix product and convolution, in order, those of attention
    aside. A convolution is the product of its patches with its kernels."""

    def products_peak(self, device: torch.device | str) -> float:
        """FLOP/s of these products alone on a device, each in its own type."""
        return products_peak(self.products, device)

    def main_dtype(self) -> torch.dtype:
        """The type that most operations of the products are in."""
        flops: Counter[torch.dtype] = Counter()
        for shape, dtype in self.products:
            flops[dtype] += math.prod(shape)
        return flops.most_common(1)[0][0]


def count_operations(call: Callable[[], object]) -> Operations:
    """Run a call once and count what it does (eager kernels: a captured graph shows none)."""
    counter = FlopCounterMode(
        display=False,
        # Not in torch's own table: the kernel that attention takes on the processor.
        custom_mapping={aten._scaled_dot_product_flash_attention_for_cpu: _attention_flops},
    )
    operands = _Operands()
    with torch.no_grad(), counter, operands:
        call()
    return Operations(
        flops=counter.get_total_flops(),
        num_bytes=operands.num_bytes,
        products=tuple(operands.products),
    )


def _attention_flops(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
    return sdpa_flop_count(query, key, value)


class _Operands(TorchDispatchMode):
    """Sums the sizes of operands, and notes matrix products."""

    def __init__(self) -> None:
        super().__init__()
        self.num_bytes = 0
        self.products: list[tuple[Shape, torch.dtype]] = []

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            operands = tree_leaves((args, kwargs, result))
            self.num_bytes += sum(x.nbytes for x in operands if isinstance(x, torch.Tensor))
        packet = func.overloadpacket
        if packet in (aten.mm, aten.addmm):
            left, right = args[-2:]
            self._note((left.shape[0], right.shape[1], left.shape[1]), left)
        elif packet in (aten.convolution, aten._convolution):
            weight, out = args[1], result
            places = out.shape[0] * math.prod(out.shape[2:])
            self._note((places, out.shape[1], math.prod(weight.shape[1:])), weight)
        return result

    def _note(self, shape: Shape, operand: torch.Tensor) -> None:
        self.products.append((shape, operand.dtype))
