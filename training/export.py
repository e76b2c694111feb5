"""`irasim export`: a world in a form that runs without this project.

A chunk world's model as a checkpoint that the IRASim reference runs (`--out`), or a step of a
streaming world as an ONNX model (`--onnx`).
"""

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
    """Write a chunk world's model as a checkpoint for the original IRASim code (--out), or a step
    of a streaming or anchored world as an ONNX model with ready starts (--onnx)."""

    world: Annotated[str, tyro.conf.Positional]
    """World to export: a shipped world's name, a directory or a Hub id."""
    out: Path | None = None
    """The .pt file to write, in which the original code finds the averaged weights under "ema". A
    file NAME.export.json beside it records its origin."""
    onnx: Path | None = None
    """The folder to write: step.onnx, one step of one environment with its state as inputs and
    outputs; starts/, states where an episode can begin; world.json, which says what is what."""
    starts: int = 8
    """With --onnx, how many of the world's starts to write."""


def main(config: ExportConfig) -> None:
    """Export: a whole file or folder, or what was there stays.

    Raises:
        ValueError: There is no such world, it has no such form, or it cannot be written there.
    """
    if (config.out is None) == (config.onnx is None):
        raise ValueError(
            "give one of --onnx FOLDER, for an ONNX model, and --out FILE.pt, for a checkpoint of "
            "the original IRASim code"
        )
    if config.out is not None and config.starts != ExportConfig.starts:
        raise ValueError("--starts is for --onnx: a checkpoint (--out) holds no starts")
    if config.onnx is not None:
        _export_onnx(config, config.onnx)
    elif config.out is not None:
        _export_checkpoint(config, config.out)


def _export_checkpoint(config: ExportConfig, out: Path) -> None:
    from world_model import WorldModel
    from world_model.chunk.reference.convert import export_world

    check_directory(out.parent)
    if out.is_dir():
        raise ValueError(f"--out {out}: is a directory, expected a file; name one in it")
    world = WorldModel.from_pretrained(config.world)
    out.parent.mkdir(parents=True, exist_ok=True)
    export_world(world, out)
    content = {
        "command": "irasim export",
        "config": as_written(config),
        "world": world.config.name,
        "versions": versions("irasim-env", "torch", "numpy"),
    }
    write_json(out.with_name(f"{out.stem}.export.json"), content)
    print(f"{out} written; irasim import and the original IRASim code can read it")


def _export_onnx(config: ExportConfig, out: Path) -> None:
    from world_model import WorldModel
    from world_model.onnx_export.folder import DESCRIPTION, MODEL, check_exportable, export_onnx

    check_directory(out, "--onnx")
    if out.is_dir() and any(out.iterdir()) and not (out / DESCRIPTION).exists():
        raise ValueError(
            f"--onnx {out}: is a directory with other files in it; name a new or an empty one"
        )
    world = WorldModel.from_pretrained(config.world)
    check_exportable(world, config.starts)
    out.parent.mkdir(parents=True, exist_ok=True)
    print(f"tracing a step of {world.config.name!r}: half a minute of one core")
    described = export_onnx(world, out, config.starts)
    size = (out / MODEL).stat().st_size / 2**20
    print(
        f"{out} written: {MODEL} ({size:.1f} MiB), {len(described['starts'])} starts and "
        f"{DESCRIPTION}, which says what goes in and out"
    )
