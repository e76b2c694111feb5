"""Times a world's steps: through its environments, by age and by context, against a program's."""

import functools
import resource
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import psutil
import torch

import irasim_env  # noqa: F401  registers the ids
from benchmarks.speed import roofline
from benchmarks.speed.flops import Operations, count_operations
from benchmarks.speed.interleave import program, ratio, time_in_turns
from world_model import StreamingConfig, WorldModel, WorldState
from world_model.progress import progress_bar

WARM_UP = 5  # steps before timing begins
Env = gym.Env | gym.vector.VectorEnv


def time_batch(
    world: WorldModel, size: int, *, seed: int, steps: int, repeats: int
) -> dict[str, Any]:
    """Time one number of environments; eager beside graph where graphs are what runs."""
    on_gpu = world.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(world.device)
    timed = _time_env(world, size, seed, steps, repeats)
    eager = None
    if on_gpu:
        with eagerly(world):
            eager = _time_env(world, size, seed, steps, repeats)
    return {
        "batch": size,
        "through": "gymnasium.make" if size == 1 else "gymnasium.make_vec",
        **timed,
        "peak_rss_mib": peak_rss_mib(),
        "peak_cuda_mib": torch.cuda.max_memory_allocated(world.device) / 2**20 if on_gpu else None,
        "eager": eager,
        **time_products(world, size, turns=steps, seed=seed),
    }


def time_products(world: WorldModel, size: int, *, turns: int, seed: int) -> dict[str, Any]:
    """The world's step and its matrix products alone, interleaved: what share of their rate it
    reaches."""
    work = step_operations(world, size, seed)
    finish = roofline.synchroniser(world.device)
    alone = roofline.products_alone(work.products, world.device)
    step = stepping(world, begin_at_starts(world, size, seed), seed)
    seconds = time_in_turns([step, lambda: (alone(), finish())], turns)
    rates = np.array([work.flops, roofline.product_flops(work.products)]) / seconds
    share = ratio(rates[:, 0], rates[:, 1], seed)
    return {
        "gflop_per_call": work.flops / 1e9,
        "gflops": float(np.median(rates[:, 0])) / 1e9,
        "gflops_ceiling": float(np.median(rates[:, 1])) / 1e9,
        "share": share["ratio"],
        "share_interval": share["ratio_interval"],
        "gbytes_per_second": work.num_bytes / float(np.median(seconds[:, 0])) / 1e9,
    }


def device_peaks(world: WorldModel) -> dict[str, Any]:
    """What the device does at its best, in the type that the world computes in."""
    dtype = step_operations(world, 1, 0).main_dtype()
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "gflops": roofline.large_matmul_peak(dtype, world.device) / 1e9,
        "copy_gbytes_per_second": roofline.copy_peak(world.device) / 1e9,
    }


def step_operations(world: WorldModel, size: int, seed: int) -> Operations:
    """What one step of `size` environments costs the device."""
    state, action = begin_at_starts(world, size, seed), draw_action(world, size, seed)
    with eagerly(world):
        return count_operations(lambda: world.step_(state, action))


def time_age(world: WorldModel, age: int, turns: int, seed: int) -> dict[str, Any]:
    """An episode `age` steps old and one from its start on, their steps interleaved in one process.

    The old one is stepped `age` times through the world itself (no environment, nothing copied to
    the host), memory of the process, and of the GPU where it runs on one, read after a hundred
    steps and at the end.
    """
    old = begin_at_starts(world, 1, seed)
    finish = roofline.synchroniser(world.device)
    settled = _held(world.device)
    for step in progress_bar(range(age), desc="ageing", unit="steps"):
        world.step_(old, draw_action(world, 1, seed + step))
        if step == min(100, age - 1):
            finish()
            settled = _held(world.device)
    finish()
    grown = _held(world.device) - settled
    fresh = begin_at_starts(world, 1, seed + 1)
    seconds = time_in_turns([stepping(world, old, seed), stepping(world, fresh, seed)], turns)
    return {
        "age": age,
        "turns": turns,
        "old_ms": float(1000 * np.median(seconds[:, 0])),
        "fresh_ms": float(1000 * np.median(seconds[:, 1])),
        **ratio(seconds[:, 0], seconds[:, 1], seed),
        "old_state_bytes": old.num_bytes,
        "fresh_state_bytes": fresh.num_bytes,
        "grown_mib": grown[0] / 2**20,
        "grown_cuda_mib": grown[1] / 2**20 if world.device.type == "cuda" else None,
    }


def time_contexts(
    world: WorldModel, contexts: tuple[int, ...], turns: int, seed: int
) -> list[dict[str, Any]]:
    """Batch 1 of the world's shape at several lengths of its past, interleaved, fresh weights."""
    config = world.config
    if not isinstance(config, StreamingConfig):
        raise ValueError(
            f"--contexts: world {config.name!r} is of the {config.engine} engine, which "
            "conditions on one frame of its past; leave the option out"
        )
    calls, sizes = [], []
    for context in contexts:
        denoiser = replace(config.denoiser, context=context)
        other = WorldModel.create(replace(config, denoiser=denoiser), world.starts)
        other = other.to(world.device)
        state = begin_at_starts(other, 1, seed)
        calls.append(stepping(other, state, seed))
        sizes.append(state.num_bytes)
    seconds = time_in_turns(calls, turns)
    return [
        {
            "context": context,
            "step_ms": float(1000 * np.median(seconds[:, column])),
            "state_bytes": sizes[column],
            **ratio(seconds[:, column], seconds[:, 0], seed),
        }
        for column, context in enumerate(contexts)
    ]


