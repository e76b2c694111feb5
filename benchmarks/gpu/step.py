"""Stage: what a step of a world costs, eager and captured, in either precision.

Steps are timed through the environments, as a user makes them; what matters most comes first, so
that a stage that runs out of time has measured it.
"""

import gc
import itertools
import time
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from benchmarks.control import planning
from benchmarks.gpu.kernels import profile_kernels
from benchmarks.gpu.record import Record, StageSettings
from benchmarks.gpu.stages import is_out_of_memory
from benchmarks.report import number
from benchmarks.speed import roofline
from benchmarks.speed.stepping import (
    Env,
    begin_at_starts,
    eagerly,
    environment,
    step_operations,
    stepping,
    timed_step,
)
from world_model import StreamingWorld, WorldModel

Precision = Literal["float32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bf16")
OUTPUTS = ("numpy", "torch")
WARM_UP = 3  # steps before timing begins; the first captures


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How much is measured."""

    batches: tuple[int, ...]
    seconds: float
    """For each way of stepping each batch."""
    resets: tuple[int, ...]
    candidates: int
    horizon: int
    repeats: int


# Batch 1 first, the largest, which may not fit, last.
ON_GPU = Plan(
    batches=(1, 512, 64, 8, 4096),
    seconds=0.4,
    resets=(1, 64, 512),
    candidates=64,
    horizon=16,
    repeats=5,
)
SMOKE = Plan(batches=(1, 2), seconds=0.05, resets=(1, 2), candidates=3, horizon=2, repeats=1)


def run(settings: StageSettings, record: Record) -> None:
    """All of it, for the world of the settings."""
    plan = SMOKE if settings.smoke else ON_GPU
    roofline.measure_for(0.3, rehearsal=settings.smoke)
    world = WorldModel.from_pretrained(settings.world, device=settings.device)
    assert isinstance(world, StreamingWorld), "the step of a streaming world is measured"
    best = measure_roofline(settings.device)
    record.figure("ceilings", best)
    rates: dict[tuple[Any, ...], float] = {}
    for place, size in enumerate(plan.batches):
        for precision in PRECISIONS:
            rates |= time_size(world, size, precision, plan, best, settings, record)
            forget_graphs(world)
        if settings.device == "cuda":
            note_targets(rates, record)
        if not place:
            profile_step(world, settings, record)
            time_decisions(world, plan, settings, record)
            time_resets(world, plan, settings, record)
            forget_graphs(world)


def measure_roofline(device: str) -> dict[str, float]:
    """FLOP/s of a large product in each precision, and bytes/s of a large copy."""
    return {
        "float32": roofline.large_matmul_peak(torch.float32, device),
        "bf16": roofline.large_matmul_peak(torch.bfloat16, device),
        "copy": roofline.copy_peak(device),
    }


def time_size(
    world: StreamingWorld,
    size: int,
    precision: Precision,
    plan: Plan,
    best: dict[str, float],
    settings: StageSettings,
    record: Record,
) -> dict[tuple[Any, ...], float]:
    """One batch in one precision, every way; steps a second by (batch, precision, way, output).

    What does not fit the memory is noted, and the rest goes on.
    """
    world.precision = precision
    rates: dict[tuple[Any, ...], float] = {}
    ways = (
        (("captured", None), ("eager", False)) if settings.device == "cuda" else (("eager", None),)
    )
    try:
        work = step_operations(world, size, settings.seed)
        for (way, graph), output in itertools.product(ways, OUTPUTS):
            world.graph = graph
            figures = time_env(world, size, output, plan.seconds, settings.seed)
            rate = figures["steps_per_second"]
            rates[size, precision, way, output] = rate
            figures["share_of_large_product"] = work.flops * rate / size / best[precision]
            figures["share_of_large_copy"] = work.num_bytes * rate / size / best["copy"]
            key = f"batch {size}, {precision}, {way}, {output}"
            record.figure(key, figures)
            record.row(
                "Environment steps, decode included (a share: of a large product's FLOP/s, and of "
                "a large copy's bytes a second, were nothing fused)",
                ("batch", "precision", "way", "output", "steps/s", "p50 ms", "p99 ms", "MiB")
                + ("of product", "of copy"),
                (str(size), precision, way, output, number(rate, 1))
                + (number(figures["latency_ms_p50"], 3), number(figures["latency_ms_p99"], 3))
                + (number(figures["peak_cuda_mib"], 0), f"{figures['share_of_large_product']:.1%}")
                + (f"{figures['share_of_large_copy']:.1%}",),
            )
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        record.figure(f"batch {size}, {precision}", f"out of memory: {str(error)[:200]}")
    finally:
        world.graph = None
    return rates


def time_env(
    world: WorldModel, size: int, output: str, seconds: float, seed: int
) -> dict[str, Any]:
    """Steps of environments for some seconds, at least ten of them."""
    tensors = {"output": "torch"} | ({"disable_env_checker": True} if size == 1 else {})
    device = world.device if output == "torch" else None
    on_gpu = world.device.type == "cuda"
    if on_gpu:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats(world.device)
    with environment(world, size, **(tensors if output == "torch" else {})) as env:
        env.reset(seed=seed)
        env.action_space.seed(seed)
        for _ in range(WARM_UP):
            timed_step(env, device)
        times: list[float] = []
        begin = time.perf_counter()
        while len(times) < 10 or time.perf_counter() - begin < seconds:
            times.append(timed_step(env, device))
            if len(times) >= 3 and time.perf_counter() - begin > 5 * seconds:
                break
    return {
        "steps_per_second": size * len(times) / sum(times),
        "latency_ms_p50": 1000 * float(np.percentile(times, 50)),
        "latency_ms_p99": 1000 * float(np.percentile(times, 99)),
        "calls": len(times),
        "peak_cuda_mib": torch.cuda.max_memory_allocated(world.device) / 2**20 if on_gpu else None,
    }


def profile_step(world: StreamingWorld, settings: StageSettings, record: Record) -> None:
    """Kernels of a step of one environment, eager and captured, in either precision."""
    if settings.device != "cuda":
        return
    for precision in PRECISIONS:
        world.precision = precision
        step = stepping(world, begin_at_starts(world, 1, settings.seed), settings.seed)
        captured = profile_kernels(step)
        waited = roofline.seconds_of(step, world.device)
        with eagerly(world):
            state = begin_at_starts(world, 1, settings.seed)
            eager = profile_kernels(stepping(world, state, settings.seed))
        for way, kernels in (("captured", captured), ("eager", eager)):
            if kernels is None:
                record.figure(f"kernels, {precision}, {way}", "the profiler saw none")
                continue
            record.figure(f"kernels, {precision}, {way}", vars(kernels))
            record.row(
                "Kernels of one step, batch 1 (captured: the step's own time beside them)",
                ("precision", "way", "kernels", "busy ms", "step ms"),
                (precision, way, str(kernels.count), number(kernels.busy_ms, 3))
                + (number(1000 * waited, 3) if way == "captured" else "",),
            )


def time_decisions(
    world: StreamingWorld, plan: Plan, settings: StageSettings, record: Record
) -> None:
    """A planner's decision, by frames and by states."""
    for imagine in ("frames", "states"):
        if imagine == "states" and not world.rolls_out_states:
            continue
        config = planning.PlanningConfig(
            world=settings.world,
            candidates=plan.candidates,
            horizon=plan.horizon,
            max_rows=(plan.candidates,),
            imagine=imagine,
            repeats=plan.repeats,
            device=settings.device,
            seed=settings.seed,
        )
        for row in planning.measure(config, world, settings.device):
            record.figure(f"decision by {imagine}, {row['precision']}", row)
            record.row(
                f"A planner's decision, K = {plan.candidates}, H = {plan.horizon}",
                ("by", "precision", "ms", "of its products", "of a large one"),
                (imagine, row["precision"], number(1000 * row["decision_seconds"], 1))
                + (
                    f"{row['share_of_products_ceiling']:.0%}",
                    f"{row['share_of_large_matmul']:.1%}",
                ),
            )
            if settings.device == "cuda" and (imagine, row["precision"]) == ("frames", "bf16"):
                record.target(
                    "decisions a second, K = 64, H = 16, by frames",
                    1 / row["decision_seconds"],
                    least=20,
                )
    world.precision = "float32"


