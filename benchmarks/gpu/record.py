"""What a stage has found out so far, kept on disk: a stage that is stopped loses nothing of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.report import write_report


@dataclass(frozen=True, kw_only=True)
class StageSettings:
    """What a stage is asked to do."""

    name: str
    """Which stage: a key of `benchmarks.gpu.stage.STAGES`."""
    device: str
    """cuda, or cpu in a rehearsal."""
    smoke: bool
    """Tiny shapes and few repeats, to see that everything runs."""
    seconds: float
    """Its time limit; a stage chooses its repeats by it."""
    world: str
    """The world that is stepped: a shipped name, a directory, or a Hub id."""
    seed: int
    """Of starts, actions, noise and weights."""
    result: str
    """JSON file for what it finds out."""

    @classmethod
    def read(cls, path: Path) -> "StageSettings":
        """The settings that `json.dumps(vars(settings))` wrote to a file."""
        return cls(**json.loads(path.read_text()))


class Skipped(Exception):  # noqa: N818  no error
    """There is nothing for a stage to do here; the message says why."""


class Record:
    """Figures, tables and targets of one stage, written to its file whenever something is added."""

    def __init__(self, path: Path):
        self._path = path
        self._content: dict[str, Any] = {"figures": {}, "tables": {}, "targets": {}}

    @property
    def content(self) -> dict[str, Any]:
        """All that was noted: figures, tables and targets."""
        return self._content

    def figure(self, name: str, value: Any) -> None:
        """Note a figure: anything that JSON can hold, NaN as none."""
        self._content["figures"][name] = value
        self._write()

    def row(self, title: str, header: Sequence[str], row: Sequence[str]) -> None:
        """Add a row of text to the table of that title."""
        table = self._content["tables"].setdefault(title, {"header": list(header), "rows": []})
        table["rows"].append(list(row))
        self._write()

    def target(self, name: str, measured: float, *, least: float) -> None:
        """Note whether a figure is at least what was asked for."""
        self._content["targets"][name] = {
            "least": least,
            "measured": measured,
            "met": bool(measured >= least),
        }
        self._write()

    def _write(self) -> None:
        write_report(self._path, self._content)
