"""Estimates a robot's states from one picture, where an episode begins and nobody hands them in.

Dimensions: B batch, H W pixels, S components of all states.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from world_model.anchored.config import AnchoredConfig


class StateEstimator(nn.Module):
    """Strided convolutions and two linear layers: the camera is fixed, so places may be learned."""

    width = 64

    def __init__(self, config: AnchoredConfig):
        super().__init__()
        width, cell = self.width, 16
        self.first = nn.Conv2d(3, width, 4, stride=4)
        self.second = nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.third = nn.Conv2d(width, 32, 3, stride=2, padding=1)
        self.hidden = nn.Linear(32 * (config.height // cell) * (config.width // cell), 128)
        self.out = nn.Linear(128, config.state_dim)

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> states (B, S), scaled so that their bounds are -1 and 1."""
        cells = F.silu(self.third(F.silu(self.second(F.silu(self.first(pictures))))))
        return self.out(F.silu(self.hidden(cells.flatten(1))))
