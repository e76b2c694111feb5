"""Reads the reference's pickled checkpoints without omegaconf and without running their code.

A `.pt` file of the reference's trainer holds tensors and, beside them, an OmegaConf DictConfig.
Torch's restricted unpickler reads it once stand-ins for OmegaConf's classes are registered; any
other class or function that a file names is refused.
"""

import pickle
import typing
from pathlib import Path
from typing import Any

import torch

_OMEGACONF_NAMES = (
    "dictconfig.DictConfig",
    "listconfig.ListConfig",
    "base.ContainerMetadata",
    "base.Metadata",
    "nodes.AnyNode",
    "nodes.StringNode",
    "nodes.IntegerNode",
    "nodes.FloatNode",
    "nodes.BooleanNode",
)
# What torch.load raises on a file that is broken or names what is not allowed.
_UNREADABLE = (
    OSError,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    TypeError,
    ValueError,
    KeyError,
    IndexError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


class _Node:
    """Holds the pickled fields of any OmegaConf class."""

    def __setstate__(self, state: dict):
        self.__dict__.update(state)


def _plain_dict(*_: object) -> dict:
    """Stands for collections.defaultdict, which the restricted unpickler will not fill."""
    return {}


def _allowed() -> list:
    allowed: list = [
        (type(name.rpartition(".")[2], (_Node,), {}), f"omegaconf.{name}")
        for name in _OMEGACONF_NAMES
    ]
    allowed += [(kind, f"builtins.{kind.__name__}") for kind in (dict, list, int, float, bool, str)]
    return [*allowed, (typing.Any, "typing.Any"), (_plain_dict, "collections.defaultdict")]


def read_reference_file(path: str | Path) -> dict[str, Any]:
    """Reads a checkpoint of the reference, its tensors mapped from the file, `args` plain.

    Args:
        path: A `.pt` file.

    Returns:
        The file's dict. Tensors are read from the file as they are used: copy what is kept.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is no checkpoint, or asks to run code.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with torch.serialization.safe_globals(_allowed()):
            content = torch.load(str(path), map_location="cpu", weights_only=True, mmap=True)
    except _UNREADABLE as error:
        raise ValueError(
            f"{path} was refused: a checkpoint of the reference holds tensors, plain values and "
            f"OmegaConf settings, saved by torch.save. Nothing of it was run. Reason: {error}"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}, expected a dict of tensors")
    if "args" in content:
        content["args"] = _plain(content["args"])
    return content


def _plain(value: Any) -> Any:
    """Turns OmegaConf nodes into dicts, lists and plain values."""
    if isinstance(value, _Node):
        fields = vars(value)
        return _plain(fields["_content"] if "_content" in fields else fields.get("_val"))
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
