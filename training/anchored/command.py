"""`irasim train --preset robot_video`: from a robot's recordings to an anchored world."""

from pathlib import Path

import torch
from accelerate import Accelerator

from training.anchored.config import AnchoredTrainConfig
from training.anchored.detail import choose_detail
from training.anchored.references import FEWEST_EPISODES
from training.anchored.rest import choose_rest
from training.anchored.trainer import PainterTrainer
from training.data.clips import ClipStore
from training.data.irasim.layout import refuse_published
from training.run.config import FREE
from training.run.directory import run_training
from training.run.loop import resume, train_until
from training.streaming.describe import (
    data_bounds,
    describe_episodes,
    state_bounds,
    take_starts,
)
from training.streaming.validate import validate_and_film, write_trained
from world_model.anchored.config import AnchoredConfig, PainterConfig
from world_model.anchored.world import AnchoredWorld
from world_model.config import ObservationConfig


def main(config: AnchoredTrainConfig) -> Path:
    """Train; returns the world's directory. A run that was stopped goes on where it was."""
    for data in (config.data, *config.more_data):
        refuse_published(data)
    return run_training(train, config, FREE)


def train(config: AnchoredTrainConfig, accelerator: Accelerator) -> Path:
    """All of a run."""
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
            validate=lambda: validate_and_film(trainer, trainer.world, validation, config),
        )
    finally:
        torch.set_flush_denormal(False)
    trainer.swap_average()
    if config.detail_contrast is None:
        before, now = choose_detail(trainer.world, validation, config.validation_episodes)
        contrast = trainer.world.config.painter.detail_contrast
        taken = (
            f"that of the nearest reference with contrast {contrast:g}, which makes it {now:.2f}"
        )
        accelerator.print(
            f"frames are {before:.2f} as sharp as recorded ones: fine detail is "
            f"{taken if contrast else 'as it is'} (--detail-contrast)"
        )
    if config.rest_within is None and trainer.world.references is not None:
        tried = choose_rest(trainer.world, validation, config.validation_episodes)
        within = trainer.world.config.painter.rest_within
        accelerator.print(
            f"first steps: {tried[within]:.2f} dB where frames are painted once the robot has "
            f"moved by {within:g}, {tried[0.0]:.2f} dB where all are (--rest-within)"
        )
    directory = config.out / "world"
    error = trainer.fitted.error
    write_trained(trainer, trainer.world, validation, config, directory, dynamics_error=error)
    return directory


def prepare(
    config: AnchoredTrainConfig, accelerator: Accelerator
) -> tuple[PainterTrainer, ClipStore]:
    """Data in device memory, a fresh world with fitted dynamics, and its trainer."""
    store = ClipStore(config.data, "train", accelerator.device, config.more_data)
    validation = ClipStore(config.data, "val", accelerator.device)
    spaces, actions, own = describe_episodes(config.data, store)
    low, high = spaces.get("action") or data_bounds(actions)
    _, height, width, _ = store.frames.shape
    references = min(config.references, len(store.frames))
    if store.num_episodes <= FEWEST_EPISODES and references:
        accelerator.print(f"{store.num_episodes} episodes: too few for references, none are kept")
        references = 0
    if references:
        size = references * height * width * 3 / 2**20
        accelerator.print(f"{references} references are kept, {size:.0f} MiB (--references)")
    world_config = AnchoredConfig(
        name=config.name,
        height=height,
        width=width,
        action_low=low,
        action_high=high,
        action_names=config.action_names,
        observations={
            name: ObservationConfig(low=low, high=high)
            for name, (low, high) in state_bounds(store, spaces).items()
        },
        success_on_termination=config.success_on_termination,
        max_episode_steps=config.max_episode_steps,
        lags=config.lags,
        painter=PainterConfig(
            coarse=config.coarse,
            channels=config.channels,
            refiner_channels=config.refiner_channels,
            references=references,
            references_per_frame=min(config.references_per_frame, max(1, references)),
            detail_contrast=config.detail_contrast or 0.0,
            rest_within=config.rest_within or 0.0,
        ),
        **own,
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
