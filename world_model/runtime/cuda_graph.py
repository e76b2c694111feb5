"""Runs a function of named tensors as one CUDA graph, captured once for its shapes.

A replay launches all of a function's kernels with one call, so that short kernels do not wait for
Python. The function must be the same at each call: no host synchronisation (`item`, `nonzero`, a
branch on a tensor's value), no random numbers (noise is an input) and no allocation that outlives
it but its result. Eager execution is the same function, called as it is.

Imported only where something is captured: `graph=False` and the processor never come here.
"""

import functools
import gc
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor

Outputs = Tensor | tuple[Tensor, ...] | dict[str, Tensor]
Result = TypeVar("Result")

_CAPTURING = threading.Lock()


class CapturedFunction:
    """One captured function.

    Weights and whatever else the function holds are read where they lay at the capture: changing
    their values in place takes effect, moving them (`Module.to`) does not; capture again then.
    Graphs that share a pool must not run at the same time, on two streams.

    Args:
        function: Takes the inputs and the residents by keyword; returns a tensor, a tuple or a dict
            of tensors.
        inputs: Example inputs on one CUDA device. Their shapes and types are the only ones taken;
            their values run the warm-up. Each call's inputs are copied into buffers of their form.
        residents: Tensors that the function changes in place, such as a cache. They are used where
            they lie, and hold what they held when the capture is done.
        pool: Memory to share with other graphs (`CapturedFunction.pool` of one of them).
        warm_up: Calls before the capture: in them libraries load kernels and allocate workspaces.
        name: What error messages call the function.

    Raises:
        ValueError: The tensors are not on one CUDA device.
        RuntimeError: The capture failed; the message says why.
    """

    def __init__(
        self,
        function: Callable[..., Outputs],
        inputs: Mapping[str, Tensor],
        *,
        residents: Mapping[str, Tensor] | None = None,
        pool: Any = None,
        warm_up: int = 3,
        name: str = "the function",
    ):
        residents = dict(residents or {})
        self.name = name
        self.device = _cuda_device(name, {**inputs, **residents})
        self._graph = torch.cuda.CUDAGraph()
        # Buffers made in inference mode could not be filled outside of it.
        with torch.cuda.device(self.device), torch.inference_mode(False), torch.no_grad():
            self.inputs = {key: tensor.clone() for key, tensor in inputs.items()}
            self._call = functools.partial(function, **self.inputs, **residents)
            before = {key: tensor.clone() for key, tensor in residents.items()}
            try:
                self._outputs = self._capture(pool, warm_up)
            finally:
                for key, tensor in residents.items():
                    tensor.copy_(before[key])

    @property
    def pool(self) -> Any:
        """Handle of the memory that the graph's intermediate results lie in."""
        return self._graph.pool()

    @torch.no_grad()
    def __call__(self, *, copy: bool = True, **inputs: Tensor) -> Outputs:
        """Replays the graph on the current stream.

        Args:
            copy: Hand out copies. False hands out the graph's own memory, which its next replay
                overwrites.
            inputs: As in the capture.

        Raises:
            ValueError: An input is missing, unknown, or of another shape, type or device.
        """
        check_inputs(self.name, self.inputs, inputs)
        with torch.cuda.device(self.device):
            for key, buffer in self.inputs.items():
                if inputs[key] is not buffer:  # a caller may have filled the buffer itself
                    buffer.copy_(inputs[key])
            self._graph.replay()
            return _copies(self._outputs) if copy else self._outputs

    def _capture(self, pool: Any, warm_up: int) -> Outputs:
        stream = _capture_stream(self.device)
        stream.wait_stream(torch.cuda.current_stream())
        # `torch.cuda.graph` sets the stream too, but does not leave it when a capture is refused.
        with _CAPTURING, no_collection(), torch.cuda.stream(stream):
            for _ in range(warm_up):
                self._call()
            try:
                # Other threads (a loader's pinned memory) may go on using CUDA meanwhile.
                with torch.cuda.graph(
                    self._graph, pool=pool, stream=stream, capture_error_mode="thread_local"
                ):
                    outputs = self._call()
            except RuntimeError as error:
                # Leaving a broken capture raises another error, which hides what broke it.
                reason = error.__context__ or error
                raise RuntimeError(
                    f"{self.name} could not be captured as a CUDA graph: {reason}\n"
                    "It must neither wait for the device nor branch on a tensor's value; "
                    "graph=False runs it uncaptured"
                ) from error
        torch.cuda.current_stream().wait_stream(stream)
        return outputs


