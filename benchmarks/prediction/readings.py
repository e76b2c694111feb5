"""What predicted frames show against what the true ones show, as a world's task reads them.

A task's `measure` gives what frames show as numbers, such as where a body is; here they are held
against each other. A task whose readings are to be compared otherwise brings a subclass.

E windows, k numbers of a reading.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.metrics.frames import bootstrap_interval
from benchmarks.prediction.predict import Prediction
from benchmarks.prediction.windows import Window
from benchmarks.report import interval, number, table
from world_model import WorldConfig
from world_model.tasks import Task, task_of

# A reading that is further than this from what it was has moved.
MOVED = 1.0


class Readings:
    """Scores of what frames show: the distance between readings, and how many there are not.

    Args:
        task: Has `measure`.
    """

    about = (
        "Readings of the frames by the task: median distance from those of the true frames, and "
        "that of the last context frame, repeated (nothing moves); unread: how many could not be "
        "read. Moved: of those alone that are more than 1 away from where they were in the last "
        "context frame."
    )

    def __init__(self, task: Task):
        self.measure = task.load("measure")

    def errors(self, pred: np.ndarray, true: np.ndarray) -> dict[str, np.ndarray]:
        """Errors (E,) by name of predicted frames (E, H, W, 3); NaN where either is unreadable."""
        mine, theirs = self.measure(pred), self.measure(true)
        return {
            name: np.linalg.norm(np.asarray(mine[name]) - theirs[name], axis=-1) for name in theirs
        }

    def score(
        self,
        windows: Sequence[Window],
        predictions: Sequence[Prediction],
        horizons: Sequence[int],
        seed: int,
    ) -> dict[int, dict[str, Any]]:
        """Read the h-th predicted frames, the true ones, and those of "nothing moves".

        Frames whose truth is unreadable are left out and counted. A prediction that is unreadable
        has no error; it is counted.
        """
        summary = {}
        for horizon in horizons:
            chosen = [
                (prediction.frames[horizon - 1], window.future[horizon - 1], window.context[-1])
                for window, prediction in zip(windows, predictions, strict=True)
                if window.num_predicted >= horizon
            ]
            if chosen:
                pred, true, still = (np.stack(frames) for frames in zip(*chosen, strict=True))
                summary[horizon] = self.compare(pred, true, still, seed)
        return summary

    def compare(
        self, pred: np.ndarray, true: np.ndarray, still: np.ndarray, seed: int
    ) -> dict[str, Any]:
        """Scores of frames (E, H, W, 3)."""
        scores: dict[str, Any] = {"frames": len(pred)}
        ours, unmoved, truth = self.errors(pred, true), self.errors(still, true), self.measure(true)
        for name, errors in ours.items():
            known = ~np.isnan(truth[name]).any(axis=-1)
            errors, still_errors = errors[known], unmoved[name][known]
            moved = still_errors > MOVED
            scores[name] = {
                "truth_unreadable": int(np.sum(~known)),
                "unreadable": int(np.isnan(errors).sum()),
                "median": median(errors),
                "median_interval": bootstrap_interval(errors, seed, statistic=np.median),
                "mean": mean(errors),
                "median_still": median(still_errors),
                "moved": int(moved.sum()),
                "moved_median": median(errors[moved]),
                "moved_median_interval": bootstrap_interval(
                    errors[moved], seed, statistic=np.median
                ),
                "moved_median_still": median(still_errors[moved]),
            }
        return scores

    def table(self, summary: Mapping[Any, dict[str, Any]]) -> str:
        """The summary as printed."""
        header = ["step", "read", "frames", "median", "95 % interval", "nothing moves", "unread"]
        header += ["moved", "median of these", "95 % interval", "nothing moves"]
        rows = []
        for horizon, at in summary.items():
            for name, one in at.items():
                if name == "frames":
                    continue
                row = [str(horizon), name, str(at["frames"] - one["truth_unreadable"])]
                row += [number(one["median"]), interval(one["median_interval"])]
                row += [number(one["median_still"]), str(one["unreadable"])]
                if "moved" in one:  # older reports do not say
                    row += [str(one["moved"]), number(one["moved_median"])]
                    row.append(interval(one["moved_median_interval"]))
                    row.append(number(one["moved_median_still"]))
                else:
                    row += ["-"] * 4
                rows.append(row)
        return table(header, rows)

    def limits(self, summary: Mapping[Any, dict[str, Any]]) -> list[str]:
        """What a card says of frames that cannot be read."""
        return [
            f"At step {step}, of {at['frames']} frames the {name} cannot be read in "
            f"{one['unreadable']}."
            for step, at in summary.items()
            for name, one in at.items()
            if name != "frames" and one["unreadable"]
        ]


def readings_of(config: WorldConfig) -> Readings | None:
    """How the frames of a world are read; None where it has no task that can."""
    task = task_of(config)
    if task is None or task.measure is None:
        return None
    kind = Readings if task.scores is None else task.load("scores")
    return kind(task)


def mean(values: np.ndarray) -> float:
    """Of those that are known; NaN where none is."""
    return float(np.nanmean(values)) if (~np.isnan(values)).any() else float("nan")


def median(values: np.ndarray) -> float:
    """Of those that are known; NaN where none is."""
    return float(np.nanmedian(values)) if (~np.isnan(values)).any() else float("nan")
