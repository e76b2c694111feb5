"""What the streaming denoiser's tokens are too coarse for, drawn by convolutions.

Dimensions: C channels, h w latent cells, N tokens.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from world_model.streaming.conditioning import ControlAtPlace
from world_model.streaming.config import StreamingConfig


class Detail(nn.Module):
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
        self.factor = 2 if shape.patch % 2 == 0 else 1  # latent cells per cell here
        self.patch = shape.patch // self.factor
        self.rows = config.grid[0]
        cell = channels * self.factor**2
        self.from_tokens = nn.Linear(shape.width, self.channels * self.patch**2)
        cells = (config.grid[0] * self.patch, config.grid[1] * self.patch)
        self.control_at_cell = ControlAtPlace(config, cells, self.width, self.channels)
        self.first = nn.Conv2d(2 * cell + self.channels, self.width, 3, padding=1)
        self.second = nn.Conv2d(self.width, self.width, 3, padding=1)
        self.last = nn.Conv2d(self.width, cell, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(self, tokens: Tensor, noisy: Tensor, previous: Tensor, at_cell: Tensor) -> Tensor:
        """Tokens (..., N, width), latents (..., C, h, w), the control at each cell (..., cells,
        channels) -> (..., C, h, w)."""
        tokens = tokens.reshape(-1, *tokens.shape[-2:])
        told = rearrange(
            self.from_tokens(tokens.to(self.from_tokens.weight.dtype)),
            "b (r s) (c p q) -> b (r p) (s q) c",
            r=self.rows,
            p=self.patch,
            q=self.patch,
        )
        told = told + at_cell.reshape(told.shape)
        pixels = rearrange(
            torch.cat((noisy, previous), dim=-3).flatten(0, -4),
            "b c (r i) (s j) -> b r s (c i j)",
            i=self.factor,
            j=self.factor,
        )
        # Channels last, where convolutions are quicker.
        cells = torch.cat((pixels.to(told.dtype), told), dim=-1).permute(0, 3, 1, 2)
        hidden = F.relu(self.first(cells.to(self.first.weight.dtype)), inplace=True)
        hidden = F.relu(self.second(hidden), inplace=True)
        return rearrange(
            self.last(hidden).permute(0, 2, 3, 1),
            "b r s (c i j) -> b c (r i) (s j)",
            i=self.factor,
            j=self.factor,
        ).reshape(noisy.shape)
