"""Starts of an imported world: the first frames of a published dataset's episodes."""

from pathlib import Path
from typing import Literal

import numpy as np
import torch

from training.data.episodes import read_json
from training.data.irasim.annotation import content_path
from training.data.irasim.content import read_content
from world_model import Start, Starts, WorldModel
from world_model.frames import pixels_to_frames


def read_starts(
    world: WorldModel,
    root: Path,
    split: Literal["train", "val", "test"] = "test",
    *,
    source: Literal["video", "latents"] = "video",
    camera: int | str = 0,
    count: int = 64,
) -> Starts:
    """The first frames of up to `count` episodes, in the order of their ids.

    Args:
        world: The world they are for: frames of videos are resized to its size, latents decoded by
            its codec.
        root: Directory that holds annotation/, and videos/ or latent_videos/.
        split: Which annotations.
        source: Where the frames are from.
        camera: Which of an annotation's videos.
        count: Most starts to read.

    Raises:
        ValueError: There are no episodes, or one is broken; the message names its file.
    """
    folder = root / "annotation" / split
    annotations = sorted(folder.glob("[!.]*.json"))[:count]
    if not annotations:
        raise ValueError(f"{folder}: holds no annotations (ID.json); is it another split?")
    no_actions = np.zeros((0, world.config.action_dim), np.float32)
    return Starts(
        [
            Start(
                frames=_first_frame(
                    world, root / content_path(path, read_json(path), source, camera), source
                ),
                actions=no_actions,
                episode_id=path.stem,
            )
            for path in annotations
        ]
    )


@torch.no_grad()
def _first_frame(world: WorldModel, path: Path, source: Literal["video", "latents"]) -> np.ndarray:
    """uint8 (1, H, W, 3)."""
    config = world.config
    content = read_content(path, source, 0, 1, (config.height, config.width))
    if source == "video":
        return content.numpy()
    if tuple(content.shape[1:]) != config.latent_shape:
        raise ValueError(
            f"{path}: latents have shape {tuple(content.shape[1:])}, the world's have "
            f"{config.latent_shape}"
        )
    return pixels_to_frames(world.codec.decode(content.to(world.device))).cpu().numpy()
