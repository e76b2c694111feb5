"""Steps of a world as CUDA graphs.

A graph works on memory that never moves. So each batch size has one set of buffers that holds a
state, and the state that is being stepped lives in them: its tensors *are* the buffers, as they are
for all its later steps, `put`s (resets of some environments) and `clone`s, without a copy and
without a new capture. When another state of that size is stepped, the first gets its contents back
as tensors of its own and the other moves in.
"""

import functools
import weakref
from collections.abc import Callable
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from world_model.runtime.cuda_graph import CapturedFunction, weakly

Predict = Callable[..., dict[str, Tensor]]


class Steppable(Protocol):
    """A state of B environments whose tensors can be a graph's buffers."""

    def __len__(self) -> int: ...

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that a step reads and overwrites, by name."""
        ...

    def clone(self) -> Self: ...

    def share(self, other: Self) -> None:
        """Have the tensors of `other`, but for what is shown."""
        ...


class CapturedSteps:
    """`predict(state, action, frames=...)` captured for each batch size and setting.

    Graphs share one pool of memory, and must not run at the same time.

    Args:
        predict: Steps a state in place; see `StreamingWorld.predict`. A method, whose owner this
            does not keep alive.
        capture: Makes a graph of a function, as `CapturedFunction` does.
    """

    def __init__(self, predict: Predict, capture: Callable[..., Any] = CapturedFunction):
        self._predict = weakly(predict)
        self._capture = capture
        self._graphs: dict[Any, Any] = {}
        self._lodgings: dict[int, _Lodging] = {}

    # Made in a caller's inference mode, the buffers, and what a state takes along when it leaves
    # them, could not be changed outside of it.
    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(
        self, state: Steppable, action: Tensor, *, frames: bool, setting: Any
    ) -> dict[str, Tensor]:
        """Step a state in place.

        Args:
            state: B environments; afterwards it lives in the buffers of its size.
            action: float32 (B, A), on the state's device.
            frames: As `predict` takes it.
            setting: Whatever else `predict` depends on; a new one is captured anew.

        Returns:
            What `predict` returns, copied out of the graph's memory.

        Raises:
            RuntimeError: The capture failed; the message says why.
            ValueError: The action, or the state, is not of the captured form.
        """
        size = len(state)
        if size not in self._lodgings:
            self._lodgings[size] = _Lodging(state)
        buffers = self._lodgings[size].take_in(state)
        key = (size, frames, setting)
        if key not in self._graphs:
            self._graphs[key] = self._capture(
                functools.partial(_step, self._predict, buffers, frames),
                {"action": action},
                residents=buffers.tensors,
                pool=next((graph.pool for graph in self._graphs.values()), None),
                name=f"the step of {size} environments",
            )
        return self._graphs[key](action=action)


def _step(
    predict: Predict, state: Steppable, frames: bool, action: Tensor, **_: Tensor
) -> dict[str, Tensor]:
    return predict(state, action, frames=frames)


class _Lodging:
    """Buffers for one state of one batch size, and who lives in them."""

    def __init__(self, like: Steppable):
        self.buffers = like.clone()
        self._guest: weakref.ref[Steppable] | None = None

    def take_in(self, state: Steppable) -> Steppable:
        """Make `state` live in the buffers; who lived there before takes its contents along."""
        mine, theirs = self.buffers.tensors, state.tensors
        if all(theirs[name] is tensor for name, tensor in mine.items()):
            return self.buffers
        for name, tensor in mine.items():
            other = theirs[name]
            form, expected = ((tuple(x.shape), x.dtype, str(x.device)) for x in (other, tensor))
            if form != expected:
                raise ValueError(
                    f"{name} of the state is {form}, the graph's buffers are {expected}; start "
                    "the state again with this world, on its device"
                )
        before = self._guest() if self._guest is not None else None
        if before is not None and before is not state:
            before.share(before.clone())
        for name, tensor in mine.items():
            tensor.copy_(theirs[name])
        state.share(self.buffers)
        self._guest = weakref.ref(state)
        return self.buffers
