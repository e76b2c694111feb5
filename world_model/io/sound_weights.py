"""Weights that a file holds, held against the network that a config describes, before either takes
memory: a network is first built without any, and only as large as the file is it built in truth.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

# Of what a network computes for itself from its config, such as coordinates of a picture's cells.
MOST_BUFFER_BYTES = 2**30
Network = TypeVar("Network", bound=nn.Module)


def shapes_in(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a safetensors file, by its header alone.

    Raises:
        ValueError: The file is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            names = list(file.keys())
            return {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError, OverflowError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it") from error


def check_fits(
    build: Callable[[], Network], shapes: Mapping[str, tuple[int, ...]], path: Path
) -> Network:
    """The network without memory for its weights, once it is known that a file's are its own.

    Args:
        build: Makes the network.
        shapes: Of the weights in the file.
        path: The file.

    Raises:
        ValueError: They are not.
    """
    try:
        with torch.device("meta"), _at_most(2 * len(shapes) + 100, path):
            network = build()
    except (ValueError, RuntimeError, OverflowError) as error:  # of sizes past all numbers
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path.with_name('config.json')}: {reason}") from error
    expected = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name in sorted({*expected, *shapes}):
        if name not in shapes:
            raise ValueError(f"{path} does not fit config.json: it lacks {name}")
        if name not in expected:
            raise ValueError(f"{path} does not fit config.json: {name} is of another network")
        if shapes[name] != expected[name]:
            raise ValueError(
                f"{path} does not fit config.json: {name} has shape {shapes[name]}, expected "
                f"{expected[name]}"
            )
    # Those that the file holds are as large as it is.
    computed = sum(b.nbytes for name, b in network.named_buffers() if name not in expected)
    if computed > MOST_BUFFER_BYTES:
        raise ValueError(
            f"config.json beside {path} describes a network that computes {computed / 2**30:.1f} "
            "GiB for itself; check its sizes"
        )
    return network


def check_stored(tensor: object, name: str, *, pictures: bool = False) -> Tensor:
    """A tensor as a file of torch's may give it: dense numbers, each of which is in the file.

    Args:
        tensor, name: What the file has, and by which name.
        pictures: It may be of bytes, too.

    Raises:
        ValueError: It is no such tensor. A file of bytes can describe one of terabytes.
    """
    if not isinstance(tensor, Tensor) or tensor.layout != torch.strided or tensor.is_meta:
        raise ValueError(f"{name} is no dense tensor but {_kind(tensor)}")
    if not (tensor.is_floating_point() or (pictures and tensor.dtype == torch.uint8)):
        raise ValueError(f"{name} is {_kind(tensor)}, expected floating-point numbers")
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        raise ValueError(f"{name} is {_kind(tensor)}, of which the file holds a part only")
    return tensor


def _kind(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of {value.dtype} {tuple(value.shape)}, {value.layout}"
    return f"a {type(value).__name__}"


@contextmanager
def _at_most(count: int, path: Path) -> Iterator[None]:
    """Refuse a network of more parameters than this as it is made, in this thread."""
    mine, made = threading.get_ident(), 0

    def counted(*_: object) -> None:
        nonlocal made
        made += threading.get_ident() == mine
        if made > count:
            raise ValueError(f"{path} does not fit: it has far fewer weights than such a network")

    hook = register_module_parameter_registration_hook(counted)
    try:
        yield
    finally:
        hook.remove()
