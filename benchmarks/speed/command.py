"""`irasim bench speed`: environment steps a second, latency, memory, and the share of the roofline.

What is timed is `env.step` as a user calls it: action in, frame, reward and flags out as arrays on
the host, decode included. Resets are not. How the figures are taken is in stepping.py; how they
are printed in report.py.
"""

from typing import Any

from benchmarks import report
from benchmarks.speed import stepping
from benchmarks.speed.config import SpeedConfig
from benchmarks.speed.report import tables

DEFAULT_BATCHES = {"cpu": (1, 8), "cuda": (1, 8, 64, 512)}


def main(config: SpeedConfig) -> dict[str, Any]:
    """Measure, print a table, write the report if asked, and return it."""
    world = report.open_world(config)
    world.precision = config.precision
    with report.threads(config.threads):
        results = {
            **report.heading("irasim bench speed", config, str(world.device), world),
            "decode_included": True,
            **measure(world, config),
        }
    return report.publish(results, tables(results), config.out, "speed")


def measure(world: Any, config: SpeedConfig) -> dict[str, Any]:
    """All figures that were asked for."""
    device = world.device
    sizes = sorted(set(config.batch or DEFAULT_BATCHES[device.type]))
    results: dict[str, Any] = {
        "batches": [
            stepping.time_batch(
                world, size, seed=config.seed, steps=config.steps, repeats=config.repeats
            )
            for size in sizes
        ],
        "ceilings": stepping.device_peaks(world),
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
