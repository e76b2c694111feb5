"""`irasim distill`: a streaming world that draws a frame in one or two passes, from one that takes
more.

The student starts from the world's own weights; see objective.py. The world that is kept has the
averaged weights.
"""

import dataclasses
from pathlib import Path

from accelerate import Accelerator

from training.data.clips import ClipStore
from training.distill.config import DistillConfig
from training.distill.trainer import DistillationTrainer
from training.run.config import FREE
from training.run.directory import run_training, write_result
from training.run.loop import resume, train_until
from training.run.resumable import processes
from training.streaming.describe import known_kinds
from training.streaming.validate import in_words, predict_episodes, report
from training.train import check_fits, load_world
from world_model import StreamingConfig, StreamingWorld
from world_model.io.checkpoint import find_world, read_config


def main(config: DistillConfig) -> Path:
    """Distil; returns the new world's directory. A run that was stopped goes on where it was."""
    return run_training(distill, config, FREE)


def distill(config: DistillConfig, accelerator: Accelerator) -> Path:
    """The whole run."""
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
    config: DistillConfig, accelerator: Accelerator
) -> tuple[DistillationTrainer, StreamingWorld, StreamingWorld]:
    """A trainer with data in device memory, fresh or resumed; its student and its teacher.

    Raises:
        ValueError: The world is of another engine, or of frames or actions unlike the episodes'.
    """
    directory = find_world(config.world)
    world_config, _ = read_config(directory)
    if not isinstance(world_config, StreamingConfig):
        raise ValueError(
            f"{config.world} is of the {world_config.engine} engine, expected a streaming one; a "
            "chunk world takes fewer steps by another sampler (see irasim bench chunk)"
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
        f"{processes(accelerator)} on {accelerator.device}"
    )
    return trainer, student, teacher


def open_store(
    config: DistillConfig, split: str, world: StreamingConfig, accelerator: Accelerator
) -> ClipStore:
    """A split's episodes, with the hidden states that the world predicts."""
    return ClipStore(config.data, split, accelerator.device, **known_kinds(world))


def validate(
    trainer: DistillationTrainer,
    student: StreamingWorld,
    validation: ClipStore | None,
    config: DistillConfig,
) -> None:
    """Predict validation episodes with the averaged weights; log and print."""
    assert validation is not None, "only the main process validates"
    with trainer.averaged():
        result = predict_episodes(student, validation, config.validation_episodes)
    report(trainer, result)


def finish(
    trainer: DistillationTrainer,
    student: StreamingWorld,
    teacher: StreamingWorld,
    validation: ClipStore,
    config: DistillConfig,
    directory: Path,
) -> None:
    """Write the world and `train.json`, which says how it was made."""
    figures = {
        name: predict_episodes(world, validation, config.validation_episodes).figures()
        for name, world in (("student", student), ("teacher", teacher))
    }
    student.save_pretrained(directory)
    write_result(
        directory / "train.json",
        config,
        trainer,
        command="irasim distill",
        teacher=config.world,
        losses={name: trainer.recent(f"loss/{name}") for name in ("change", "reading")},
        validation=figures,
        episodes=trainer.store.num_episodes,
        frames=len(trainer.store.frames),
    )
    for name, values in figures.items():
        print(f"{name}: {in_words(values)}")
    print(
        f"next: irasim bench passes --world {config.world} --world {directory} --data {config.data}"
    )
