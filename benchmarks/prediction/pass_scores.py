"""Scores of predictions beside a teacher's of the same windows: pictures, sharpness, poses.

E windows, H horizons.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.metrics.frames import bootstrap_interval, gradient_shown
from benchmarks.prediction.frame_scores import score_frames
from benchmarks.prediction.predict import Prediction
from benchmarks.prediction.readings import Readings
from benchmarks.prediction.windows import Window
from benchmarks.report import interval, number, table

# Fewer passes may lose this many dB, and differ by this share in gradient energy; errors of poses
# may be larger by it.
MOST_DB, MOST_SHARE = 0.3, 0.05
# Verdicts are on horizons from this one on, or on all where none is so far.
JUDGED_FROM = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class LineScores:
    """Scores of a line's predictions at some horizons; NaN past an episode's end."""

    horizons: tuple[int, ...]
    psnr: np.ndarray
    """float64 (E, H)"""
    gradient: np.ndarray
    """Gradient energy, float64 (E, H)"""
    edges: np.ndarray
    """How much of the true gradient is shown, float64 (E, H)"""
    errors: dict[str, np.ndarray]
    """Of what is read from frames, against the truth's: float64 (E, H); NaN where unreadable."""


def score_line(
    windows: Sequence[Window],
    predictions: Sequence[Prediction],
    horizons: tuple[int, ...],
    *,
    readings: Readings | None,
) -> LineScores:
    """Score predictions at `horizons`; with `readings` also what the frames show."""
    frames = score_frames(windows, predictions, max(horizons))
    at = np.array(horizons) - 1
    errors: dict[str, np.ndarray] = {}
    edges = np.full((len(windows), len(horizons)), np.nan)
    for row, (window, prediction) in enumerate(zip(windows, predictions, strict=True)):
        reached = at < window.num_predicted
        edges[row, reached] = gradient_shown(
            prediction.frames[at[reached]], window.future[at[reached]]
        )
        if readings is not None and reached.any():
            found = readings.errors(prediction.frames[at[reached]], window.future[at[reached]])
            for name, values in found.items():
                empty = np.full((len(windows), len(horizons)), np.nan)
                errors.setdefault(name, empty)[row, reached] = values
    return LineScores(
        horizons=horizons,
        psnr=frames.psnr[:, at],
        gradient=frames.gradient[:, at],
        edges=edges,
        errors=errors,
    )


def compare(line: LineScores, teacher: LineScores, seed: int) -> dict[str, Any]:
    """A line beside its teacher, paired by window.

    Returns:
        "at": for each horizon that a window reaches, means and differences with intervals;
        "verdicts": (criterion, answer) pairs.
    """
    at: dict[int, dict[str, Any]] = {}
    for column, horizon in enumerate(line.horizons):
        difference = line.psnr[:, column] - teacher.psnr[:, column]
        if np.isnan(difference).all():
            continue
        at[horizon] = {
            "windows": int(np.sum(~np.isnan(difference))),
            "psnr": float(np.nanmean(line.psnr[:, column])),
            "psnr_change": {
                "value": float(np.nanmean(difference)),
                "interval": bootstrap_interval(difference, seed),
            },
            "sharpness": _ratio(line.gradient[:, column], teacher.gradient[:, column], seed),
            "edges": _ratio(line.edges[:, column], teacher.edges[:, column], seed),
            "errors": {
                name: _ratio(errors[:, column], teacher.errors[name][:, column], seed)
                for name, errors in line.errors.items()
            },
            # Errors are of what both show: a line that shows less must not look better for it.
            "read": {
                name: _ratio(
                    _read(errors[:, column], difference),
                    _read(teacher.errors[name][:, column], difference),
                    seed,
                )
                for name, errors in line.errors.items()
            },
        }
    judged = [at[h] for h in at if h >= JUDGED_FROM] or list(at.values())
    criteria = {
        f"loses at most {MOST_DB} dB": (
            [scores["psnr_change"] for scores in judged],
            (-MOST_DB, math.inf),
        ),
        f"gradient energy within {MOST_SHARE:.0%}": (
            [scores["sharpness"] for scores in judged],
            (1 - MOST_SHARE, 1 + MOST_SHARE),
        ),
    }
    if line.errors:
        criteria[f"errors of poses at most {MOST_SHARE:.0%} larger"] = (
            [ratio for scores in judged for ratio in scores["errors"].values()],
            (0.0, 1 + MOST_SHARE),
        )
        criteria[f"poses read, at most {MOST_SHARE:.0%} fewer"] = (
            [ratio for scores in judged for ratio in scores["read"].values()],
            (1 - MOST_SHARE, math.inf),
        )
    return {
        "at": at,
        "verdicts": {name: verdict(found, bounds) for name, (found, bounds) in criteria.items()},
    }


