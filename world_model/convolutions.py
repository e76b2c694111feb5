"""What the convolutional networks share: residual blocks, and pictures that are moved.

Dimensions: B batch, C channels, n m cells, H W pixels, E width of an embedding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Residual(nn.Module):
    """Two convolutions, modulated by an embedding (FiLM: Perez et al., arXiv 1709.07871)."""

    def __init__(self, channels: int, embedding: int):
        super().__init__()
        self.norm = nn.GroupNorm(8, channels)
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        for parameter in (*self.modulation.parameters(), *self.second.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """(B, channels, n, m) and (B, E) -> (B, channels, n, m)."""
        scale, shift = self.modulation(embedded)[:, :, None, None].chunk(2, dim=1)
        hidden = self.first(F.silu(self.norm(x) * (1 + scale) + shift))
        return x + self.second(F.silu(hidden))


class Level(nn.Module):
    """Residual blocks of one resolution, one after the other."""

    def __init__(self, channels: int, embedding: int, depth: int):
        super().__init__()
        self.blocks = nn.ModuleList(Residual(channels, embedding) for _ in range(depth))

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """(B, channels, n, m) and (B, E) -> (B, channels, n, m)."""
        for block in self.blocks:
            x = block(x, embedded)
        return x


def warped(picture: Tensor, flow: Tensor, grid: Tensor, mode: str = "bilinear") -> Tensor:
    """A picture moved by a flow.

    Args:
        picture: (B, C, H, W).
        flow: How far beside it each pixel comes from, (B, 2, H, W): across, down, in half sides.
        grid: Where pixels are, as `centres` has them.
        mode: How pixels are found in between, as `grid_sample` has it.
    """
    where = grid + flow.permute(0, 2, 3, 1)
    return F.grid_sample(picture, where, mode, align_corners=False, padding_mode="border")


def resized(picture: Tensor, size: tuple[int, ...] | torch.Size) -> Tensor:
    """(B, C, H, W) at another size, bilinear."""
    if picture.shape[-2:] == tuple(size):
        return picture
    return F.interpolate(picture, size=tuple(size), mode="bilinear", align_corners=False)


def centres(height: int, width: int) -> Tensor:
    """Centres of pixels in [-1, 1], (1, height, width, 2): across, down."""
    down = (2 * torch.arange(height) + 1) / height - 1
    across = (2 * torch.arange(width) + 1) / width - 1
    return torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1)[None]
