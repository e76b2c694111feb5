"""Logs of a run that goes on: what is logged already is not logged again.

A run that is killed takes the steps since its last state anew, and comes to the same figures.
"""

import struct
from collections import deque
from pathlib import Path
from typing import Any

from accelerate import Accelerator

# Entries looked at, the last ones: many more than a run makes between two saved states.
LOOKED_AT = 100_000
# Around an entry: its length and a checksum of that, and a checksum of the entry.
HEAD, TAIL = 12, 4


class LoggingOnce(Accelerator):
    """An accelerator that logs each figure of a step once, whatever processes its run had."""

    def __init__(self, folder: Path, **options: Any):
        super().__init__(**options)
        self._logged = last_steps(folder)

    def log(self, values: dict[str, Any], step: int | None = None, **options: Any) -> None:
        """As accelerate's, without what an earlier process of the run has logged."""
        if step is not None:
            values = {name: v for name, v in values.items() if step > self._logged.get(name, -1)}
        if values:
            super().log(values, step, **options)


def last_steps(folder: Path) -> dict[str, int]:
    """The last step of each figure that tensorboard's files below a folder hold."""
    from tensorboard.compat.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

    found: dict[str, int] = {}
    entries: deque[bytes] = deque(maxlen=LOOKED_AT)
    for path in sorted(folder.rglob("events.out.tfevents.*")):
        entries.extend(_entries(path))
    for entry in entries:
        event = Event.FromString(entry)
        for value in event.summary.value:
            found[value.tag] = max(event.step, found.get(value.tag, -1))
    return found


def _entries(path: Path) -> list[bytes]:
    """The whole entries of a file; a last one that was not written to its end is none."""
    content, at, found = path.read_bytes(), 0, []
    while at + HEAD <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        end = at + HEAD + length
        if end + TAIL > len(content):
            break
        found.append(content[at + HEAD : end])
        at = end + TAIL
    return found