class CapturedFunctions:
    """One function captured for each form of inputs that it meets, all graphs in one memory pool.

    Inputs of a new shape, type or device are captured when they first come; see `CapturedFunction`.
    """

    def __init__(
        self, function: Callable[..., Outputs], *, warm_up: int = 3, name: str = "the function"
    ):
        self._function, self._warm_up, self._name = function, warm_up, name
        self._captured: dict[Any, CapturedFunction] = {}

    def __len__(self) -> int:
        return len(self._captured)

    def __call__(self, *, copy: bool = True, **inputs: Tensor) -> Outputs:
        """As `CapturedFunction.__call__`."""
        form = tuple((key, x.shape, x.dtype, x.device) for key, x in sorted(inputs.items()))
        if form not in self._captured:
            device = _cuda_device(self._name, inputs)
            pools = (c.pool for c in self._captured.values() if c.device == device)
            self._captured[form] = CapturedFunction(
                self._function,
                inputs,
                pool=next(pools, None),
                warm_up=self._warm_up,
                name=self._name,
            )
        return self._captured[form](copy=copy, **inputs)

    def clear(self) -> None:
        """Forgets all graphs, as must be done when weights move."""
        self._captured.clear()


def weakly(method: Callable[..., Result]) -> Callable[..., Result]:
    """A bound method that does not keep its owner alive.

    An owner that holds its graphs, which hold the function that they run, would be freed by the
    cyclic collector only, and the graphs' memory with it.
    """
    return functools.partial(_call, weakref.WeakMethod(method))


def _call(method: weakref.WeakMethod, /, *args: Any, **kwargs: Any) -> Any:
    alive = method()
    assert alive is not None, "the owner of a captured method is gone"
    return alive(*args, **kwargs)


@contextmanager
def no_collection() -> Iterator[None]:
    """Collect garbage now, and none for a while.

    A graph that the cyclic collector frees while another one is captured breaks that capture
    (pytorch issue 161037), and `torch.cuda.graph` does not always collect first.
    """
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@contextmanager
def on_capture_stream(device: torch.device) -> Iterator[None]:
    """Run eagerly where a device's graphs are captured, as what will be captured must have run."""
    stream = _capture_stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        yield
    torch.cuda.current_stream(device).wait_stream(stream)


@functools.cache
def _capture_stream(device: torch.device) -> torch.cuda.Stream:
    """The stream that all of a device's graphs are captured on, and warmed up on.

    Memory of a pool is used again on the stream that it was first used on only, and libraries keep
    a workspace for each stream.
    """
    return torch.cuda.Stream(device)


def check_inputs(name: str, expected: Mapping[str, Tensor], got: Mapping[str, Tensor]) -> None:
    """Refuses inputs that a graph was not captured for.

    Raises:
        ValueError: Names, a shape, a type or a device differ.
    """
    if expected.keys() != got.keys():
        raise ValueError(f"{name} was captured for inputs {sorted(expected)}, got {sorted(got)}")
    for key, tensor in got.items():
        wanted = expected[key]
        if (tensor.shape, tensor.dtype, tensor.device) != (
            wanted.shape,
            wanted.dtype,
            wanted.device,
        ):
            raise ValueError(
                f"{name}: {key} is {_form(tensor)}, the graph was captured for {_form(wanted)}; "
                "convert it, or capture another graph"
            )


def _form(tensor: Tensor) -> str:
    return f"{tensor.dtype} {tuple(tensor.shape)} on {tensor.device}"


def _cuda_device(name: str, tensors: Mapping[str, Tensor]) -> torch.device:
    devices = {tensor.device for tensor in tensors.values()}
    if len(devices) != 1 or next(iter(devices)).type != "cuda":
        places = ", ".join(f"{key} on {tensor.device}" for key, tensor in tensors.items())
        raise ValueError(
            f"{name} can be captured with its tensors on one CUDA device, got {places or 'none'}; "
            "move them there, or run it uncaptured with graph=False"
        )
    return devices.pop()


def _copies(outputs: Outputs) -> Outputs:
    if isinstance(outputs, Tensor):
        return outputs.clone()
    if isinstance(outputs, dict):
        return {key: tensor.clone() for key, tensor in outputs.items()}
    return tuple(tensor.clone() for tensor in outputs)
