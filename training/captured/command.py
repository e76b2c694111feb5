"""`irasim train` by a preset for a GPU: records and trains by the clock, in minutes.

Processes record episodes while the world's states are learned and the first steps warm up. Frames
lie on the device as bytes and are gathered by index within the step, which is captured whole
(whole_step.py). All schedules are functions of the time that has passed, of the whole budget, so a
slow machine ends as a quick one does: decayed, validated and written.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from training.captured.clock import Clock
from training.captured.config import GpuTrainConfig
from training.captured.device_store import DeviceStore, StoreShape
from training.captured.recorded_world import describe, first_clips, write_strip
from training.captured.recorders import NewFiles, Recorders, Recording, read_arrays, wait_for
from training.captured.trainer import CapturedTrainer
from training.run.config import seconds
from training.run.directory import STATE, run_training, write_result
from training.run.stopping import noted_stops
from training.streaming.states import prepare_states
from training.streaming.validate import in_words, predict_episodes, validate_world
from world_model import StreamingWorld

# A run that goes on may be given more time, or report otherwise.
FREE = {"budget", "save_every", "validate_every", "validation_episodes", "recorders"}
POLL = 1.0  # seconds from one look at what was recorded to the next
AT_ONCE = 64  # episodes that are taken over at once, so that no step waits for long
PATIENCE = 0.25  # share of the budget within which the first episodes must be there


def main(config: GpuTrainConfig, begun: float | None = None) -> Path:
    """Record and train; returns the world's directory. A run that was stopped goes on.

    Args:
        config: Of the run.
        begun: Value of `time.monotonic()` from which the budget counts; default now.
    """
    clock = Clock(config.seconds, time.monotonic() if begun is None else begun)

    def train(config: GpuTrainConfig, accelerator: Accelerator) -> Path:
        return train_by_the_clock(config, accelerator, clock)

    return run_training(train, config, FREE)


def train_by_the_clock(config: GpuTrainConfig, accelerator: Accelerator, clock: Clock) -> Path:
    """All of a run."""
    if accelerator.num_processes > 1:
        raise ValueError(
            f"{accelerator.num_processes} processes: this kind of run is of one device; take the "
            "preset that trains from recorded episodes for several"
        )
    recording = Recording(
        env_id=str(config.collect_env),
        env_kwargs=json.loads(config.collect_env_kwargs),
        policy=config.collect_policy,
        out=config.data,
        validation=config.collect_episodes[1],
        train=config.collect_episodes[0],
        workers=config.recorders,
    )
    with Recorders(recording) as recorders:
        trainer, world, validation, files = prepare(config, accelerator, recorders, clock)
        run_phases(trainer, world, validation, files, recorders, config, clock)
    directory = config.out / "world"
    finish(trainer, world, validation, config, clock, directory)
    return directory


def prepare(
    config: GpuTrainConfig, accelerator: Accelerator, recorders: Recorders, clock: Clock
) -> tuple[CapturedTrainer, StreamingWorld, DeviceStore, NewFiles]:
    """The first episodes, a fresh or resumed world whose states are learned, and its trainer."""
    device = accelerator.device
    patience = PATIENCE * config.seconds
    wait_for(config.data, "val", config.collect_episodes[1], recorders, patience)
    wait_for(config.data, "train", 1, recorders, patience)
    first = read_arrays(next(config.data.glob("train-*.npz")))
    check_room(config, StoreShape.of(first, config.room), device)
    store = DeviceStore(StoreShape.of(first, config.room), device)
    clips = [*NewFiles(config.data, "val")(config.collect_episodes[1])]
    validation = DeviceStore(StoreShape.of(first, sum(len(c["frames"]) for c in clips)), device)
    for arrays in clips:
        validation.append(arrays)
    files = NewFiles(config.data, "train")
    while store.num_frames < config.first_frames and take_over(store, files, recorders):
        if clock.fraction > PATIENCE and store.num_frames > config.clip_frames:
            break  # little is better than nothing
        time.sleep(0.1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        world = StreamingWorld(describe(config, store.filled()), first_clips(config, clips)).eval()
    world.to(device)
    prepare_states(world, store.filled(), config, accelerator)
    trainer = CapturedTrainer(world, store, config, accelerator)
    state = config.out / STATE
    if state.exists():
        trainer.load_state(state)
        clock.before = trainer.progress.elapsed
        accelerator.print(f"resumed at step {trainer.progress.step}, {clock.before:.0f} s in")
    accelerator.print(
        f"{store.num_episodes} episodes, {store.num_frames:,} frames so far; "
        f"{sum(p.numel() for p in world.parameters()) / 1e6:.1f} M parameters; on {device}; "
        f"{clock.elapsed:.0f} of {clock.budget:.0f} s are over"
    )
    return trainer, world, validation, files


def check_room(config: GpuTrainConfig, shape: Any, device: Any) -> None:
    """Raise ValueError where frames would take more than most of the device's memory."""
    if device.type != "cuda":
        return
    free, _ = torch.cuda.mem_get_info(device)
    if shape.num_bytes > 0.6 * free:
        raise ValueError(
            f"room for {config.room:,} frames takes {shape.num_bytes / 2**30:.1f} GiB, of "
            f"{free / 2**30:.1f} that are free; make --room smaller"
        )


