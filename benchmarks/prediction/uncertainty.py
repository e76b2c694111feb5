"""`irasim bench uncertainty`: does a world know what it does not know?

Held-out episodes, whose frames are the simulator's own under the recorded actions. From moments
spread over each, the world predicts under those actions, several samples a step; how far they
disagree (`info["uncertainty"]`) should rise and fall with how wrong the predicted frame is.

W windows, L predicted steps, S samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import report
from benchmarks.metrics.bca import bca_interval
from benchmarks.metrics.rank_agreement import spearman
from benchmarks.prediction.config import UncertaintyConfig
from benchmarks.prediction.windows import Window, choose_episodes, cut
from benchmarks.report import interval, number
from benchmarks.report import table as aligned
from irasim_env.uncertainty import disagreement, draw_others
from training.data.episodes import read_episode
from world_model import WorldModel
from world_model.given_states import known_states
from world_model.progress import progress_bar

ABOUT = (
    "Spearman's rank correlation over windows, at a step, of the predicted frame's error (root "
    "mean square, grey levels, against the simulator) with: the step's uncertainty; that of all "
    "steps so far; and, to compare, how far the predicted frame is from the one before. 95 % "
    "intervals: BCa bootstrap over episodes. Least and most: mean error of the quarters of windows "
    "with the least and the most uncertainty so far."
)
NUM_RESAMPLES = 500


@dataclass(frozen=True, kw_only=True, eq=False)
class Measured:
    """Of each window and step, float64 (W, L), in grey levels."""

    uncertainty: np.ndarray
    error: np.ndarray
    """Root mean square difference to the true frame."""
    change: np.ndarray
    """Root mean square difference to the predicted frame before."""


def main(config: UncertaintyConfig) -> dict[str, Any]:
    """Measure, print a table, write the report, and return it."""
    world = report.open_world(config)
    windows, episode = choose(config)
    measured = predict(world, windows, config)
    results = {
        **report.heading("irasim bench uncertainty", config, str(world.device), world),
        "about": ABOUT,
        "windows": len(windows),
        "episodes": len(np.unique(episode)),
        "at": {
            step: correlations(measured, episode, step, config.seed)
            for step in sorted({1, 4, 16, config.horizon})
            if step <= config.horizon
        },
        "mean_uncertainty": measured.uncertainty.mean(0),
        "mean_error": measured.error.mean(0),
    }
    return report.publish(results, table(results), config.out, "uncertainty")


def choose(config: UncertaintyConfig) -> tuple[list[Window], np.ndarray]:
    """Windows spread evenly over held-out episodes, and the number of each one's episode, (W,).

    Raises:
        ValueError: fewer episodes than asked for are as long as a window.
    """
    # An episode of n actions has n + 1 frames; a window has context + horizon.
    length = config.context + config.horizon
    ids = choose_episodes(config.data, config.split, config.episodes, length - 1)
    windows, whose = [], []
    for place, episode_id in enumerate(ids):
        episode = read_episode(config.data, config.split, episode_id)
        last = len(episode.frames) - length
        for begin in np.unique(np.linspace(0, last, config.windows).round().astype(int)).tolist():
            windows.append(cut(episode, begin, config.context, config.horizon))
            whose.append(place)
    return windows, np.array(whose)


def predict(world: WorldModel, windows: Sequence[Window], config: UncertaintyConfig) -> Measured:
    """Predict every window under its own actions, with S samples a step."""
    known = config.context
    rows: list[list[np.ndarray]] = [[], [], []]
    with progress_bar(
        total=len(windows) * config.horizon, desc="predicting", unit="frames"
    ) as progress:
        for first in range(0, len(windows), config.batch):
            part = windows[first : first + config.batch]
            frames = np.stack([window.frames for window in part])
            actions = np.stack([window.actions for window in part])
            seeds = np.arange(first, first + len(part)) + config.seed
            observed = {
                name: np.stack([window.context_states[name] for window in part])
                for name in known_states(world.config, part[0].context_states)
            }
            state = world.start(frames[:, :known], actions[:, : known - 1], seeds, observed)
            before = frames[:, known - 1]
            steps: list[list[np.ndarray]] = [[], [], []]
            for t in range(config.horizon):
                action = actions[:, known - 1 + t]
                others = draw_others(world, state, action, config.samples)
                taken = world.step_(state, action).frame
                after = taken.cpu().numpy()
                steps[0].append(disagreement(others, taken[:, None]).cpu().numpy())
                steps[1].append(_difference(after, frames[:, known + t]))
                steps[2].append(_difference(after, before))
                before = after
                progress.update(len(part))
            for kept, new in zip(rows, steps, strict=True):
                kept.append(np.stack(new, axis=1))
    uncertainty, error, change = (np.concatenate(kept).astype(np.float64) for kept in rows)
    return Measured(uncertainty=uncertainty, error=error, change=change)


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Root mean square difference of uint8 frames (B, H, W, 3), float64 (B,)."""
    return np.sqrt(((one.astype(np.float32) - other) ** 2).mean((1, 2, 3)).astype(np.float64))


def correlations(
    measured: Measured, episode: np.ndarray, step: int, seed: int
) -> dict[str, dict[str, Any]]:
    """Of the error at a step (from 1) with what may predict it, over windows."""
    error = measured.error[:, step - 1]
    so_far = measured.uncertainty[:, :step].mean(1)
    tellers = {
        "uncertainty": measured.uncertainty[:, step - 1],
        "uncertainty_so_far": so_far,
        "change": measured.change[:, step - 1],
    }
    windows = [np.flatnonzero(episode == one) for one in np.unique(episode)]
    found: dict[str, dict[str, Any]] = {}
    for name, values in tellers.items():

        def of_episodes(drawn: np.ndarray, values: np.ndarray = values) -> float:
            rows = np.concatenate([windows[k] for k in drawn])
            return float(spearman(values[rows], error[rows]))

        interval = bca_interval([len(windows)], of_episodes, seed, num_resamples=NUM_RESAMPLES)
        found[name] = {"spearman": float(spearman(values, error)), "interval": list(interval)}
    order, quarter = np.argsort(so_far), max(1, len(so_far) // 4)
    found["error"] = {
        "mean": float(error.mean()),
        "least_uncertain": float(error[order[:quarter]].mean()),
        "most_uncertain": float(error[order[-quarter:]].mean()),
    }
    return found


def table(results: dict[str, Any]) -> str:
    """The report as printed, in Markdown."""
    names = ("uncertainty", "uncertainty_so_far", "change")
    header = ("step", "uncertainty", "so far", "change", "error", "least", "most")
    rows = [
        (
            str(step),
            *(f"{number(at[name]['spearman'])} {interval(at[name]['interval'])}" for name in names),
            *(number(at["error"][n]) for n in ("mean", "least_uncertain", "most_uncertain")),
        )
        for step, at in results["at"].items()
    ]
    head = (
        f"World {results['world']['name']}: {results['windows']} windows of "
        f"{results['episodes']} episodes, {results['config']['samples']} samples a step; "
        f"{results['hardware']}."
    )
    return "\n".join([head, ABOUT, "", aligned(header, rows)])
