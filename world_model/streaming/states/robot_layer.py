"""What a robot looks like by what it observes of itself.

Before a fixed camera an arm is a function of its joints, or of where its tip is. A network gives
colour and alpha of each pixel from these numbers alone (a spatial decoder, as of the generators of
Dosovitskiy et al., arXiv 1411.5928), so the robot is as sharp after a thousand steps as after one.

Colour is multiplied with alpha, and both are what the last layer says: bounded by a sigmoid, alpha
goes to zero everywhere at first, since the robot covers little, and does not come back.

Dimensions: n numbers, h w pixels.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.streaming.conditioning import features, num_features

# Channels from the coarsest level, of a sixteenth of the picture's size, to the finest.
CHANNELS = (64, 48, 32, 24, 16)
OCTAVES = 4


class RobotLayer(nn.Module):
    """Paints a robot of numbers (..., n) in [-1, 1] over pictures (..., 3, h, w)."""

    def __init__(self, size: int, height: int, width: int):
        super().__init__()
        self.picture = height, width
        factor = 2 ** (len(CHANNELS) - 1)
        self.coarse = -(-height // factor), -(-width // factor)
        cells = self.coarse[0] * self.coarse[1]
        self.hidden = nn.Linear(num_features(size, OCTAVES), 256)
        self.spread = nn.Linear(256, CHANNELS[0] * cells)
        self.levels = nn.ModuleList(
            nn.Conv2d(coarser, finer, 3, padding=1) for coarser, finer in pairwise(CHANNELS)
        )
        self.out = nn.Conv2d(CHANNELS[-1], 4, 3, padding=1)

    def forward(self, picture: Tensor, numbers: Tensor) -> Tensor:
        """See the class."""
        cells = F.silu(self.hidden(features(numbers.flatten(0, -2), OCTAVES)))
        cells = F.relu(self.spread(cells)).unflatten(1, (CHANNELS[0], *self.coarse))
        cells = cells.contiguous(memory_format=torch.channels_last)
        for level in self.levels:
            cells = F.relu(level(F.interpolate(cells, scale_factor=2.0)))
        height, width = self.picture
        layer = self.out(cells)[..., :height, :width].float().unflatten(0, numbers.shape[:-1])
        colour, alpha = layer.split((3, 1), dim=-3)
        return torch.addcmul(picture + colour, picture, alpha, value=-1)