def take_over(store: DeviceStore, files: NewFiles, recorders: Recorders) -> bool:
    """Add what was recorded since; whether there is room for more."""
    recorders.check()
    for arrays in files(AT_ONCE):
        if not store.append(arrays):
            recorders.stop()
            return False
    return True


def run_phases(
    trainer: CapturedTrainer,
    world: StreamingWorld,
    validation: DeviceStore,
    files: NewFiles,
    recorders: Recorders,
    config: GpuTrainConfig,
    clock: Clock,
) -> None:
    """Dynamics on recorded clips and on own predictions, then the head; by the clock."""
    recording = True

    def look_after() -> None:
        nonlocal recording
        if recording and clock.fraction > config.record_until:
            recorders.stop()
            recording = False
        if recording:
            recording = take_over(trainer.store, files, recorders)

    save = Every(seconds(config.save_every), lambda: trainer.save_state(config.out / STATE))

    def validate() -> None:
        count, directory = config.validation_episodes, config.out / "world"
        validate_world(trainer, world, validation.filled(), count, directory)

    def stop_if_asked() -> None:
        if stop.number is not None:
            trainer.save_state(config.out / STATE)
            stop.obey()

    check = Every(seconds(config.validate_every), validate)
    tasks = (Every(POLL, look_after), save, check, stop_if_asked)
    with noted_stops(alone=True) as stop:
        trainer.run_denoiser(clock, tasks)
        stop_if_asked()
    trainer.save_state(config.out / STATE)
    trainer.swap_average()
    trainer.run_head(clock)


class Every:
    """Something that is done now and then."""

    def __init__(self, seconds: float, task: Callable[[], object]):
        self._seconds, self._task = seconds, task
        self._due = time.monotonic() + seconds

    def __call__(self) -> None:
        """Do it if it is due."""
        if time.monotonic() >= self._due:
            self._task()
            self._due = time.monotonic() + self._seconds


def finish(
    trainer: CapturedTrainer,
    world: StreamingWorld,
    validation: DeviceStore,
    config: GpuTrainConfig,
    clock: Clock,
    directory: Path,
) -> None:
    """Write the world, a picture of it, and `train.json`, which says how it was made."""
    world.save_pretrained(directory)  # first of all: whatever happens after
    result = predict_episodes(world, validation.filled(), config.validation_episodes)
    write_strip(result, config.out / "samples" / "final.png")
    report = write_result(
        directory / "train.json",
        config,
        trainer,
        validation=result.figures(),
        head_loss=trainer.head_loss,
        head_steps=trainer.head_steps,
        episodes=trainer.store.num_episodes,
        frames=trainer.store.num_frames,
        wall_seconds=clock.elapsed,
        before=[],
    )
    print(f"{directory}: {in_words(report['validation'])}")
    print(f"{clock.elapsed:.0f} of {clock.budget:.0f} s; next: irasim play --world {directory}")
