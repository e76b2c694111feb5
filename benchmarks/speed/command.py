"""`irasim bench speed`: environment steps a second, latency, memory, and how near to the ceiling.

What is timed is `env.step` as a user calls it: action in, frame, reward and flags out as arrays on
the host, decode included. Resets are not. How the figures are taken is in stepping.py; how they
are printed in report.py.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.speed.report import tables

DEFAULT_BATCHES = {"cpu": (1, 8), "cuda": (1, 8, 64, 512)}


@dataclass(frozen=True, kw_only=True)
class SpeedConfig:
    """What to measure."""

    world: str
    """World to measure: a shipped name, a directory, or a Hub id."""
    out: Path | None = None
    """Directory for speed.json; nothing is written without it."""
    batch: tuple[int, ...] | None = None
    """Numbers of environments stepped at once: 1 by gymnasium.make, more by make_vec. What fits
    the device if not given: 1 and 8 on a processor, 1, 8, 64 and 512 on a GPU."""
    steps: int = 200
    """Steps timed in each repeat, and turns of whatever is timed turn about."""
    repeats: int = 5
    """Repeats; the median is told."""
    threads: int = 2
    """Threads of the processor."""
    seed: int = 0
    """Of starts and random actions."""
    device: str | None = None
    """cpu or cuda; the GPU where there is one."""
    precision: Literal["float32", "bf16"] = "float32"
    """float32, or bf16: large matrix products and convolutions in bfloat16."""
    age: int = 0
    """Also step an episode that is so many steps old turn about with a fresh one: cost and memory
    must not depend on age. 10000 takes minutes on a processor. 0: not measured."""
    contexts: tuple[int, ...] = ()
    """Also time the world's shape, with fresh weights, at these lengths of its past: 1 3 8 16."""
    compare: str | None = None
    """Also run another program's step turn about with batch 1, and tell the ratio. A command line:
    the program prints a line "ready", then makes one step for each line "step" on its standard
    input and prints a line when it is done, flushed. As DIAMOND's does:
    "python -m benchmarks.speed.diamond CHECKOUT"."""

    def __post_init__(self):
        for name in ("steps", "repeats", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if self.age < 0:
            raise ValueError(f"age is {self.age}, expected a number of steps, or 0 for none")
        for name in ("batch", "contexts"):
            if any(number < 1 for number in getattr(self, name) or ()):
                raise ValueError(
                    f"{name} is {getattr(self, name)}, expected numbers of at least 1, as in 1 8"
                )


def main(config: SpeedConfig) -> dict[str, Any]:
    """Measure, print a table, write the report if asked, and return it."""
    import torch

    from benchmarks import report
    from world_model import WorldModel
    from world_model.directories import check_directory

    device = report.choose_device(config.device)
    if config.out is not None:
        check_directory(config.out)
    world = WorldModel.from_pretrained(config.world, device=device)
    world.precision = config.precision
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
            **measure(world, config),
        }
    finally:
        torch.set_num_threads(threads)
    if config.out is not None:
        report.write_report(config.out / "speed.json", results)
    print(tables(results))
    return results


def measure(world: Any, config: SpeedConfig) -> dict[str, Any]:
    """All figures that were asked for."""
    from benchmarks.speed import stepping

    device = world.device
    sizes = sorted(set(config.batch or DEFAULT_BATCHES[device.type]))
    results: dict[str, Any] = {
        "batches": [
            stepping.time_batch(
                world, size, seed=config.seed, steps=config.steps, repeats=config.repeats
            )
            for size in sizes
        ],
        "ceilings": stepping.ceilings(world),
    }
    if config.age:
        results["age"] = stepping.time_age(world, config.age, config.steps, config.seed)
    if config.contexts:
        results["contexts"] = stepping.time_contexts(
            world, config.contexts, config.steps, config.seed
        )
    if config.compare is not None:
        results["compare"] = stepping.time_against(
            world, config.compare, config.steps, config.seed, config.threads
        )
    return results


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
