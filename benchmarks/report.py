"""What every report says: on what it was measured, with which versions; tables and JSON."""

import math
import os
import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from world_model.tasks import task_packages
from world_model.versions import versions as installed

if TYPE_CHECKING:
    from world_model import WorldModel

# What figures may depend on, where it is installed, besides the packages of tasks.
PACKAGES = ("irasim-env", "torch", "numpy", "gymnasium", "opencv-python")


def choose_device(device: str | None) -> str:
    """The device asked for; None is the GPU where there is one, else the processor.

    Raises:
        ValueError: there is no such device here.
    """
    import torch

    from world_model.runtime.check_inputs import find_device

    if device is not None:
        return str(find_device(device))
    return "cuda" if torch.cuda.is_available() else "cpu"


def hardware(device: str) -> str:
    """One line: what a measurement on this device runs on."""
    import torch

    processor = f"{_processor_name()}, {os.cpu_count()} cores"
    if device.startswith("cuda"):
        properties = torch.cuda.get_device_properties(torch.device(device))
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB ({processor})"
    return f"{processor}, {torch.get_num_threads()} threads"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that figures may depend on."""
    return installed(*PACKAGES, *task_packages())


def describe_world(world: "WorldModel", name_or_path: str) -> dict[str, Any]:
    """What a report says about the world it is of."""
    config = world.config
    return {
        "name": config.name,
        "loaded_from": name_or_path,
        "frame": [config.height, config.width],
        "context": config.context,
        "evaluations_per_step": evaluations_per_step(world),
        "parameters": sum(parameter.numel() for parameter in world.parameters()),
    }


def evaluations_per_step(world: "WorldModel") -> int:
    """Passes of a frame through the denoiser that one environment step takes, the cache write among
    them, which shares a call with the first."""
    return world.config.evaluations_per_step


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
    from training.data.episodes import write_json
    from training.run.directory import without_directory

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