def verdict(found: Sequence[dict[str, Any]], bounds: tuple[float, float]) -> str:
    """Whether all figures are within bounds; with a question mark where intervals leave it open.

    Figures that do not exist are left out, and it is said that they are.
    """
    low, high = bounds
    known = [figure for figure in found if not math.isnan(figure["value"])]
    if not known:
        return "not measured"
    if all(low <= figure["value"] <= high for figure in known):
        sure = all(low <= f["interval"][0] and f["interval"][1] <= high for f in known)
        answer = "yes"
    else:
        sure = any(f["interval"][1] < low or high < f["interval"][0] for f in known)
        answer = "no"
    part = f" ({len(known)} of {len(found)} measured)" if len(known) < len(found) else ""
    return answer + "?" * (not sure) + part


def passes_table(lines: Sequence[dict[str, Any]]) -> str:
    """All lines and horizons as printed; the teacher's own first, without comparison."""
    names = list(next(iter(lines[0]["at"].values()))["errors"])
    header = ["world", "step", "windows", "PSNR dB", "less teacher's", "95 % interval"]
    header += ["sharpness", "95 % interval", "edges", "over teacher's", "95 % interval"]
    for name in names:
        header += [name, "read", "over teacher's", "95 % interval"]
    rows = []
    for index, line in enumerate(lines):
        for horizon, at in line["at"].items():
            row = [line["line"], str(horizon), str(at["windows"]), number(at["psnr"])]
            row += _cells(at["psnr_change"], own=index == 0)
            row += _cells(at["sharpness"], own=index == 0)
            row += [number(at["edges"]["mean"]), *_cells(at["edges"], own=index == 0)]
            for name in names:
                error = at["errors"][name]
                read = round(at["read"][name]["mean"] * at["windows"])
                row += [number(error["mean"]), str(read), *_cells(error, own=index == 0)]
            rows.append(row)
    return table(header, rows)


def verdicts(lines: Sequence[dict[str, Any]]) -> str:
    """What each line but the teacher's is judged to be, as printed."""
    return "\n".join(
        f"- {line['line']}: "
        + "; ".join(f"{criterion}: {answer}" for criterion, answer in line["verdicts"].items())
        for line in lines
    )


def _ratio(mine: np.ndarray, theirs: np.ndarray, seed: int) -> dict[str, Any]:
    """Mean of (E,) over that of the teacher's, where both are known."""
    both = ~np.isnan(mine) & ~np.isnan(theirs)
    mine, theirs = mine[both], theirs[both]

    def ratio(rows: np.ndarray, axis: int) -> np.ndarray:
        rows = rows.astype(np.int64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return mine[rows].sum(axis) / theirs[rows].sum(axis)

    rows = np.arange(len(mine))
    return {
        "windows": len(mine),
        "mean": float(mine.mean()) if len(mine) else math.nan,
        "value": float(ratio(rows, 0)) if len(mine) else math.nan,
        # Windows are drawn, so that both means are of the same ones.
        "interval": bootstrap_interval(rows, seed, statistic=ratio),
    }


def _read(errors: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Which poses could be read, as 1 or 0, (E,); NaN where there is no frame to read."""
    return np.where(np.isnan(difference), np.nan, ~np.isnan(errors))


def _cells(figure: dict[str, Any], *, own: bool) -> list[str]:
    if own:
        return ["-", "-"]
    return [number(figure["value"]), interval(figure["interval"])]
