"""World directories: found, read strictly, written whole.

A world is `config.json`, `model.safetensors`, `starts.safetensors` and `README.md` (its card).
`config.json` holds the checksums of the other two, so that a damaged world is refused.
"""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from world_model.config import WorldConfig
from world_model.io.card import write_card
from world_model.io.hub import fetch
from world_model.io.json_files import parse_json
from world_model.io.sound_weights import check_stored
from world_model.io.starts import Starts
from world_model.io.whole_files import whole_file, write_whole
from world_model.spelling import meant

SHIPPED = Path(__file__).parents[1] / "worlds"
CONFIG, WEIGHTS, STARTS, CARD = (
    "config.json",
    "model.safetensors",
    "starts.safetensors",
    "README.md",
)
FILES = (CONFIG, WEIGHTS, STARTS, CARD)


@dataclass(frozen=True)
class Card:
    """The card that a world was loaded with, and what of the world it is true of."""

    config: WorldConfig
    weights: str
    """Checksum of their file."""
    content: bytes


@dataclass(frozen=True)
class WorldFiles:
    """What a world's directory holds; what the weights are of, the engine's class knows."""

    config: WorldConfig
    weights: Path
    starts: Starts
    card: Card | None


def shipped_worlds() -> list[str]:
    """Names of the worlds inside the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{CONFIG}"))


def find_world(name_or_path: str | Path, revision: str | None = None) -> Path:
    """The directory of a world: a path, a shipped name, or a Hub id (fetched, at a revision).

    Raises:
        ValueError: There is no such world, or a revision is given of one that is not on the Hub.
    """
    directory = _find(name_or_path, revision)
    on_the_hub = str(name_or_path).count("/") == 1 and not Path(name_or_path).exists()
    if revision is not None and not on_the_hub:
        raise ValueError(
            f"revision {revision!r} is given, and world {str(name_or_path)!r} is {directory}: "
            "leave revision out, or give a Hub id (owner/name)"
        )
    return directory


def _find(name_or_path: str | Path, revision: str | None) -> Path:
    if not isinstance(name_or_path, str | os.PathLike) or not str(name_or_path):
        raise ValueError(
            f"no world {name_or_path!r}: expected a directory, a Hub id (owner/name), or a shipped "
            f"world's name ({', '.join(shipped_worlds()) or 'none are'})"
        )
    path = Path(name_or_path).expanduser()
    if (path / CONFIG).is_file():
        return path
    if (path / "world" / CONFIG).is_file():
        raise ValueError(f"{path} is the directory of a run: its world is {path / 'world'}")
    if path.exists():
        raise ValueError(
            f"{path} is no world: it has no {CONFIG}. `irasim train` and "
            "WorldModel.save_pretrained write one"
        )
    name = str(name_or_path)
    if name in shipped_worlds():
        return SHIPPED / name
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return fetch(name, "world", files=FILES, revision=revision)
    raise ValueError(
        f"no world {name!r}: it is neither a directory nor shipped "
        f"({', '.join(shipped_worlds()) or 'none are'}) nor a Hub id (owner/name)"
        f"{meant(name, shipped_worlds())}"
    )


def read_world(name_or_path: str | Path, revision: str | None = None) -> WorldFiles:
    """Read a world directory of any engine, all but its weights.

    Raises:
        ValueError: No such world, an unknown or missing config key, or a damaged file.
    """
    directory = find_world(name_or_path, revision)
    card = directory / CARD
    config, checksums = read_config(directory)
    for name in (WEIGHTS, STARTS):
        _check_file(directory / name, checksums.get(name))
    starts = Starts.load(directory / STARTS)
    _check_starts(config, starts, directory / STARTS)
    return WorldFiles(
        config=config,
        weights=directory / WEIGHTS,
        starts=starts,
        card=Card(config, checksums[WEIGHTS], card.read_bytes()) if card.is_file() else None,
    )


def read_weights(path: Path) -> dict[str, Tensor]:
    """The weights in a world's file, as they are stored.

    Raises:
        ValueError: One is no dense tensor of floating-point numbers or bytes.
    """
    return {
        name: check_stored(weight, f"{path}: {name}", pictures=True)
        for name, weight in load_file(path).items()
    }


def _check_starts(config: WorldConfig, starts: Starts, path: Path) -> None:
    """Raise ValueError unless starts are of the world's frames, actions and observations."""
    for index, start in enumerate(starts):
        found = (start.frames.shape[1:3], start.actions.shape[1:])
        expected = ((config.height, config.width), (config.action_dim,))
        for name, bounds in config.observations.items():
            if name in start.states:
                found += (start.states[name].shape[1:],)
                expected += ((len(bounds.low),),)
        if found != expected:
            raise ValueError(
                f"{path}: start {index} has frames, actions and states of the shapes {found}, the "
                f"world's are {expected}; copy the world again, whole"
            )


def read_config(directory: Path) -> tuple[WorldConfig, dict[str, str]]:
    """A world's config, and the checksums of its files.

    Raises:
        ValueError: The file is no JSON in UTF-8, or a key or its value is wrong.
    """
    path = directory / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not text in UTF-8 ({error}); restore the file") from error
    data = parse_json(text, path, "restore the file")
    try:
        checksums = data.pop("sha256")
    except (KeyError, AttributeError, TypeError) as error:
        raise ValueError(f"{path} lacks the key 'sha256' with its files' checksums") from error
    if not isinstance(checksums, dict) or not all(
        isinstance(checksums.get(name), str) for name in (WEIGHTS, STARTS)
    ):
        raise ValueError(
            f"{path}: sha256: expected an object with the checksums of {WEIGHTS} and {STARTS}, got "
            f"{checksums!r}; restore the file"
        )
    return WorldConfig.from_json(json.dumps(data), str(path)), checksums


def write_world(
    directory: Path,
    config: WorldConfig,
    weights: dict[str, Tensor],
    starts: Starts,
    card: Card | None = None,
) -> None:
    """Write a world directory; each file appears whole or not at all, the config last.

    Args:
        directory: Made where it is not there.
        config: Of the world.
        weights: On the CPU, as they are to be stored.
        starts: Clips that its episodes begin with.
        card: What the world was loaded with. A card that is in the directory stays; else this one
            is written if it is still true of the world, or one that says that nothing was measured.
    """
    directory.mkdir(parents=True, exist_ok=True)
    with whole_file(directory / WEIGHTS, durable=True) as path:
        save_file({name: weight.contiguous() for name, weight in weights.items()}, path)
    with whole_file(directory / STARTS, durable=True) as path:
        starts.save(path)
    checksums = {name: _checksum(directory / name) for name in (WEIGHTS, STARTS)}
    if not (directory / CARD).exists():
        same = card and (card.config, card.weights) == (config, checksums[WEIGHTS])
        content = card.content if card and same else write_card(config).encode()
        with whole_file(directory / CARD) as path:
            path.write_bytes(content)
    data = json.loads(config.to_json()) | {"sha256": checksums}
    write_whole(directory / CONFIG, json.dumps(data, indent=2) + "\n", durable=True)


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_file(path: Path, checksum: str | None) -> None:
    if not path.is_file():
        raise ValueError(f"{path} is missing; copy the world again, whole")
    if _checksum(path) != checksum:
        raise ValueError(
            f"{path} is not the file that {CONFIG} was written with (its SHA-256 differs): it is "
            "truncated or altered. Copy the world again, or write it with save_pretrained"
        )
