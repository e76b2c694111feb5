"""The two converters between frames (uint8, H W C) and what networks see (float, C H W)."""

import torch
from einops import rearrange
from torch import Tensor


def frames_to_pixels(frames: Tensor) -> Tensor:
    """uint8 (..., H, W, C) in [0, 255] -> float32 (..., C, H, W) in [-1, 1]."""
    return rearrange(frames, "... h w c -> ... c h w").float() / 127.5 - 1.0


def pixels_to_frames(pixels: Tensor) -> Tensor:
    """Float (..., C, H, W) in [-1, 1], clipped -> uint8 (..., H, W, C), contiguous."""
    levels = ((pixels.float() + 1.0) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
    return rearrange(levels, "... c h w -> ... h w c").contiguous()
