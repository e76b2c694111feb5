"""The arithmetic that a world computes in, whatever its caller has set.

On a GPU cuDNN rounds the inputs of float32 convolutions to TF32 unless that is turned off, and an
autocast of the caller's would narrow products besides, with copies of weights that a captured graph
reads after they are gone.
"""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar

import torch

Precision = Literal["float32", "bf16"]

P = ParamSpec("P")
R = TypeVar("R")


class Computes(Protocol):
    """Has a device and a precision."""

    @property
    def device(self) -> torch.device: ...

    @property
    def precision(self) -> str: ...


C = TypeVar("C", bound=Computes)


@contextmanager
def arithmetic(device: torch.device, precision: str) -> Iterator[None]:
    """Compute as a precision says, for a while: no autocast of the caller's, no TF32 in float32.

    A graph keeps the kernels that were chosen while it was captured: capture inside.
    """
    with ExitStack() as stack:
        kind = device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            stack.enter_context(torch.autocast(kind, enabled=False, cache_enabled=False))
        if precision == "float32":
            stack.enter_context(_STRICT_CONVOLUTIONS)
        yield


def in_own_precision(method: Callable[Concatenate[C, P], R]) -> Callable[Concatenate[C, P], R]:
    """Run a method without gradients, in the `arithmetic` of the object's device and precision."""

    @functools.wraps(method)
    def run(self: C, *args: P.args, **kwargs: P.kwargs) -> R:
        with torch.no_grad(), arithmetic(self.device, self.precision):
            return method(self, *args, **kwargs)

    return run


class _StrictConvolutions(AbstractContextManager[None]):
    """Convolutions without TF32 while anybody asks for it.

    The switch is the process's, and worlds may step in several threads that begin and end in any
    order: the first to enter sets it, the last to leave puts back what was there.
    """

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, "none"

    def __enter__(self) -> None:
        # `allow_tf32`, the older switch, cannot be read any more once somebody has used this one.
        convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
        with self._lock:
            if not self._inside:
                self._before = convolutions.fp32_precision
                convolutions.fp32_precision = "ieee"
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        convolutions: Any = torch.backends.cudnn.conv  # type: ignore[attr-defined]
        with self._lock:
            self._inside -= 1
            if not self._inside:
                convolutions.fp32_precision = self._before


_STRICT_CONVOLUTIONS = _StrictConvolutions()
