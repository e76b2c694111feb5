"""`irasim train`: from recorded episodes (or none) to a world directory, in one command.

Phases: collect if there is no data; the codec if the world has one; what predicts states; the
denoiser on recorded clips, on the model's own rollouts, on rollouts that go on from step to step;
the head. The world that is kept has the averaged weights.
"""

import dataclasses
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from training.data.absent_data import collect_absent
from training.data.clips import ClipStore
from training.data.episodes import read_json
from training.data.irasim.layout import refuse_published
from training.data.labels.plane import labelled_plane
from training.run.config import FREE
from training.run.directory import HEAD_STATE, run_training
from training.run.loop import resume, train_until
from training.run.resumable import processes
from training.streaming.codec import prepare_codec
from training.streaming.config import TrainConfig, preset
from training.streaming.describe import describe_world, known_kinds, take_starts
from training.streaming.heads import train_head
from training.streaming.proxy import fill_proxy, labelled_scene
from training.streaming.states import prepare_states
from training.streaming.trainer import Trainer
from training.streaming.validate import validate_and_film, write_trained
from world_model import StreamingConfig, StreamingWorld, WorldModel
from world_model.config_fields import flags
from world_model.io.checkpoint import find_world, read_config
from world_model.streaming.states.conditioner import StateConditioner
from world_model.streaming.states.config import StatesConfig

# What a world keeps that is trained on from.
OF_DENOISER = ("network", "patch", "width", "depth", "num_heads", "parts", "context")
OF_DENOISER += ("blend_contrast",)
OF_SAMPLER = ("num_steps", "noise_scale", "change_threshold")
OF_WORLD = ("action_names", "success_on_termination", "max_episode_steps")
IN_ANY_ORDER = ("hidden", "poses", "points")


def main(config: TrainConfig) -> Path:
    """Train; returns the world's directory. A run that was stopped goes on where it was."""

    def prepare_data(config: TrainConfig) -> None:
        collect_absent(config, tracked_kinds(config)["hidden"])
        if config.proxy and config.init is None:
            labelled_scene(config.data, config.poses)  # it can be made, before videos are read

    for data in (config.data, *config.more_data):
        refuse_published(data)
    return run_training(train, config, FREE, prepare=prepare_data)


def train(config: TrainConfig, accelerator: Accelerator) -> Path:
    """All phases of a run."""
    trainer, world, validation = prepare(config, accelerator)
    if trainer.fraction() < config.heads_from and accelerator.is_main_process:
        # Of an earlier end of the run, which is given more time: its head read another denoiser.
        (config.out / HEAD_STATE).unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    train_until(
        config.heads_from if world.conditioner.head_learns else 1.0,
        trainer,
        config,
        name="denoiser",
        shown=("loss/denoiser",),
        validate=lambda: validate_and_film(trainer, world, validation, config),
    )
    trainer.swap_average()
    head_loss = run_head(trainer, world, config)
    directory = config.out / "world"
    if accelerator.is_main_process:
        before = earlier_training(config)
        more = {"head_loss": head_loss, "before": before}
        write_trained(trainer, world, validation, config, directory, **more)
    return directory


def prepare(
    config: TrainConfig, accelerator: Accelerator
) -> tuple[Trainer, StreamingWorld, ClipStore]:
    """Data in device memory, a fresh or resumed world, and its trainer."""
    first = load_world(config.init, config.name) if config.init is not None else None
    kinds = tracked_kinds(config)
    store = ClipStore(config.data, "train", accelerator.device, config.more_data, **kinds)
    validation = ClipStore(config.data, "val", accelerator.device, **kinds)
    if not store.states and config.network == "transformer" and first is None:
        accelerator.print(
            "no states are recorded: `--preset video` learns more from frames and actions alone, "
            "and `irasim label` may find bodies in the frames (docs/train.md)"
        )
    if first is not None:
        if config.proxy and (first.config.states is None or not first.config.states.proxy):
            raise ValueError(
                f"--init {config.init} has no proxy, which a world is made with: leave out --proxy "
                "or --init"
            )
        check_fits(first, store, config.init)
        check_kept(config, first.config)
        world = first
    else:
        codec_config, codec = prepare_codec(config, store, accelerator)
        world_config = describe_world(config, store, codec_config)
        starts = take_starts(config.data, "val", config.start_frames, config.max_starts)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            world = StreamingWorld(world_config, starts).eval()
        world.codec = codec
        conditioner = world.conditioner
        if isinstance(conditioner, StateConditioner) and conditioner.proxy is not None:
            fill_proxy(conditioner.proxy, world_config, config.data)
    world.to(accelerator.device)
    prepare_states(world, store, config, accelerator)
    trainer = Trainer(world, store, config, accelerator)
    resume(trainer, config.out)
    accelerator.print(
        f"{store.num_episodes} episodes, {len(store.frames):,} frames; "
        f"{sum(p.numel() for p in world.parameters()) / 1e6:.1f} M parameters; "
        f"{processes(accelerator)} on {accelerator.device}"
    )
    return trainer, world, validation


