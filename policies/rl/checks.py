"""Is a policy as good as its world says? Its return in the world against that in the simulator.

A policy that learns in a world may learn the world's mistakes. So at checkpoints it runs, without
exploring, from the same starts in both places; where the world's return leaves the simulator's, it
exploits the world.

Dimensions: E episodes, B environments, n features, A action components.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.vec_env import VecEnv

from benchmarks.metrics.frames import bootstrap_interval

Act = Callable[[np.ndarray], np.ndarray]
"""Features (B, n) -> actions (B, A) in [-1, 1]."""

COLUMNS = ("steps", "start", "world_return", "real_return")


@dataclass(frozen=True, kw_only=True)
class Check:
    """One checkpoint."""

    steps: int
    """Environment steps learned from."""
    real: list[float]
    """Return in the simulator from each of the E starts."""
    world: list[float]
    """Return in the world from the same."""

    @property
    def gap(self) -> float:
        """How much more the world promises than the simulator gives, on average."""
        return float(np.mean(self.world) - np.mean(self.real))


def returns(envs: VecEnv, act: Act, starts: Sequence[int], *, seed: int = 0) -> np.ndarray:
    """Return of one episode from each start.

    Args:
        envs: B environments of the task, one place or the other.
        act: The policy.
        starts: E indices into the world's starts.
        seed: Of the world's noise: that of start number e is seed + e, whatever B is.

    Returns:
        float64 (E,).
    """
    totals = np.zeros(len(starts))
    for first in range(0, len(starts), envs.num_envs):
        part = list(starts[first : first + envs.num_envs])
        count = len(part)
        part += part[:1] * (envs.num_envs - count)  # the last batch is filled up
        envs.seed(seed + first)
        envs.set_options([{"start": int(start)} for start in part])
        observation = envs.reset()
        assert isinstance(observation, np.ndarray)
        running = np.arange(envs.num_envs) < count
        while running.any():
            observation, rewards, dones, _ = envs.step(act(observation))
            assert isinstance(observation, np.ndarray)
            rows = np.flatnonzero(running)
            totals[first + rows] += rewards[rows]
            running &= ~dones
    return totals


def greedy(model: BaseAlgorithm) -> Act:
    """What a learned policy does without exploring."""
    return lambda observation: model.predict(observation, deterministic=True)[0]


def uniform(seed: int, size: int) -> Act:
    """Uniformly random actions (B, A), A = `size`."""
    rng = np.random.default_rng(seed)
    return lambda observation: rng.uniform(-1, 1, (len(observation), size)).astype(np.float32)


def still(size: int) -> Act:
    """Nothing is done: zeros (B, A), A = `size`."""
    return lambda observation: np.zeros((len(observation), size), np.float32)


def write_checks(directory: Path, checks: Sequence[Check]) -> None:
    """Write checks.csv, a line for each episode, and exploitation.png."""
    with (directory / "checks.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for check in checks:
            for start, (world, real) in enumerate(zip(check.world, check.real, strict=True)):
                table.writerow((check.steps, start, world, real))
    draw_checks(directory / "exploitation.png", checks)


def read_checks(directory: Path) -> list[Check]:
    """Read checks.csv again, in the order of steps."""
    with (directory / "checks.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    steps = sorted({int(row["steps"]) for row in rows})
    return [
        Check(
            steps=step,
            real=[float(row["real_return"]) for row in rows if int(row["steps"]) == step],
            world=[float(row["world_return"]) for row in rows if int(row["steps"]) == step],
        )
        for step in steps
    ]


def draw_checks(path: Path, checks: Sequence[Check]) -> None:
    """Plot mean returns in both places against steps, with bootstrap intervals."""
    steps = [check.steps for check in checks]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot()
    lines = {
        "in the learned world": [check.world for check in checks],
        "in the simulator": [check.real for check in checks],
    }
    for label, values in lines.items():
        bounds = np.array([bootstrap_interval(value, seed=0) for value in values])
        axes.plot(steps, [np.mean(value) for value in values], marker="o", label=label)
        axes.fill_between(steps, bounds[:, 0], bounds[:, 1], alpha=0.2)
    axes.set_xlabel("environment steps learned from")
    axes.set_ylabel("return of the same policy, same starts")
    axes.legend()
    figure.savefig(path, dpi=120)
