"""Draws the change to the next frame in few denoising passes.

The path is rectified flow's, u = (1 - t) change + t noise (Liu et al., arXiv 2209.03003), walked
from t = 1 to 0 by Euler steps. For a denoiser that predicts the clean change these are DDIM's
(Song et al., arXiv 2010.02502, eq. 12): u' = (1 - t' / t) change + (t' / t) u.
"""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from world_model.config import SamplerConfig


def sample_change(
    denoise: Callable[[Tensor, Tensor], Tensor], noise: Tensor, config: SamplerConfig
) -> Tensor:
    """Walk from noise to a clean change.

    Args:
        denoise: (noisy change (B, C, h, w), level (B,)) -> predicted clean change.
        noise: Normal (B, C, h, w), of deviation `config.noise_scale`.

    Returns:
        The change (B, C, h, w), what lies inside the dead zone set to none.
    """
    noisy = change = noise
    for step in range(config.num_steps):
        level, lower = 1 - step / config.num_steps, 1 - (step + 1) / config.num_steps
        change = denoise(noisy, noise.new_full((len(noise),), level))
        noisy = (1 - lower / level) * change + (lower / level) * noisy
    return F.softshrink(change, config.dead_zone) if config.dead_zone else change
