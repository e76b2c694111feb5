"""Reads the states off one picture: where a rollout begins, and they are not known yet.

Dimensions: C channels, h w latent cells, K keypoints, S components of all states.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.conditioning import coordinates
from world_model.config import StreamingConfig
from world_model.plane import Plane


class Reader(nn.Module):
    """Convolutions, and the centres of what they find (spatial softmax: Levine et al., arXiv
    1504.00702, section 5.2)."""

    width = 64
    num_keypoints = 32
    pixels_per_cell = 4

    def __init__(self, config: StreamingConfig):
        super().__init__()
        channels, height, width = config.latent_shape
        cell = max(1, self.pixels_per_cell // config.codec.downscale)
        self.plane = Plane(config)
        self.first = nn.Conv2d(channels, self.width, cell, stride=cell)
        self.second = nn.Conv2d(self.width, self.width, 3, padding=1)
        # With holes, so that most of a body is seen and not a part of it.
        self.wider = nn.Conv2d(self.width, self.width, 3, padding=2, dilation=2)
        for parameter in self.wider.parameters():
            nn.init.zeros_(parameter)
        self.third = nn.Conv2d(self.width, self.num_keypoints, 3, padding=1)
        self.hidden = nn.Linear(3 * self.num_keypoints, 256)
        self.out = nn.Linear(256, config.state_dim)
        places = coordinates(height // cell, width // cell)
        self.register_buffer("places", places, persistent=False)

    def forward(self, latents: Tensor) -> Tensor:
        """Latents (..., C, h, w) -> states (..., S), scaled so that their bounds are -1 and 1."""
        cells = latents.reshape(-1, *latents.shape[-3:]).contiguous(
            memory_format=torch.channels_last
        )
        cells = F.relu(self.second(F.relu(self.first(cells))))
        cells = F.relu(cells + self.wider(cells))
        found = self.third(cells).flatten(2)  # (B, K, cells)
        with torch.autocast(latents.device.type, enabled=False):  # 8 bits would be too few
            found = found.float()
            weights = found.softmax(dim=-1)
            centres = (weights @ self.places).flatten(1)  # (B, 2 K)
            strengths = (weights * found).sum(-1)
            states = self.out(F.relu(self.hidden(torch.cat((centres, strengths), dim=-1))))
        return self.plane.upright(states.reshape(*latents.shape[:-3], -1))