def time_against(
    world: WorldModel, command: str, turns: int, seed: int, threads: int
) -> dict[str, Any]:
    """One environment's step and another program's, interleaved; see interleave.py."""
    with environment(world, 1) as env, program(command, threads) as theirs:
        env.reset(seed=seed)
        env.action_space.seed(seed)
        ours = functools.partial(timed_step, env)
        seconds = time_in_turns([ours, theirs], turns)
    return {
        "command": command,
        "turns": turns,
        "ours_ms": float(1000 * np.median(seconds[:, 0])),
        "theirs_ms": float(1000 * np.median(seconds[:, 1])),
        **ratio(seconds[:, 1], seconds[:, 0], seed),
    }


@contextmanager
def eagerly(world: WorldModel) -> Iterator[None]:
    """The world without captured graphs, for a while."""
    graph = world.graph
    world.graph = False
    try:
        yield
    finally:
        world.graph = graph


def peak_rss_mib() -> float:
    """The most memory that this process has held so far, in MiB."""
    # Linux counts in KiB, macOS in bytes.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def _held(device: torch.device) -> np.ndarray:
    """Bytes that this process holds now, in memory and in tensors on a GPU, int64 (2,)."""
    on_gpu = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    return np.array([psutil.Process().memory_info().rss, on_gpu])


def _time_env(world: WorldModel, size: int, seed: int, steps: int, repeats: int) -> dict[str, Any]:
    with environment(world, size) as env:
        seconds = [
            _time_steps(env, seed + repeat, steps)
            for repeat in progress_bar(range(repeats), desc=f"batch {size}", unit="repeats")
        ]
    latencies = 1000 * np.concatenate(seconds)
    rates = np.array([size * steps / times.sum() for times in seconds])
    return {
        "steps_per_second": float(np.median(rates)),
        "steps_per_second_range": [float(rates.min()), float(rates.max())],
        "latency_ms_p50": float(np.percentile(latencies, 50)),
        "latency_ms_p99": float(np.percentile(latencies, 99)),
    }


@contextmanager
def environment(world: WorldModel, size: int, **kwargs: Any) -> Iterator[Env]:
    """`size` environments of a world, as a user makes them, without a time limit."""
    name, kwargs = "IRASim/World-v0", kwargs | {"world": world}
    if size == 1:
        env = gym.make(name, max_episode_steps=-1, **kwargs)
    else:
        env = gym.make_vec(name, num_envs=size, autoreset_mode="Disabled", **kwargs)
    try:
        yield env
    finally:
        env.close()


def timed_step(env: Env, device: torch.device | None = None) -> float:
    """Seconds of a step by random actions; where it ends an episode another begins, uncounted.

    Args:
        env: One environment or many.
        device: For `output="torch"`: where actions are made, and waited for; None for arrays.
    """
    action = env.action_space.sample()
    finish = roofline.synchroniser(device or "cpu")
    if device is not None:
        action = torch.as_tensor(action, device=device)
        finish()
    begin = time.perf_counter()
    _, _, terminated, truncated, _ = env.step(action)
    finish()
    seconds = time.perf_counter() - begin
    over = np.logical_or(*(torch.as_tensor(x).cpu().numpy() for x in (terminated, truncated)))
    if over.any():
        vector = isinstance(env, gym.vector.VectorEnv)
        env.reset(options={"reset_mask": over} if vector else None)
    return seconds


def _time_steps(env: Env, seed: int, num_steps: int) -> np.ndarray:
    """Seconds of each of `num_steps` calls of step under random actions, float64 (num_steps,)."""
    env.reset(seed=seed)
    env.action_space.seed(seed)
    steps = range(WARM_UP + num_steps)
    return np.array([timed_step(env) for _ in steps][WARM_UP:])


def begin_at_starts(world: WorldModel, size: int, seed: int) -> WorldState:
    """A state of `size` environments at starts of the world, one after the other."""
    starts = [(seed + i) % len(world.starts) for i in range(size)]
    return world.begin(starts, range(seed, seed + size))


def draw_action(world: WorldModel, size: int, seed: int) -> np.ndarray:
    """Random actions within bounds, float32 (size, A)."""
    low, high = np.array(world.config.action_low), np.array(world.config.action_high)
    rng = np.random.default_rng(seed)
    return rng.uniform(low, high, (size, len(low))).astype(np.float32)


def stepping(world: WorldModel, state: WorldState, seed: int) -> Callable[[], None]:
    """One step of one environment, to the end."""
    finish = roofline.synchroniser(world.device)
    action = draw_action(world, len(state), seed)

    def step() -> None:
        world.step_(state, action)
        finish()

    return step
