"""The world that a chunk model's training ends in."""

from pathlib import Path
from typing import Any

import numpy as np

from training.chunk.config import ChunkTrainConfig
from training.chunk.import_world import ARM_HIGH, ARM_LOW, ARM_NAMES, DATASETS
from training.chunk.samples import FPS
from training.chunk.trainer import ChunkTrainer
from training.data.environment import environment_bounds
from training.data.episodes import read_json
from training.data.irasim.annotation import recorded
from training.data.irasim.starts import read_starts
from training.streaming.describe import data_bounds
from world_model.chunk.reference.convert import Actions, codec_config, import_denoiser
from world_model.config import KeysConfig

MAX_STARTS = 64
# Episodes whose actions are inspected where nothing else gives their bounds.
MAX_EPISODES = 1000


def write_world(trainer: ChunkTrainer, config: ChunkTrainConfig, vae: Any, directory: Path) -> None:
    """Write a world of the weights as they are, its starts from the validation set.

    Args:
        trainer: Its denoiser goes into the world.
        config: Of the run.
        vae: The AutoencoderKL of the latents; None where there are none.
        directory: Of the world.
    """
    windows = trainer.validation
    content = windows[0].content
    if config.source == "video":
        size = tuple(content.shape[1:3])
    else:
        downscale = codec_config(vae).downscale
        size = tuple(downscale * side for side in content.shape[-2:])
    annotation = read_json(config.data / "annotation" / "val" / f"{windows.episodes[0]}.json")
    known = DATASETS.get(config.dataset or "")
    world = import_denoiser(
        trainer.denoiser,
        name=config.out.name,
        actions=describe_actions(config, annotation),
        fps=known.fps if known else float(annotation.get("fps", FPS)),
        vae=vae,
        size=size,
        keys=KeysConfig(directions=known.directions, velocity=known.key_velocity)
        if known
        else None,
    )
    world.starts = read_starts(
        world, config.data, "val", source=config.source, camera=config.camera, count=MAX_STARTS
    )
    world.save_pretrained(directory)


def describe_actions(config: ChunkTrainConfig, annotation: dict[str, Any]) -> Actions:
    """The dataset's actions, the environment's if it can be made here, or what the data show."""
    if config.dataset is not None:
        known = DATASETS[config.dataset]
        return Actions(low=known.low, high=known.high, scale=config.action_scale, names=known.names)
    if config.kind == "arm":
        return Actions(low=ARM_LOW, high=ARM_HIGH, scale=config.action_scale, names=ARM_NAMES)
    spaces = environment_bounds(annotation.get("env_id"), annotation.get("env_kwargs", {}))
    low, high = spaces.get("action") or data_bounds(_recorded_actions(config))
    return Actions(low=low, high=high, scale=config.action_scale)


def _recorded_actions(config: ChunkTrainConfig) -> np.ndarray:
    """Actions (N, A) of the first episodes, in their own units."""
    paths = sorted((config.data / "annotation" / "train").glob("[!.]*.json"))[:MAX_EPISODES]
    return np.concatenate([recorded(path, read_json(path), "direct") for path in paths])
