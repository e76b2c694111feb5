"""`irasim export`: a chunk world's model as a checkpoint that the IRASim reference runs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """What to export, and where to."""

    world: Annotated[str, tyro.conf.Positional]
    """The world: a directory or a Hub id."""
    out: Path
    """The .pt file to write. The reference finds the averaged weights under "ema"."""


def cli(arguments: list[str]) -> None:
    """Run `irasim export ...`."""
    main(
        tyro.cli(
            ExportConfig,
            args=arguments,
            prog="irasim export",
            description="Write an imported or trained chunk world's model as a checkpoint of the "
            "IRASim reference.",
        )
    )


def main(config: ExportConfig) -> None:
    """Export.

    Raises:
        ValueError: There is no such world, or the reference has no such model.
    """
    from world_model import WorldModel
    from world_model.import_reference import export_world

    config.out.parent.mkdir(parents=True, exist_ok=True)
    export_world(WorldModel.from_pretrained(config.world), config.out)
    print(f"{config.out} written; irasim import reads it, and so does the reference")
