"""`irasim train --preset robot_video`: from a robot's recordings to an anchored world."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

from training.anchored.config import AnchoredTrainConfig
from training.data.irasim.layout import refuse_published
from training.run.directory import as_written, environment, run_training
from world_model.io.whole_files import write_whole

if TYPE_CHECKING:
    from accelerate import Accelerator

    from training.anchored.trainer import PainterTrainer
    from training.data.clips import ClipStore

# A run that goes on may be given more time, or report otherwise; all else must be as it was.
FREE = {"budget", "max_steps", "save_every", "validate_every", "validation_episodes"}


def main(config: AnchoredTrainConfig) -> Path:
    """Train; returns the world's directory. A run that was stopped goes on where it was."""
    for data in (config.data, *config.more_data):
        refuse_published(data)
    return run_training(train, config, FREE)


def train(config: AnchoredTrainConfig, accelerator: "Accelerator") -> Path:
    """All of a run."""
    import torch

    from training.run.loop import resume, train_until

    trainer, validation = prepare(config, accelerator)
    resume(trainer, config.out)
    # Squares of the first steps' small gradients are denormal numbers, over which a processor takes
    # a hundred times as long.
    torch.set_flush_denormal(True)
    try:
        train_until(
            1.0,
            trainer,
            config,
            name="painter",
            shown=("loss/psnr",),
            validate=lambda: validate(trainer, validation),
        )
    finally:
        torch.set_flush_denormal(False)
    trainer.swap_average()
    directory = config.out / "world"
    finish(trainer, validation, directory)
    return directory


def prepare(
    config: AnchoredTrainConfig, accelerator: "Accelerator"
) -> tuple["PainterTrainer", "ClipStore"]:
    """Data in device memory, a fresh world with fitted dynamics, and its trainer."""
    import torch

    from training.anchored.trainer import PainterTrainer
    from training.data.clips import ClipStore
    from training.streaming.describe import describe_data, take_starts
    from world_model.anchored.config import AnchoredConfig, PainterConfig
    from world_model.anchored.world import AnchoredWorld

    store = ClipStore(config.data, "train", accelerator.device, config.more_data)
    validation = ClipStore(config.data, "val", accelerator.device)
    described, _ = describe_data(config, store)
    world_config = AnchoredConfig(
        **described,
        lags=config.lags,
        painter=PainterConfig(
            coarse=config.coarse,
            channels=config.channels,
            refiner_channels=config.refiner_channels,
        ),
    )
    starts = take_starts(config.data, "val", config.start_frames, config.max_starts)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        world = AnchoredWorld(world_config, starts).eval()
    world.to(accelerator.device, memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    trainer = PainterTrainer(world, store, config, accelerator)
    fitted = trainer.fitted
    accelerator.print(
        f"{store.num_episodes} episodes, {len(store.frames):,} frames; "
        f"{sum(p.numel() for p in world.parameters()) / 1e6:.1f} M parameters; on "
        f"{accelerator.device}\n"
        f"states follow {'their own actions' if fitted.paired else 'all actions'}; over episodes "
        f"that the law was not fitted to they are {50 * fitted.error:.2f} % of their range off"
    )
    return trainer, validation


def validate(trainer: "PainterTrainer", validation: "ClipStore") -> dict[str, float]:
    """Predict validation episodes with the averaged weights; log, print and film them.

    The world as it is then is kept, to be looked at, or played in, while training goes on.
    """
    from training.streaming.validate import predict_episodes

    config, world = trainer.config, trainer.world
    trainer.swap_average()
    result = predict_episodes(world, validation, config.validation_episodes)
    world.save_pretrained(config.out / "world")
    (config.out / "world" / "train.json").unlink(missing_ok=True)  # of an earlier end of the run
    trainer.swap_average()
    figures, step = result.figures(), trainer.progress.step
    trainer.accelerator.log({f"validation/{k}": v for k, v in figures.items()}, step=step)
    result.write_video(config.out / "samples" / f"{step:07d}.mp4", world.config.fps)
    print(f"\nstep {step}: " + "  ".join(f"{k} {v:.2f}" for k, v in figures.items()), flush=True)
    return figures


def finish(trainer: "PainterTrainer", validation: "ClipStore", directory: Path) -> None:
    """Write the world and `train.json`, which says how it was made."""
    from training.streaming.validate import predict_episodes

    config, world, store = trainer.config, trainer.world, trainer.store
    result = predict_episodes(world, validation, config.validation_episodes)
    result.write_video(config.out / "samples" / "final.mp4", world.config.fps)
    world.save_pretrained(directory)
    report = {
        "config": as_written(config),
        "trained": dataclasses.asdict(trainer.progress),
        "validation": result.figures(),
        "dynamics_error": trainer.fitted.error,
        "episodes": store.num_episodes,
        "frames": len(store.frames),
        **trainer.throughput(),
        **environment(trainer.accelerator),
    }
    write_whole(directory / "train.json", json.dumps(report, indent=2, default=str) + "\n")
    print(f"{directory}: " + "  ".join(f"{k} {v:.2f}" for k, v in report["validation"].items()))
    print(f"next: irasim bench quality --world {directory} --data {config.data}")
