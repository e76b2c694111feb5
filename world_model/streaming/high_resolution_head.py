"""The high-resolution head: convolutions for what the denoiser's tokens are too coarse for.

Dimensions: C channels, h w latent cells, N tokens.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from world_model.streaming.config import StreamingConfig


class HighResolutionHead(nn.Module):
    """Convolutions over the frame before and the noisy change.

    A token's width is less than the numbers in its patch and in the one before: with patches of 16
    pixels and width 256, a fifth of the energy of changes does not pass. Here tokens say what to do
    where (`channels` numbers per cell), and the pixels need not go through them; so does the
    control, to a cell's precision.
    """

    channels = 16
    width = 48

    def __init__(self, config: StreamingConfig):
        super().__init__()
        channels = config.latent_shape[0]
        shape = config.denoiser
        self.rows, _ = config.grid
        cells, _ = self.grid_of(config)
        self.patch = cells // self.rows
        self.factor = shape.patch // self.patch  # latent cells per cell here
        cell = channels * self.factor**2
        self.from_tokens = nn.Linear(shape.width, self.channels * self.patch**2)
        self.first = nn.Conv2d(2 * cell + self.channels, self.width, 3, padding=1)
        self.second = nn.Conv2d(self.width, self.width, 3, padding=1)
        self.last = nn.Conv2d(self.width, cell, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    @staticmethod
    def grid_of(config: StreamingConfig) -> tuple[int, int]:
        """Rows and columns of cells: two latent cells each along a side, where a patch divides."""
        patch = config.denoiser.patch
        cells = patch // 2 if patch % 2 == 0 else patch
        return config.grid[0] * cells, config.grid[1] * cells

    def forward(self, tokens: Tensor, noisy: Tensor, previous: Tensor, at_cell: Tensor) -> Tensor:
        """Tokens (..., N, width), latents (..., C, h, w), the control at each cell (..., cells,
        channels) -> (..., C, h, w)."""
        tokens = tokens.reshape(-1, *tokens.shape[-2:])
        wanted = rearrange(
            self.from_tokens(tokens.to(self.from_tokens.weight.dtype)),
            "b (r s) (c p q) -> b (r p) (s q) c",
            r=self.rows,
            p=self.patch,
            q=self.patch,
        )
        wanted = wanted + at_cell.reshape(wanted.shape)
        pixels = rearrange(
            torch.cat((noisy, previous), dim=-3).flatten(0, -4),
            "b c (r i) (s j) -> b r s (c i j)",
            i=self.factor,
            j=self.factor,
        )
        # Channels last, where convolutions are quicker.
        cells = torch.cat((pixels.to(wanted.dtype), wanted), dim=-1).permute(0, 3, 1, 2)
        hidden = F.relu(self.first(cells.to(self.first.weight.dtype)), inplace=True)
        hidden = F.relu(self.second(hidden), inplace=True)
        return rearrange(
            self.last(hidden).permute(0, 2, 3, 1),
            "b r s (c i j) -> b c (r i) (s j)",
            i=self.factor,
            j=self.factor,
        ).reshape(noisy.shape)
