"""Draws the change to the next frame in few denoising passes.

The path is rectified flow's, u = (1 - t) change + t noise (Liu et al., arXiv 2209.03003), walked
from t = 1 to 0 by Euler steps. For a denoiser that predicts the clean change these are DDIM's
(Song et al., arXiv 2010.02502, eq. 12): u' = (1 - t' / t) change + (t' / t) u.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from world_model.streaming.config import SamplerConfig


def sampled_levels(config: SamplerConfig, device: torch.device) -> Tensor:
    """Noise levels that `sample_change` walks through, from 1 to 0: float32 (num_steps + 1,)."""
    return torch.linspace(1, 0, config.num_steps + 1, device=device)


def sample_change(
    denoise: Callable[[Tensor, int], Tensor], noise: Tensor, config: SamplerConfig
) -> Tensor:
    """Walk from noise to a clean change.

    Args:
        denoise: (noisy change (B, C, h, w), index of its level in `sampled_levels`) -> predicted
            clean change.
        noise: Normal (B, C, h, w), of deviation `config.noise_scale`.

    Returns:
        The change (B, C, h, w), changes below the threshold set to zero.
    """
    noisy, change = noise, denoise(noise, 0)
    for step in range(1, config.num_steps):
        kept = (config.num_steps - step) / (config.num_steps - step + 1)
        noisy = (1 - kept) * change + kept * noisy
        change = denoise(noisy, step)
    return outside(change, config.change_threshold)


def outside(change: Tensor, change_threshold: float) -> Tensor:
    """Changes below the threshold become zero, those of at least twice it stay as they are.

    In between they rise twice as fast, so that the result is continuous (firm shrinkage: Gao and
    Bruce, Statistica Sinica 7, 1997).
    """
    if not change_threshold:
        return change
    shrunk = 2 * F.softshrink(change, change_threshold)
    return torch.where(shrunk.abs() < change.abs(), shrunk, change)
