"""`irasim bench speed`: environment steps a second, latency and memory, decode included.

What is timed is `env.step` as a user calls it: action in, frame, reward and flags out as arrays on
the host. Resets are not.
"""

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import gymnasium as gym
    import numpy as np

WARM_UP = 5  # steps before timing begins


@dataclass(frozen=True, kw_only=True)
class SpeedConfig:
    """What to measure."""

    world: str
    """World to measure: a shipped name, a directory, or a Hub id."""
    out: Path | None = None
    """Directory for speed.json; nothing is written without it."""
    batch: tuple[int, ...] = (1, 8)
    """Numbers of environments stepped at once: 1 by gymnasium.make, more by make_vec."""
    steps: int = 200
    """Steps timed in each repeat."""
    repeats: int = 5
    """Repeats; the median is told."""
    threads: int = 2
    """Threads of the processor."""
    seed: int = 0
    """Of starts and random actions."""
    device: str | None = None
    """cpu or cuda; the GPU where there is one."""

    def __post_init__(self):
        for name in ("steps", "repeats", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not self.batch or min(self.batch) < 1:
            raise ValueError(f"batch is {self.batch}, expected numbers of at least 1, as in 1 8")


def main(config: SpeedConfig) -> dict[str, Any]:
    """Measure, print a table, write the report if asked, and return it."""
    import torch

    from benchmarks import report
    from world_model import WorldModel

    device = report.choose_device(config.device)
    world = WorldModel.from_pretrained(config.world, device=device)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        results = {
            "command": "irasim bench speed",
            "config": asdict(config),
            "world": report.describe_world(world, config.world),
            "hardware": report.hardware(device),
            "versions": report.versions(),
            "decode_included": True,
            "batches": [measure(config, size, device) for size in sorted(set(config.batch))],
        }
    finally:
        torch.set_num_threads(threads)
    if config.out is not None:
        report.write_report(config.out / "speed.json", results)
    print(tables(results))
    return results


def measure(config: SpeedConfig, size: int, device: str) -> dict[str, Any]:
    """Time one number of environments."""
    import gymnasium as gym
    import numpy as np
    import torch
    from tqdm import trange

    import irasim_env  # noqa: F401  registers the ids

    on_gpu = device.startswith("cuda")
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    kwargs: dict[str, Any] = {"world": config.world, "device": device}
    if size == 1:
        env = gym.make("IRASim/World-v0", max_episode_steps=-1, **kwargs)
    else:
        env = gym.make_vec("IRASim/World-v0", num_envs=size, autoreset_mode="Disabled", **kwargs)
    seconds = []
    try:
        for repeat in trange(config.repeats, desc=f"batch {size}", unit="repeat"):
            seconds.append(_time_steps(env, config.seed + repeat, config.steps, size > 1))
    finally:
        env.close()
    latencies = 1000 * np.concatenate(seconds)
    rates = np.array([size * config.steps / times.sum() for times in seconds])
    return {
        "batch": size,
        "through": "gymnasium.make" if size == 1 else "gymnasium.make_vec",
        "steps_per_second": float(np.median(rates)),
        "steps_per_second_range": [float(rates.min()), float(rates.max())],
        "latency_ms_p50": float(np.percentile(latencies, 50)),
        "latency_ms_p99": float(np.percentile(latencies, 99)),
        "peak_rss_mib": peak_rss_mib(),
        "peak_cuda_mib": torch.cuda.max_memory_allocated(device) / 2**20 if on_gpu else None,
    }


def _time_steps(
    env: "gym.Env | gym.vector.VectorEnv", seed: int, num_steps: int, vector: bool
) -> "np.ndarray":
    """Seconds of each of `num_steps` calls of step under random actions, float64 (num_steps,)."""
    import numpy as np

    env.reset(seed=seed)
    env.action_space.seed(seed)
    seconds = []
    for step in range(-WARM_UP, num_steps):
        action = env.action_space.sample()
        begin = time.perf_counter()
        _, _, terminated, truncated, _ = env.step(action)
        if step >= 0:
            seconds.append(time.perf_counter() - begin)
        over = np.logical_or(terminated, truncated)
        if over.any():
            env.reset(options={"reset_mask": over} if vector else None)
    return np.array(seconds)


def peak_rss_mib() -> float:
    """The most memory that this process has held so far, in MiB."""
    import resource

    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def tables(results: dict[str, Any]) -> str:
    """The report as printed, in Markdown."""
    from benchmarks.report import interval, number, table

    world, config = results["world"], results["config"]
    header = ("batch", "through", "steps/s", "range", "p50 ms", "p99 ms", "peak RSS MiB")
    header += ("peak CUDA MiB",)
    rows = [
        (
            str(at["batch"]),
            at["through"],
            number(at["steps_per_second"], 1),
            interval(at["steps_per_second_range"], 1),
            number(at["latency_ms_p50"], 1),
            number(at["latency_ms_p99"], 1),
            number(at["peak_rss_mib"], 0),
            number(at["peak_cuda_mib"], 0),
        )
        for at in results["batches"]
    ]
    title = (
        f"World {world['name']}: environment steps a second, decode included, "
        f"{world['evaluations_per_step']} network evaluations a step; median of "
        f"{config['repeats']} repeats of {config['steps']} steps, latency of a call over all of "
        f"them, seeds from {config['seed']}; memory is the process's highest so far; "
        f"{results['hardware']}."
    )
    return f"{title}\n\n{table(header, rows)}"


def cli(arguments: list[str]) -> None:
    """Run `irasim bench speed` with command-line arguments."""
    import tyro

    main(
        tyro.cli(
            SpeedConfig,
            args=arguments,
            prog="irasim bench speed",
            description="Measure how fast a world steps.",
        )
    )
