"""What every report says: on what it was measured, with which versions; tables and JSON."""

import math
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from training.data.episodes import write_json
from training.run.directory import without_directory
from world_model import WorldModel
from world_model.directories import check_directory
from world_model.runtime.check_inputs import find_device
from world_model.tasks import task_packages
from world_model.versions import versions as installed

# What figures may depend on, where it is installed, besides the packages of tasks.
PACKAGES = ("irasim-env", "torch", "numpy", "gymnasium", "opencv-python")


def choose_device(device: str | None) -> str:
    """The device asked for; None is the GPU where there is one, else the processor.

    Raises:
        ValueError: there is no such device here.
    """
    if device is not None:
        return str(find_device(device))
    return "cuda" if torch.cuda.is_available() else "cpu"


def hardware(device: str) -> str:
    """One line: what a measurement on this device runs on."""
    processor = f"{_processor_name()}, {os.cpu_count()} cores"
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(torch.device(device))
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB ({processor})"
    return f"{processor}, {torch.get_num_threads()} threads"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures may depend on."""
    return installed(*PACKAGES, *task_packages())


def open_world(config: Any) -> WorldModel:
    """The world that a command's config names, on the device that it asks for.

    Raises:
        ValueError: there is no such world or device, or the report cannot be written to its `out`.
    """
    device = choose_device(config.device)
    if config.out is not None:
        check_directory(config.out)
    return WorldModel.from_pretrained(config.world, device=device)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """As many threads of the processor for torch, within."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def heading(
    command: str, config: Any, device: str, world: WorldModel | None = None
) -> dict[str, Any]:
    """How a report begins: what was asked for, on which world, on what."""
    return {
        "command": command,
        "config": asdict(config),
        **({} if world is None else {"world": describe_world(world, config.world)}),
        "hardware": hardware(device),
        "versions": versions(),
    }


def publish(results: dict[str, Any], text: str, out: Path | None, name: str) -> dict[str, Any]:
    """Write a report, NAME.json in `out`, print it as text, and return it."""
    if out is not None:
        write_report(out / f"{name}.json", results)
    print(text)
    if out is not None:
        print(f"written to {out}")
    return results


def describe_world(world: WorldModel, name_or_path: str) -> dict[str, Any]:
    """What a report says about the world it is of."""
    config = world.config
    return {
        "name": config.name,
        "loaded_from": name_or_path,
        "frame": [config.height, config.width],
        "context": config.context,
        # Passes of a frame through the denoiser; the cache write shares a call with the first.
        "evaluations_per_step": config.evaluations_per_step,
        "parameters": sum(parameter.numel() for parameter in world.parameters()),
    }


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Text in aligned columns, which is a Markdown table too."""
    lines = [list(header), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    texts = [
        "| "
        + " | ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([texts[0], rule, *texts[1:]])


def number(value: float | None, digits: int = 2) -> str:
    """A figure for a table; a dash where there is none."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def interval(bounds: Sequence[float | None], digits: int = 2) -> str:
    """An interval for a table."""
    return "[" + ", ".join(number(bound, digits) for bound in bounds) + "]"


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Around what is made of a report: if it fails, that is a ValueError that opens with `what`."""
    try:
        yield
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(
            f"{what} ({type(error).__name__}: {error}); measure again, or restore it"
        ) from error


def write_report(path: Path, content: dict[str, Any]) -> None:
    """Write JSON, all of it or none; figures that do not exist (NaN) become null.

    Paths in the working directory become relative to it: reports go along with worlds.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, without_directory(_plain(content)))


def _plain(value: Any) -> Any:
    """A value that JSON can hold."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine()
