"""Trials of planning that are paired by their seeds: as lines of a file, and as means of a row."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.line_log import whole_lines
from benchmarks.metrics.bca import bca_interval
from benchmarks.metrics.frames import wilson_interval

Trials = dict[int, dict[str, Any]]
"""Seed -> what came out of it."""


def read_trials(path: Path) -> Iterator[dict[str, Any]]:
    """All that were finished, in the order of the file; none if there is no file.

    Raises:
        ValueError: A line is not whole.
    """
    for place, line in enumerate(whole_lines(path), 1):
        try:
            yield json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(
                f"{path}, line {place}: not whole ({error}); delete that line, and its trial is "
                "run again"
            ) from error


def summarise(mine: Trials, base: Trials, names: Sequence[str], seed: int) -> dict[str, Any]:
    """Means with 95 % intervals, and what is gained over the base policy, in pairs.

    Args:
        mine: Trials of the row.
        base: Those of the base policy.
        names: What is averaged, beside success and steps.
        seed: Of the bootstrap.
    """

    def bounds(values: list[float]) -> tuple[float, float]:
        return bca_interval([len(values)], lambda rows: np.mean(np.take(values, rows)), seed)

    pairs = sorted(mine.keys() & base.keys())
    successes = sum(trial["success"] for trial in mine.values())
    row: dict[str, Any] = {
        "trials": len(mine),
        "pairs": len(pairs),
        "success": successes / len(mine),
        "success_interval": wilson_interval(successes, len(mine)),
        "steps": float(np.mean([trial["steps"] for trial in mine.values()])),
        "decision_seconds_median": float(
            np.median(np.concatenate([trial["decision_seconds"] for trial in mine.values()]))
        ),
    }
    for name in ("success", *names):
        values = [float(mine[trial][name]) for trial in sorted(mine)]
        gains = [float(mine[trial][name]) - float(base[trial][name]) for trial in pairs]
        if name != "success":
            row |= {name: float(np.mean(values)), f"{name}_interval": bounds(values)}
        row[f"{name}_gain"] = float(np.mean(gains)) if pairs else None
        row[f"{name}_gain_interval"] = bounds(gains) if pairs else None
    return row
