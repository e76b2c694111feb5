"""Files of cloned policies: weights in half precision, and the shape of their network."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Generic, TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, kw_only=True)
class CloneFiles(Generic[Network]):
    """Files of one kind of clone, whose networks are shaped by the dataclass in their `config`."""

    shipped: Path
    """Where shipped ones lie."""
    make: Callable[..., Network]
    """A network of the fields of its config."""
    what: str
    """What it is, for messages."""
    made_by: str
    """The command that makes one, likewise."""

    def write(self, network: Network, path: Path) -> None:
        """Write a network."""
        config: Any = network.config
        path.parent.mkdir(parents=True, exist_ok=True)
        tensors = {key: value.half().contiguous() for key, value in network.state_dict().items()}
        save_file(tensors, path, metadata={"config": json.dumps(asdict(config))})

    def read(self, weights: str | Path) -> Network:
        """The network of a weights file, or of a shipped name.

        Raises:
            ValueError: There is no such file, or it is of another kind.
        """
        path = Path(weights)
        if not path.suffix:
            path = self.shipped / f"{weights}.safetensors"
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
            network = self.make(**json.loads(metadata["config"]))
            network.load_state_dict({key: value.float() for key, value in load_file(path).items()})
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            names = ", ".join(sorted(file.stem for file in self.shipped.glob("*.safetensors")))
            raise ValueError(
                f"{path}: is no {self.what} ({error}); expected a file of `{self.made_by}`, or one "
                f"of {names or 'those shipped (none here)'}"
            ) from error
        return network.eval()

    @cache  # noqa: B019  there is one of each kind
    def shared(self, weights: str | Path) -> Network:
        """The same, read once for many episodes."""
        return self.read(weights)
