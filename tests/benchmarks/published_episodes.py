"""A small dataset in Language-Table's form, a tiny autoencoder and tiny models, for evaluation."""

import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from torch import Tensor, nn

from world_model.video import write_video

SIDE = 32  # pixels; latents are 4 x 4
LENGTHS = {"a": 12, "b": 10, "c": 3, "d": 9}  # frames of each episode; c is shorter than a chunk


def write_dataset(root: Path) -> Path:
    """Episodes of a square that moves as its actions say, as videos and as latents."""
    rng = np.random.default_rng(0)
    for folder in ("annotation", "videos", "latent_videos"):
        (root / folder / "test").mkdir(parents=True)
    for name, length in LENGTHS.items():
        actions = rng.integers(-2, 3, (length - 1, 2))
        corners = np.concatenate([[[8, 8]], 8 + np.cumsum(actions, axis=0)]).clip(0, SIDE - 8)
        frames = np.full((length, SIDE, SIDE, 3), (30, 60, 120), np.uint8)
        for frame, (x, y) in zip(frames, corners, strict=True):
            frame[y : y + 8, x : x + 8] = (220, 200, 40)
        video, latents = f"videos/test/{name}.mp4", f"latent_videos/test/{name}.pt"
        write_video(root / video, frames, 10)
        torch.save({"obs": torch.from_numpy(rng.normal(size=(length, 4, 4, 4)))}, root / latents)
        annotation = {
            "episode_id": name,
            "actions": actions.tolist(),
            "video_path": video,
            "latent_video_path": latents,
        }
        (root / "annotation" / "test" / f"{name}.json").write_text(json.dumps(annotation))
    return root


def write_autoencoder(folder: Path) -> Path:
    """A randomly initialised AutoencoderKL that halves thrice."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        settings: dict[str, Any] = {
            "block_out_channels": (4, 4, 4, 4),
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 1,
            "latent_channels": 4,
            "norm_num_groups": 2,
        }
        vae = AutoencoderKL(**settings)
    vae.save_pretrained(folder)
    return folder


class Pictures(nn.Module):
    """Stands in for Inception: uint8 (B, 3, H, W) -> mean and spread of each channel (B, 6)."""

    def forward(self, frames: Tensor) -> Tensor:
        flat = frames.float().flatten(2) / 255
        return torch.cat([flat.mean(dim=2), flat.std(dim=2)], dim=1)


class Detector(nn.Module):
    """Stands in for I3D: the same call, and as many checks as a script can make."""

    def forward(
        self,
        x: Tensor,
        rescale: bool = False,
        resize: bool = False,
        return_features: bool = False,
    ) -> Tensor:
        assert rescale and resize and return_features and not self.training
        assert x.dtype == torch.uint8 and x.dim() == 5 and x.size(1) == 3
        pixels = x.float() / 127.5 - 1
        halves = pixels.chunk(2, dim=4)  # left and right: mirroring shows
        moved = (pixels[:, :, 1:] - pixels[:, :, :-1]).abs()
        left, right = halves[0].mean(dim=(2, 3, 4)), halves[1].mean(dim=(2, 3, 4))
        return torch.cat([left, right, moved.mean(dim=(2, 3, 4))], dim=1)


def save_scripted(module: nn.Module, path: Path) -> Path:
    """Save a module as the published detectors are: TorchScript."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*torch.jit", category=DeprecationWarning)
        torch.jit.save(torch.jit.script(module.eval()), path)
    return path


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights that are a function of their names, as the figures in the tests were made with."""
    found = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            found[name] = torch.zeros((), dtype=torch.int64)
        elif name.endswith(("running_var", "bn.weight")):
            found[name] = torch.ones(shape)
        else:
            generator = torch.Generator().manual_seed(sum(map(ord, name)))
            scale = math.sqrt(2 / math.prod(shape[1:])) if len(shape) > 1 else 0.1
            found[name] = torch.randn(shape, generator=generator) * scale
    return found
