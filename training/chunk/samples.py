"""Sample videos of a chunk model: validation windows predicted from their first frame.

Dimensions: T frames, C channels, h w latent size (or pixels), H W pixels.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.chunk.batches import to_latents
from training.chunk.config import VAE_SCALE
from training.chunk.trainer import ChunkTrainer
from world_model import sample_chunk
from world_model.frames import pixels_to_frames
from world_model.runtime.counter_rng import counted_noise
from world_model.video import write_video

SAMPLE_NOISE = 5  # the stream of a sample's first noise
FPS = 4.0  # as the reference shows its samples


@torch.no_grad()
def write_samples(trainer: ChunkTrainer, directory: Path, vae: Any) -> None:
    """Predict evenly spaced validation windows and write each, true frames above predicted.

    The windows are spread over the processes; the weights are used as they are.

    Args:
        trainer: Its denoiser samples.
        directory: Gets WINDOW.mp4 of each.
        vae: An AutoencoderKL, or None: then three channels of latents are shown.
    """
    config, accelerator, windows = trainer.config, trainer.accelerator, trainer.validation
    trainer.denoiser.eval()
    directory.mkdir(parents=True, exist_ok=True)
    chosen = np.linspace(0, len(windows) - 1, min(config.samples, len(windows)), dtype=int)
    for index in chosen[accelerator.process_index :: accelerator.num_processes].tolist():
        window = windows[index]
        true = to_latents(window.content.to(accelerator.device))[None]  # (1, T, C, h, w)
        seeds = torch.tensor([config.seed], device=accelerator.device)
        numbers = torch.tensor([-1 - index], device=accelerator.device)
        with accelerator.autocast():
            predicted = sample_chunk(
                trainer.denoiser,
                true[:, :1],
                window.actions.to(accelerator.device)[None],
                noise=counted_noise(seeds, numbers, tuple(true.shape[1:]), stream=SAMPLE_NOISE),
                num_steps=config.sample_steps,
            )
        frames = to_frames(torch.cat([true, predicted]), vae, config.source)
        write_video(
            directory / f"{index:06d}.mp4", np.concatenate(list(frames), 1), FPS, lossless=False
        )


def to_frames(latents: Tensor, vae: Any, source: str) -> np.ndarray:
    """Frames uint8 (2, T, H, W, 3) of true and predicted latents (2, T, C, h, w)."""
    if source == "video":
        return pixels_to_frames(latents).cpu().numpy()
    if vae is not None:
        # One frame at a time, as a decoder takes far more memory than its picture.
        scaled = (latents / vae.config.scaling_factor).flatten(0, 1)
        frames = [pixels_to_frames(vae.decode(latent[None]).sample)[0] for latent in scaled]
        return torch.stack(frames).unflatten(0, latents.shape[:2]).cpu().numpy()
    low, high = latents[0, :, :3].amin(), latents[0, :, :3].amax()
    shown = pixels_to_frames(2 * (latents[:, :, :3] - low) / (high - low).clamp(min=1e-6) - 1)
    return shown.cpu().numpy().repeat(VAE_SCALE, 2).repeat(VAE_SCALE, 3)
