"""Small chunk denoisers with random weights, for tests."""

from typing import Any

import torch
from torch import Tensor, nn

from world_model import IRASim, IRASimConfig, UNet3D, UNet3DConfig


def tiny_irasim(seed: int = 0, **fields: Any) -> IRASim:
    """A transformer of 4 x 6 latents and 4 frames in eval mode."""
    defaults = {
        "latent_size": (4, 6),
        "hidden_size": 32,
        "depth": 2,
        "num_heads": 4,
        "action_dim": 2 if fields.get("action_embedding") == "linear" else 7,
        "action_embedding": "mlp",
        "num_frames": 4,
    }
    denoiser = IRASim(IRASimConfig(**defaults | fields))
    _randomise(denoiser, seed)
    return denoiser


def tiny_unet(seed: int = 0, **fields: Any) -> UNet3D:
    """A U-Net of 4 frames in eval mode."""
    defaults = {"channels": 4, "dim": 8, "action_dim": 7, "action_width": 16, "num_frames": 4}
    denoiser = UNet3D(UNet3DConfig(**defaults | fields))
    _randomise(denoiser, seed)
    return denoiser


def chunk_inputs(denoiser: IRASim | UNet3D, batch: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Random x, t and actions for a tiny denoiser."""
    config = denoiser.config
    if isinstance(config, IRASimConfig):
        shape = (config.in_channels, *config.latent_size)
    else:
        shape = (config.channels, 8, 8)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(batch, config.num_frames, *shape, generator=generator)
    actions = torch.randn(batch, config.num_frames - 1, config.action_dim, generator=generator)
    return x, torch.tensor([700, 3])[:batch], actions


def _randomise(model: nn.Module, seed: int):
    """Draws all parameters: a fresh denoiser predicts zero whatever it is given."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.1, generator=generator)
    model.eval()
