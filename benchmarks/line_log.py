"""Logs of a line of JSON an entry, of which a killed process has lost at most the one it wrote."""

import json
import os
from pathlib import Path
from typing import Any


def whole_lines(path: Path) -> list[str]:
    """The lines of a log, none if it is not there; one that was not written to its end is cut off.

    What was half written is done again: the next entry begins a line of its own.

    Raises:
        ValueError: There is something else by this name, such as a folder, or it cannot be read.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror}); move it away") from error
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)
    return content[:whole].decode(errors="replace").split("\n")[:-1]


def append_line(path: Path, entry: dict[str, Any]) -> None:
    """Add an entry: on disk before this returns."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, allow_nan=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
