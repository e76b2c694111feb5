"""Scores of what frames show, as any task reads it."""

from types import SimpleNamespace

import numpy as np
import pytest

from benchmarks.prediction.readings import Readings


def place(frames: np.ndarray) -> dict[str, np.ndarray]:
    """Where a bright row is; NaN where there is none."""
    bright = frames[..., 0, 0] > 0
    at = np.where(bright.any(1), bright.argmax(1).astype(float), np.nan)
    return {"row": at[:, None]}


@pytest.fixture
def readings() -> Readings:
    return Readings(SimpleNamespace(load=lambda part: place))  # type: ignore[arg-type]


def rows(*numbers: int | None) -> np.ndarray:
    frames = np.zeros((len(numbers), 16, 4, 3), np.uint8)
    for frame, number in zip(frames, numbers, strict=True):
        if number is not None:
            frame[number] = 255
    return frames


def test_what_moved_is_told_apart(readings):
    """Of four, two moved, by 5 and 9; predictions of these are off by 1 and 3."""
    scores = readings.compare(rows(1, 2, 9, 9), rows(1, 2, 8, 12), rows(1, 2, 3, 3), seed=0)["row"]
    assert (scores["median"], scores["median_still"]) == (0.5, 2.5)
    assert scores["moved"] == 2
    assert (scores["moved_median"], scores["moved_median_still"]) == (2.0, 7.0)
    line = readings.table({4: {"frames": 4, "row": scores}}).splitlines()[-1]
    assert [cell.strip() for cell in line.split("|")[1:4]] == ["4", "row", "4"]
    assert "7.00" in line


def test_where_nothing_moved_there_is_no_median(readings):
    scores = readings.compare(rows(1, None), rows(1, 2), rows(1, 2), seed=0)
    assert scores["row"]["moved"] == 0
    assert np.isnan(scores["row"]["moved_median"])
    assert "1" in readings.limits({4: scores})[0]


def test_reports_from_before_that_told_them_apart_are_shown(readings):
    scores = readings.compare(rows(1), rows(3), rows(0), seed=0)
    scores["row"] = {k: v for k, v in scores["row"].items() if not k.startswith("moved")}
    assert readings.table({2: scores}).splitlines()[-1].count("-") >= 4
