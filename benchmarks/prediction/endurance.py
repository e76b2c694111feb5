"""`irasim bench endurance`: one very long episode.

Does memory stay flat, does a step stay as quick, and does the picture hold together? An action is
held for some steps at a time. Where the world's task reads frames, all that it reads must still be
there; and where the action is a place, the robot must be where it was sent. The simulator itself
does the same beside it, as it may fail too.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import gymnasium as gym
import numpy as np
import psutil

import irasim_env  # noqa: F401  registers the ids
from benchmarks import report
from benchmarks.prediction.config import WARM_UP, EnduranceConfig
from benchmarks.report import number
from benchmarks.report import table as aligned
from irasim_env.ground_truth import GroundTruth
from world_model import WorldModel
from world_model.progress import progress_bar
from world_model.tasks import Task, task_of

REPORTED = (100, 500, 1000, 2000, 5000, 10000)


def main(config: EnduranceConfig) -> dict[str, Any]:
    """Measure, print a table, write the report, and return it."""
    world = report.open_world(config)
    task = task_of(world.config)
    truth = put_real(world, config)  # what is missing is reported before the long run
    episode = run(world, config)
    real = None if truth is None else run_real(truth, episode["targets"])
    results = {
        **report.heading("irasim bench endurance", config, str(world.device), world),
        **summarise(episode),
        "readings": read(episode, config, task),
        "real_readings": read(real, config, task) if real else [],
    }
    shown = [episode["frames"]] if real is None else [episode["frames"], real["frames"]]
    _write_picture(config.out / "frames.png", shown, config)
    return report.publish(results, table(results, task), config.out, "endurance")


def run(world: WorldModel, config: EnduranceConfig) -> dict[str, Any]:
    """One episode of `steps` steps: its frames, targets, memory and seconds at each step."""
    env = gym.make(
        "IRASim/World-v0",
        world=world,
        max_episode_steps=-1,
        reward_fn=lambda frames, action: (0.0, False),  # no end, whatever the head says
    )
    frame, _ = env.reset(seed=config.seed, options={"start": config.start})
    space = env.action_space
    assert isinstance(space, gym.spaces.Box)
    margin = 0.1 * (space.high - space.low)
    rng = np.random.default_rng(config.seed)
    process = psutil.Process()
    # Frames are kept for reading: in memory that is there, and written to, from the beginning.
    frames = np.full((config.steps + 1, *frame.shape), 255, np.uint8)
    frames[0] = frame
    targets, memory, seconds = [], [], []
    target = rng.uniform(space.low + margin, space.high - margin)
    for step in progress_bar(range(config.steps), desc="world"):
        if step % config.hold == 0:
            target = rng.uniform(space.low + margin, space.high - margin)
        begin = time.perf_counter()
        frame, *_ = env.step(target.astype(space.dtype))
        seconds.append(time.perf_counter() - begin)
        frames[step + 1] = frame
        targets.append(target)
        memory.append(process.memory_info().rss)
    env.close()
    return {"frames": frames, "targets": targets, "memory": memory, "seconds": seconds}


def put_real(world: WorldModel, config: EnduranceConfig) -> GroundTruth | None:
    """The ground truth at the same start; None, and why, where there is none to be had."""
    if not config.real or world.config.ground_truth is None:
        return None
    try:
        truth = GroundTruth(world.config)
        truth.reset_to(world.starts[config.start])
    except (ValueError, gym.error.DependencyNotInstalled) as error:
        print(f"without the simulator beside it: {error}")
        return None
    return truth


def run_real(truth: GroundTruth, targets: list[np.ndarray]) -> dict[str, Any]:
    """The ground truth's frames under the same actions."""
    frames = [truth.frame]
    for target in progress_bar(targets, desc="simulator"):
        truth.step(target.astype("float32"))
        frames.append(truth.frame)
    truth.close()
    return {"frames": frames, "targets": targets}


