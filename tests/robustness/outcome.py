"""What a command has made, without what must differ from one run of it to the next.

Left out by name: dates, seconds and what is computed of them (`WALL_CLOCK`), how much one call of
several did (`predicted_in_this_run`), and in logs the times of entries. The lines of a log of
episodes count, their order does not.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

WALL_CLOCK = {
    "date",
    "elapsed",
    "validated",
    "data_seconds",
    "frames_per_second",
    "data_share",
    "predicted_in_this_run",
}


def outcome(directory: Path) -> dict[str, Any]:
    """Content by path of all files below a directory."""
    found: dict[str, Any] = {}
    logs = {path.parent for path in directory.rglob("events.out.*")}
    for path in sorted(directory.rglob("*")):
        name = str(path.relative_to(directory))
        if path.is_file() and path.parent not in logs:
            found[name] = content(path)
    for folder in logs:
        found[str(folder.relative_to(directory))] = logged(folder)
    return found


def content(path: Path) -> Any:
    """A file's content, as it is compared."""
    if path.suffix == ".json":
        return timeless(json.loads(path.read_text()))
    if path.suffix == ".jsonl":
        return sorted(path.read_text().splitlines())
    if path.name.endswith("state.pt"):
        return timeless(torch.load(path, weights_only=True))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def timeless(value: Any) -> Any:
    """JSON, or what torch saves, without the keys of `WALL_CLOCK`; tensors as checksums."""
    if isinstance(value, dict):
        return {str(k): timeless(v) for k, v in value.items() if k not in WALL_CLOCK}
    if isinstance(value, list | tuple):
        return [timeless(entry) for entry in value]
    if isinstance(value, torch.Tensor):
        numbers = value.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(numbers).hexdigest()}"
    return value


def logged(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What tensorboard shows of a folder: (step, value) by tag."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in sorted(events.Tags()["scalars"])
        if tag not in WALL_CLOCK
    }


def differences(one: dict[str, Any], two: dict[str, Any]) -> list[str]:
    """Where two outcomes differ, in words."""
    lines = []
    for name in sorted({*one, *two}):
        if name not in two:
            lines.append(f"{name}: only in the first")
        elif name not in one:
            lines.append(f"{name}: only in the second")
        elif one[name] != two[name]:
            lines.append(f"{name}: {_differing(one[name], two[name])}")
    return lines


def _differing(one: Any, two: Any, where: str = "") -> str:
    if isinstance(one, dict) and isinstance(two, dict):
        for key in sorted({*one, *two}):
            if key not in one or key not in two:
                return f"{where}.{key} is in one alone"
            if one[key] != two[key]:
                return _differing(one[key], two[key], f"{where}.{key}")
    if isinstance(one, list) and isinstance(two, list):
        if len(one) != len(two):
            return f"{where} has {len(one)} and {len(two)} entries: {one} {two}"[:1500]
        for index, (a, b) in enumerate(zip(one, two, strict=True)):
            if a != b:
                return _differing(a, b, f"{where}[{index}]")
    return f"{where} {one!r} and {two!r}"[:1500]
