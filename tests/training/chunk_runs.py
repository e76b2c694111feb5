"""Small data and small runs of chunk models."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from training.chunk.command import prepare
from training.chunk.config import ChunkTrainConfig, chunk_tiny
from training.chunk.trainer import ChunkTrainer
from world_model.video import write_video

NUM_STEPS = 9  # actions of an episode


def write_dataset(root: Path, kind: str) -> None:
    """Episodes in the published layout, as videos and as latents."""
    for split, count in (("train", 5), ("val", 3)):
        for folder in ("annotation", "videos", "latent_videos"):
            (root / folder / split).mkdir(parents=True)
        for i in range(count):
            rng = np.random.default_rng((count, i))
            video, latents = f"videos/{split}/{i}.mp4", f"latent_videos/{split}/{i}.pt"
            frames = np.full((NUM_STEPS + 1, 32, 32, 3), 40 * i, np.uint8)
            for t in range(NUM_STEPS + 1):
                frames[t, 2 * t : 2 * t + 8, 8:16] = 200
            write_video(root / video, frames, 4)
            torch.save(
                torch.from_numpy(0.5 * rng.normal(size=(NUM_STEPS + 1, 4, 8, 8))), root / latents
            )
            annotation = {"video_path": video, "latent_video_path": latents}
            if kind == "arm":
                annotation["state"] = rng.normal(size=(NUM_STEPS + 1, 7)).tolist()
                annotation["continuous_gripper_state"] = rng.random(NUM_STEPS + 1).tolist()
            else:
                annotation["actions"] = rng.normal(size=(NUM_STEPS, 2)).tolist()
            (root / f"annotation/{split}/{i}.json").write_text(json.dumps(annotation))


def config_for(data: Path, out: Path, **changes) -> ChunkTrainConfig:
    settings = {"cpu": True, "max_steps": 8, "num_frames": 4, "validation_interval": 4}
    settings |= {"workers": 0, "action_scale": (1.0, 1.0), "sample_steps": 4}
    return dataclasses.replace(chunk_tiny(), data=data, out=out, **(settings | changes))


def losses(trainer: ChunkTrainer, count: int) -> list[float]:
    return [trainer.train_step()["loss"] for _ in range(count)]


def fresh(config: ChunkTrainConfig) -> ChunkTrainer:
    return prepare(config, Accelerator(cpu=True))
