"""`irasim distill`: a streaming world that draws a frame in one or two passes, from one that takes
more.

The student starts from the world's own weights; see training/distillation.py. The world that is
kept has the averaged weights.
"""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from training.presets import seconds
from training.run_directory import as_written, environment, run_training
from world_model.io.whole_files import write_whole

if TYPE_CHECKING:
    from accelerate import Accelerator

    from training.clips import ClipStore
    from training.distillation_trainer import DistillationTrainer
    from world_model import StreamingConfig, StreamingWorld

# A run that goes on may be given more time, or report otherwise; all else must be as it was.
FREE = {"budget", "max_steps", "save_every", "validate_every", "validation_episodes"}


@dataclass(frozen=True, kw_only=True)
class DistillConfig:
    """One distillation, from a world to the directory of a quicker one."""

    world: str
    """The streaming world to make quicker: a shipped name, a directory, or a Hub id."""
    data: Path
    """Episodes in the published layout, with splits train and val: of the world's environment."""
    out: Path = Path("runs/distilled")
    """The run's directory: world/, tensorboard logs, state.pt to resume from."""
    passes: int = 2
    """Denoising passes a frame of the world that is made."""
    teacher_passes: int = 8
    """Denoising passes of the world when it teaches."""
    budget: str = "20min"
    """Time to train, as 90s, 20min or 2h; evaluation not counted."""
    max_steps: int | None = None
    """Optimizer steps, in place of the budget: a run that can be repeated exactly."""
    seed: int = 0
    """With a sample's number it fixes its clip and noise."""

    start_frames: int = 4
    """Frames of a clip that are given."""
    clip_frames: int = 10
    """Frames of a clip; those after the given ones are drawn by both worlds, from a past that is
    recorded at first, then the student's own."""
    batch_clips: int = 4
    """Clips an optimizer step, over all processes."""
    accumulation: int = 1
    """Parts that a step's clips are worked through in."""
    mixed_precision: Literal["no", "bf16"] = "bf16"
    """Precision of the network's matrix products, the teacher's too."""
    rate: float = 0.0001
    """Learning rate (AdamW, no decay of weights), falling linearly to nothing."""
    warmup: int = 20
    """Steps over which it rises."""
    ema: float = 0.98
    """Decay of the averaged weights, which are the ones that are kept."""
    clip_norm: float = 1.0
    """Largest norm of the gradient."""

    validate_every: str = "5min"
    """How often validation runs."""
    save_every: str = "2min"
    """How often the state to resume from is written."""
    validation_episodes: int = 8
    """Episodes of the validation split that are predicted."""
    cpu: bool = False
    """Train on the processor even where there is a GPU."""

    def __post_init__(self) -> None:
        if not 1 <= self.passes <= self.teacher_passes:
            raise ValueError(
                f"passes is {self.passes}, expected 1 to teacher_passes, {self.teacher_passes}: "
                "a student takes at most as many as its teacher"
            )
        if not 1 <= self.start_frames < self.clip_frames:
            raise ValueError(
                f"start_frames is {self.start_frames}, expected 1 to clip_frames - 1, "
                f"{self.clip_frames - 1}: some frames are given, some are drawn"
            )
        if self.batch_clips % self.accumulation:
            raise ValueError(
                f"batch_clips {self.batch_clips} does not divide into accumulation "
                f"{self.accumulation} parts"
            )
        for text in (self.budget, self.validate_every, self.save_every):
            seconds(text)


def main(config: DistillConfig) -> Path:
    """Distil; returns the new world's directory. A run that was stopped goes on where it was."""
    return run_training(distill, config, FREE)


def distill(config: DistillConfig, accelerator: "Accelerator") -> Path:
    """The whole run."""
    from training.loop import train_until

    trainer, student, teacher = prepare(config, accelerator)
    directory = config.out / "world"
    validation = None
    if accelerator.is_main_process:
        validation = open_store(config, "val", student.config, accelerator)
    train_until(
        1.0,
        trainer,
        config,
        name="distilling",
        shown=("loss/change", "loss/reading"),
        validate=lambda: validate(trainer, student, validation, config),
    )
    trainer.swap_average()
    if validation is not None:
        finish(trainer, student, teacher, validation, config, directory)
    return directory