def time_resets(world: StreamingWorld, plan: Plan, settings: StageSettings, record: Record) -> None:
    """Resets of all environments, and of one among many."""
    world.precision = "float32"
    for size in plan.resets:
        with environment(world, size) as env:
            env.reset(seed=settings.seed)
            whole = _time_resets(env, None, plan.repeats)
            one = np.arange(size) == 0
            partial = _time_resets(env, {"reset_mask": one}, plan.repeats) if size > 1 else None
        record.figure(f"reset, batch {size}", {"all_ms": whole, "one_ms": partial})
        record.row(
            "Resets at the world's own starts, ms",
            ("batch", "all", "one of them"),
            (str(size), number(whole, 2), number(partial, 2)),
        )


def _time_resets(env: Env, options: dict[str, Any] | None, repeats: int) -> float:
    times = []
    for _ in range(repeats + 1):
        begin = time.perf_counter()
        env.reset(options=options)
        times.append(time.perf_counter() - begin)
    return 1000 * float(np.median(times[1:]))


def forget_graphs(world: StreamingWorld) -> None:
    """Let go of graphs and their memory: no two batches need theirs at once."""
    world.to(world.device)
    gc.collect()
    if world.device.type == "cuda":
        torch.cuda.empty_cache()


def note_targets(rates: dict[tuple[Any, ...], float], record: Record) -> None:
    """Hold the best of the rates against what was asked for."""
    single = {key: rate for key, rate in rates.items() if key[0] == 1}
    record.target("steps a second, batch 1", max(single.values()), least=1000)
    record.target("steps a second in total, best batch", max(rates.values()), least=50_000)
    ratios = [
        rates[1, precision, "captured", output] / rates[1, precision, "eager", output]
        for precision in PRECISIONS
        for output in OUTPUTS
    ]
    record.target("captured over eager steps a second, batch 1", min(ratios), least=3)