def summarise(episode: dict[str, Any]) -> dict[str, Any]:
    """Growth of memory and change of speed."""
    memory = np.array(episode["memory"])
    seconds = np.array(episode["seconds"])
    settled, last = memory[WARM_UP : 2 * WARM_UP].mean(), memory[-WARM_UP:].mean()
    return {
        "memory_growth": float(last / settled - 1),
        "peak_memory_growth": float(memory[WARM_UP:].max() / settled - 1),
        "step_ms_first": float(1000 * np.median(seconds[WARM_UP // 10 : WARM_UP])),
        "step_ms_last": float(1000 * np.median(seconds[-WARM_UP:])),
    }


def read(
    episode: dict[str, Any], config: EnduranceConfig, task: Task | None
) -> list[dict[str, float]]:
    """For each reported step, over the ten targets before it: the robot's distance from its target
    at the end of the hold, and how often each reading can be had at all. Nothing where there is no
    task that reads frames."""
    if task is None or task.measure is None:
        return []
    measure, rows = task.load("measure"), []
    for step in _reported(config):
        ends = np.arange(max(config.hold, step - 9 * config.hold), step + 1, config.hold)
        frames = np.stack([episode["frames"][t] for t in ends])
        targets = np.stack([episode["targets"][t - 1] for t in ends])
        found = measure(frames)
        row: dict[str, float] = {"step": step}
        if follows_targets(task):
            distance = np.linalg.norm(
                found[task.place_reading] - in_pixels(targets, frames.shape, task), axis=1
            )
            read = distance[~np.isnan(distance)]
            name = key(f"{task.place_reading} to target px")
            row[name] = float(np.median(read)) if len(read) else float("nan")
        for name, values in found.items():
            row[key(f"{name} read")] = float(np.mean(~np.isnan(values).any(axis=-1)))
        rows.append(row)
    return rows


def follows_targets(task: Task) -> bool:
    """Whether an action is a place in the picture at which the robot is visible."""
    return (
        task.place_reading is not None and task.frame_edges is not None and "action" in task.points
    )


def in_pixels(places: np.ndarray, shape: tuple[int, ...], task: Task) -> np.ndarray:
    """Places (n, 2) in the units of the task's frame edges as pixels of frames (n, H, W, 3)."""
    assert task.frame_edges is not None
    low, high = np.array(task.frame_edges[:2]), np.array(task.frame_edges[2:])
    return (places - low) * (shape[2], shape[1]) / (high - low)


def key(name: str) -> str:
    """A column's name in the report."""
    return name.lower().replace(" ", "_")


def table(results: dict[str, Any], task: Task | None) -> str:
    """The report as printed, in Markdown."""
    steps = results["config"]["steps"]
    lines = [
        f"World {results['world']['name']}: one episode of {steps} steps, start "
        f"{results['config']['start']}, seed {results['config']['seed']}; {results['hardware']}.",
        f"Memory grew by {100 * results['memory_growth']:.2f} % after the first {WARM_UP} steps "
        f"(highest {100 * results['peak_memory_growth']:.2f} %); a step took "
        f"{results['step_ms_first']:.1f} ms at first, {results['step_ms_last']:.1f} ms at last.",
    ]
    if results["readings"] and task is not None:
        measured = [name for name in results["readings"][0] if name != "step"]
        lines += [
            "Over the ten targets before a step: "
            + "median distance of the robot from its target, and " * follows_targets(task)
            + "share of frames where each can be read.",
            "",
            aligned(
                ("", "step", *(name.replace("_", " ") for name in measured)),
                [
                    (which, str(row["step"]), *(number(row[name]) for name in measured))
                    for which, rows in (
                        ("learned", results["readings"]),
                        ("real", results["real_readings"]),
                    )
                    for row in rows
                ],
            ),
        ]
    return "\n".join(lines)


def _reported(config: EnduranceConfig) -> list[int]:
    steps = {step for step in REPORTED if step < config.steps} | {config.steps}
    return sorted(step // config.hold * config.hold for step in steps)


def _write_picture(
    path: Path, episodes: list[Sequence[np.ndarray]], config: EnduranceConfig
) -> None:
    steps = (0, *_reported(config))
    rows = [np.concatenate([frames[step] for step in steps], axis=1) for frames in episodes]
    picture = np.concatenate(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture.repeat(3, 0).repeat(3, 1)[..., ::-1])