def prepare(
    config: DistillConfig, accelerator: "Accelerator"
) -> tuple["DistillationTrainer", "StreamingWorld", "StreamingWorld"]:
    """A trainer with data in device memory, fresh or resumed; its student and its teacher.

    Raises:
        ValueError: The world is of another engine, or of frames or actions unlike the episodes'.
    """
    from training.distillation_trainer import DistillationTrainer
    from training.loop import resume
    from training.train import check_fits, load_world
    from world_model import StreamingConfig
    from world_model.io.checkpoint import find_world, read_config

    directory = find_world(config.world)
    world_config, _ = read_config(directory)
    if not isinstance(world_config, StreamingConfig):
        raise ValueError(
            f"{config.world} is a world of chunks of frames, expected a streaming one; a chunk "
            "world takes fewer steps by another sampler (see irasim bench chunk)"
        )
    store = open_store(config, "train", world_config, accelerator)
    worlds: list[StreamingWorld] = []
    for passes in (config.passes, config.teacher_passes):
        world = load_world(directory, world_config.name).eval()
        check_fits(world, store, directory)
        sampler = dataclasses.replace(world.config.sampler, num_steps=passes)
        world.config = dataclasses.replace(world.config, sampler=sampler)
        worlds.append(world.to(accelerator.device))
    student, teacher = worlds
    trainer = DistillationTrainer(student, teacher, store, config, accelerator)
    resume(trainer, config.out)
    accelerator.print(
        f"{config.world}: {config.teacher_passes} passes to {config.passes}; "
        f"{store.num_episodes} episodes, {len(store.frames):,} frames; "
        f"{accelerator.num_processes} process(es) on {accelerator.device}"
    )
    return trainer, student, teacher


def open_store(
    config: DistillConfig, split: str, world: "StreamingConfig", accelerator: "Accelerator"
) -> "ClipStore":
    """A split's episodes, with the hidden states that the world predicts."""
    from training.clips import ClipStore

    return ClipStore(
        config.data,
        split,
        accelerator.device,
        hidden=tuple(world.hidden),
        poses=world.plane.poses,
    )


def validate(
    trainer: "DistillationTrainer",
    student: "StreamingWorld",
    validation: "ClipStore | None",
    config: DistillConfig,
) -> None:
    """Predict validation episodes with the averaged weights; log and print."""
    from training.validate import predict_episodes

    assert validation is not None, "only the main process validates"
    trainer.swap_average()
    result = predict_episodes(student, validation, config.validation_episodes).figures()
    trainer.swap_average()
    step = trainer.progress.step
    trainer.accelerator.log({f"validation/{k}": v for k, v in result.items()}, step=step)
    shown = "  ".join(f"{name} {value:.2f}" for name, value in result.items())
    print(f"\nstep {step}: {shown}", flush=True)


def finish(
    trainer: "DistillationTrainer",
    student: "StreamingWorld",
    teacher: "StreamingWorld",
    validation: "ClipStore",
    config: DistillConfig,
    directory: Path,
) -> None:
    """Write the world and `train.json`, which says how it was made."""
    from training.validate import predict_episodes

    figures = {
        name: predict_episodes(world, validation, config.validation_episodes).figures()
        for name, world in (("student", student), ("teacher", teacher))
    }
    student.save_pretrained(directory)
    report = {
        "command": "irasim distill",
        "teacher": config.world,
        "config": as_written(config),
        "trained": dataclasses.asdict(trainer.progress),
        "losses": {name: trainer.recent(f"loss/{name}") for name in ("change", "reading")},
        "validation": figures,
        "episodes": trainer.store.num_episodes,
        "frames": len(trainer.store.frames),
        **trainer.throughput(),
        **environment(trainer.accelerator),
    }
    write_whole(directory / "train.json", json.dumps(report, indent=2, default=str) + "\n")
    for name, values in figures.items():
        print(f"{name}: " + "  ".join(f"{k} {v:.2f}" for k, v in values.items()))
    print(
        f"next: irasim bench passes --world {config.world} --world {directory} --data {config.data}"
    )


def cli(arguments: list[str]) -> None:
    """Run `irasim distill` with command-line arguments."""
    import tyro

    main(
        tyro.cli(
            DistillConfig,
            args=arguments,
            prog="irasim distill",
            description="Distil a streaming world to one or two denoising passes a step.",
        )
    )
