"""Scores of what the head says: reward, end of the episode, low-dimensional observations."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.metrics.frames import wilson_interval
from benchmarks.prediction.predict import Prediction
from benchmarks.prediction.windows import Window
from benchmarks.report import interval, number, table

REWARDED = 0.05  # true rewards above it are scored apart: elsewhere a constant 0 does well
END_TOLERANCE = 3  # steps by which a predicted end may miss the true one


def score_rewards(windows: Sequence[Window], predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Mean absolute error of the reward over predicted steps, all of them and the rewarded ones.

    Beside it the constant that does best on these very steps (their median, which no predictor
    without the truth can know) and the true reward of the window's first step, repeated.
    """
    true = np.concatenate([window.rewards for window in windows])
    pred = np.concatenate(
        [p.rewards[: w.num_predicted] for w, p in zip(windows, predictions, strict=True)]
    ).astype(np.float64)
    first = np.concatenate([np.full(w.num_predicted, w.rewards[0]) for w in windows])
    scores = {}
    for name, chosen in (("all", np.full(true.shape, True)), ("rewarded", true > REWARDED)):
        scores[name] = {
            "steps": int(chosen.sum()),
            "mae": _mean_absolute(pred[chosen] - true[chosen]),
            "mae_constant": _mean_absolute(true[chosen] - _median(true[chosen])),
            "mae_first_repeated": _mean_absolute(first[chosen] - true[chosen]),
        }
    return scores


def score_ends(windows: Sequence[Window], predictions: Sequence[Prediction]) -> dict[str, Any]:
    """Whether the first predicted end is the true one, within three steps.

    "hit": of the windows in which the episode ended. "false": of all windows, an end predicted
    more than three steps early or where there is none. Constant baselines: "never" hits none and
    is never wrong; "always" (the end at the first step) hits the windows shorter than four steps
    and is wrong in all the others.
    """
    ended = hits = false = always_hits = 0
    for window, prediction in zip(windows, predictions, strict=True):
        true, pred = window.end, prediction.end
        ended += true is not None
        always_hits += true is not None and true - 1 <= END_TOLERANCE
        if pred is not None and true is not None and abs(pred - true) <= END_TOLERANCE:
            hits += 1
        elif pred is not None and (true is None or pred < true):
            false += 1
    count = len(windows)
    return {
        "windows": count,
        "ended": ended,
        "hit": rate(hits, ended),
        "false": rate(false, count),
        "never": {"hit": rate(0, ended), "false": rate(0, count)},
        "always": {
            "hit": rate(always_hits, ended),
            "false": rate(count - always_hits, count),
        },
    }


def score_observations(
    windows: Sequence[Window], predictions: Sequence[Prediction]
) -> dict[str, dict[str, float]]:
    """Mean absolute error of each low-dimensional observation that was recorded, in its unit."""
    scores = {}
    for name in predictions[0].states:
        if all(name in window.states for window in windows):
            errors = [
                np.abs(p.states[name][: w.num_predicted] - w.states[name])
                for w, p in zip(windows, predictions, strict=True)
            ]
            scores[name] = {"mae": float(np.concatenate(errors).mean())}
    return scores


def rewards_table(rewards: dict[str, dict[str, Any]]) -> str:
    """Reward scores as printed; `rewards` by name of the windows."""
    header = ("windows", "steps", "reward MAE", "best constant", "first repeated")
    header += (f"steps > {REWARDED}", "reward MAE", "best constant", "first repeated")
    rows = []
    for name, scores in rewards.items():
        row = [name]
        for part in ("all", "rewarded"):
            at = scores[part]
            row += [str(at["steps"]), number(at["mae"], 4)]
            row += [number(at["mae_constant"], 4), number(at["mae_first_repeated"], 4)]
        rows.append(row)
    return table(header, rows)


def ends_table(ends: dict[str, dict[str, Any]]) -> str:
    """Scores of ends as printed; `ends` by name of the windows."""
    header = ("windows", "count", "ended", "hit", "95 % interval", "false", "95 % interval")
    header += ("never: hit, false", "always: hit, false")
    rows = []
    for name, scores in ends.items():
        row = [name, str(scores["windows"]), str(scores["ended"])]
        for part in ("hit", "false"):
            row += [percent(scores[part]["rate"]), interval(scores[part]["interval"])]
        for part in ("never", "always"):
            rates = scores[part]
            row.append(f"{percent(rates['hit']['rate'])}, {percent(rates['false']['rate'])}")
        rows.append(row)
    return table(header, rows)


def percent(share: float | None) -> str:
    """A rate for a table; a dash where there is none."""
    return "-" if share is None or np.isnan(share) else f"{share:.1%}"


def rate(k: int, n: int) -> dict[str, Any]:
    """k of n, with Wilson's interval."""
    share = k / n if n else float("nan")
    return {"count": k, "of": n, "rate": share, "interval": wilson_interval(k, n)}


def _mean_absolute(errors: np.ndarray) -> float:
    return float(np.abs(errors).mean()) if errors.size else float("nan")


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if values.size else float("nan")
