"""`irasim export`: a chunk world's model as a checkpoint that the IRASim reference runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from training.data.episodes import write_json
from training.run.directory import as_written
from world_model.directories import check_directory
from world_model.versions import versions


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Write the model of an imported or trained chunk world as a checkpoint for the original IRASim
    code."""

    world: Annotated[str, tyro.conf.Positional]
    """World to export: a directory or a Hub id."""
    out: Path
    """The .pt file to write, in which the original code finds the averaged weights under "ema". A
    file NAME.export.json beside it records its origin."""


def main(config: ExportConfig) -> None:
    """Export: a whole file, or what was there stays.

    Raises:
        ValueError: There is no such world, the reference has no such model, or the file cannot be
            written there.
    """
    from world_model import WorldModel
    from world_model.chunk.reference.convert import export_world

    check_directory(config.out.parent)
    if config.out.is_dir():
        raise ValueError(f"--out {config.out}: is a directory, expected a file; name one in it")
    world = WorldModel.from_pretrained(config.world)
    config.out.parent.mkdir(parents=True, exist_ok=True)
    export_world(world, config.out)
    content = {
        "command": "irasim export",
        "config": as_written(config),
        "world": world.config.name,
        "versions": versions("irasim-env", "torch", "numpy"),
    }
    write_json(config.out.with_name(f"{config.out.stem}.export.json"), content)
    print(f"{config.out} written; irasim import and the original IRASim code can read it")
