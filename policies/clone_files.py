"""Files of cloned policies: weights in half precision, and the shape of their network."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def write_clone(network: nn.Module, config: Any, path: Path) -> None:
    """Write a network that the dataclass `config` shapes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {key: value.half().contiguous() for key, value in network.state_dict().items()}
    save_file(tensors, path, metadata={"config": json.dumps(asdict(config))})


def read_clone(
    weights: str | Path,
    shipped: Path,
    make: Callable[..., Network],
    *,
    what: str,
    made_by: str,
) -> Network:
    """The network of a weights file, or of a shipped name.

    Args:
        weights: The file, or the name.
        shipped: Where shipped ones lie.
        make: A network of the fields of its config.
        what: What it is, for the message.
        made_by: The command that makes one, likewise.

    Raises:
        ValueError: There is no such file, or it is of another kind.
    """
    path = Path(weights)
    if not path.suffix:
        path = shipped / f"{weights}.safetensors"
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        network = make(**json.loads(metadata["config"]))
        network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
        names = ", ".join(sorted(file.stem for file in shipped.glob("*.safetensors")))
        raise ValueError(
            f"{path}: is no {what} ({error}); expected a file of `{made_by}`, or one of "
            f"{names or 'those shipped (none here)'}"
        ) from error
    return network.eval()
