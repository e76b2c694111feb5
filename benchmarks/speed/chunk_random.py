"""A transformer of a published size with random weights, and inputs for it, to measure speed on.

B chunks at once, T frames a chunk, A action, C channels, h w latent size.
"""

import torch
from torch import Tensor

from benchmarks.speed.config import ChunkSpeedConfig
from training.chunk.config import VAE_SCALE
from world_model import IRASim, irasim_config

ACTION_DIM = 7


def random_denoiser(config: ChunkSpeedConfig, device: str) -> IRASim:
    """A transformer of random weights that predicts noise of about the deviation of noise.

    A fresh one predicts zero, whatever it computes before its last layer.
    """
    latent_size = (config.height // VAE_SCALE, config.width // VAE_SCALE)
    with torch.device(device):
        denoiser = IRASim(
            irasim_config(
                config.size,
                config.patch_size,
                latent_size=latent_size,
                num_frames=config.frames,
                action_dim=ACTION_DIM,
                action_embedding="mlp",
            )
        )
    denoiser.eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(config.seed)
    for name, parameter in denoiser.named_parameters():
        gain = 0.3 if "modulation" in name else 1.0
        deviation = gain * parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.02
        parameter.normal_(0.0, deviation, generator=generator)
    first, actions, noise = draw_inputs(config, device)
    latents = torch.cat([first, noise[:, 1:]], dim=1)
    output = denoiser(latents, torch.full((config.batch,), 500, device=device), actions)
    denoiser.final.linear.weight /= output.std()
    return denoiser


def draw_inputs(config: ChunkSpeedConfig, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """First frame (B, 1, C, h, w), actions (B, T - 1, A) and noise (B, T, C, h, w)."""
    generator = torch.Generator(device).manual_seed(config.seed + 1)
    latent = (4, config.height // VAE_SCALE, config.width // VAE_SCALE)
    shapes = ((1, *latent), (config.frames - 1, ACTION_DIM), (config.frames, *latent))
    first, actions, noise = (
        torch.randn(config.batch, *shape, generator=generator, device=device) for shape in shapes
    )
    return first, actions, noise
