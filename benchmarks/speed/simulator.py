"""`irasim bench simulator`: how fast the simulator that a task's episodes are recorded from is.

What is timed is `env.step` as a recorder calls it, the picture included, and the same without
drawing where the task says how. Resets are not timed, nor is choosing actions.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from world_model.config_fields import check_least
from world_model.tasks import load_task


@dataclass(frozen=True, kw_only=True)
class SimulatorConfig:
    """Measure the steps per second of the simulator that a task's episodes are recorded from."""

    task: str
    """Name of an installed task."""
    out: Path | None = None
    """Directory for simulator.json; nothing is written without it."""
    steps: int = 300
    """Steps timed in each repeat, under random actions."""
    repeats: int = 5
    """Repeats, of which the median is reported."""
    seed: int = 0
    """Seed of resets and actions."""

    def __post_init__(self):
        check_least(self, steps=1, repeats=1)


def main(config: SimulatorConfig) -> dict[str, Any]:
    """Measure, print a table, write the report if asked to, and return it."""
    from benchmarks import report

    task = load_task(config.task)
    ways = {"drawn": dict(task.env_kwargs)}
    if task.undrawn_kwargs:
        ways["undrawn"] = {**task.env_kwargs, **task.undrawn_kwargs}
    results: dict[str, Any] = {
        **report.heading("irasim bench simulator", config, "cpu"),
        "env_id": task.env_id,
        "rows": [{"way": way, **time_steps(config, ways[way])} for way in ways],
    }
    return report.publish(results, tables(results), config.out, "simulator")


def time_steps(config: SimulatorConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """Steps a second, by the clock and by the seconds that processors worked for."""
    import gymnasium as gym
    import numpy as np

    env = gym.make(load_task(config.task).env_id, disable_env_checker=True, **settings)
    rates = np.zeros((config.repeats, 2))
    try:
        for repeat in range(config.repeats):
            env.action_space.seed(config.seed + repeat)
            env.reset(seed=config.seed + repeat)
            spent = np.zeros(2)
            for _ in range(config.steps):
                action = env.action_space.sample()
                begin = np.array([time.perf_counter(), time.process_time()])
                _, _, terminated, truncated, _ = env.step(action)
                spent += np.array([time.perf_counter(), time.process_time()]) - begin
                if terminated or truncated:
                    env.reset()
            rates[repeat] = config.steps / spent
    finally:
        env.close()
    by_clock, by_core = np.median(rates, axis=0).tolist()
    return {
        "steps_per_second": by_clock,
        "steps_per_second_range": [float(rates[:, 0].min()), float(rates[:, 0].max())],
        "steps_per_core_second": by_core,
        "steps_per_core_second_range": [float(rates[:, 1].min()), float(rates[:, 1].max())],
    }


def tables(results: dict[str, Any]) -> str:
    """The report as printed."""
    from benchmarks.report import interval, number, table

    config = results["config"]
    rows = [
        (
            row["way"],
            number(row["steps_per_second"], 0),
            interval(row["steps_per_second_range"], 0),
            number(row["steps_per_core_second"], 0),
            interval(row["steps_per_core_second_range"], 0),
        )
        for row in results["rows"]
    ]
    header = ("step", "steps/s", "range", "steps/s of a core", "range")
    return "\n\n".join(
        [
            f"Simulator {results['env_id']}, one environment: median of {config['repeats']} "
            f"repeats of {config['steps']} steps by random actions, seeds from {config['seed']}; "
            "by the clock, and per second that a core worked for it, which other work changes "
            f"little; {results['hardware']}.",
            table(header, rows),
        ]
    )