def tracked_kinds(config: TrainConfig) -> dict[str, Any]:
    """Hidden states, which of them are poses, and the orders of their symmetry: of the world that
    is trained on from, if any."""
    hidden, poses = config.hidden, config.poses
    if config.init is not None:
        first, _ = read_config(find_world(config.init))
        if isinstance(first, StreamingConfig):
            return known_kinds(first)
    plane = labelled_plane(config.data, poses)
    symmetries = () if plane is None else plane.symmetries
    return {"hidden": hidden, "poses": poses, "symmetries": symmetries}


def load_world(directory: Path, name: str) -> StreamingWorld:
    """The world that a run goes on from, by the name of the one that it makes.

    Raises:
        ValueError: It is of another engine.
    """
    world = WorldModel.from_pretrained(directory)
    if not isinstance(world, StreamingWorld):
        raise ValueError(
            f"{directory} is of the {world.config.engine} engine; --init takes a streaming world"
        )
    world.config = dataclasses.replace(world.config, name=name)
    return world


def check_fits(world: StreamingWorld, store: ClipStore, directory: Path | None) -> None:
    """Raise ValueError unless a world's frames, actions and states are those of the episodes."""
    config = world.config
    mine = (config.height, config.width, config.action_dim, sorted(config.tracked))
    theirs = (*store.frames.shape[1:3], store.actions.shape[1], sorted(store.states))
    if mine != theirs:
        raise ValueError(
            f"{directory} has frames of {mine[0]} x {mine[1]}, {mine[2]} action components and "
            f"states {mine[3]}; the episodes have {theirs[0]} x {theirs[1]}, {theirs[2]} and "
            f"{theirs[3]}. Train on episodes of the world's own environment, or without --init"
        )


def check_kept(config: TrainConfig, world: StreamingConfig) -> None:
    """Raise ValueError if a run asks for what the world that it goes on from has otherwise, and
    keeps. What its preset says is no such wish."""
    states = world.states or StatesConfig()
    planar = states.planar
    kept = {
        **{name: getattr(world.denoiser, name) for name in OF_DENOISER},
        **{name: getattr(world.sampler, name) for name in OF_SAMPLER},
        **{name: getattr(world, name) for name in OF_WORLD},
        "codec": world.codec.kind,
        "states": world.states is not None,
        "hidden": tuple(sorted(states.hidden)),
        "poses": tuple(sorted(planar.poses)),
        "points": tuple(sorted((*planar.points, *(["action"] * planar.action)))),
        "mask_radii": planar.mask_radii,
        "refinement_iterations": states.refinement_iterations,
        "reward_frequencies": states.reward_frequencies,
    }
    usual = preset(config.preset)
    for name, value in kept.items():
        asked = getattr(config, name)
        if asked == getattr(usual, name):
            continue
        if value != (tuple(sorted(asked)) if name in IN_ANY_ORDER else asked):
            raise ValueError(
                f"{flags([name])} is {asked}, but {config.init} has {value} and keeps it: leave "
                "it out, or train a new world, without --init"
            )


def run_head(trainer: Trainer, world: StreamingWorld, config: TrainConfig) -> float:
    """The head's phase: its share of the denoiser's steps. Nothing to do for a world without, or
    whose head has nothing to learn."""
    reads = world.config.reward_head or world.config.observations
    if not reads or not world.conditioner.head_learns:
        return 0.0
    share = (1 - config.heads_from) / max(config.heads_from, 1e-9)
    return train_head(
        world,
        trainer.store,
        config,
        trainer.accelerator,
        first_step=trainer.progress.step,
        num_steps=max(1, round(share * trainer.progress.step)),
    )


def earlier_training(config: TrainConfig) -> list[dict[str, Any]]:
    """How the world was trained that this run went on from, and the one before that, and so on: the
    oldest first, without their configs."""
    if config.init is None:
        return []
    path = find_world(config.init) / "train.json"
    if not path.is_file():
        return []
    report = read_json(path)
    before = report.pop("before", [])
    return [*before, {key: value for key, value in report.items() if key != "config"}]
