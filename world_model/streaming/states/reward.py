"""The reward model of a world that predicts states: reward and end from the states alone.

Dimensions: S components of all states.
"""

import torch
from torch import Tensor, nn

from world_model.streaming.conditioning import features, num_features
from world_model.streaming.config import StreamingConfig


class StateReward(nn.Sequential):
    """Reward and logit of the end."""

    def __init__(self, config: StreamingConfig):
        width, frequencies = config.denoiser.head_width, config.denoiser.action_frequencies
        super().__init__(
            nn.Linear(num_features(config.state_dim, frequencies), width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2),
        )
        self.frequencies = frequencies

    def forward(self, states: Tensor) -> Tensor:
        """States (..., S), scaled so that their bounds are -1 and 1 -> (..., 2), float32."""
        with torch.autocast(states.device.type, enabled=False):
            return super().forward(features(states.float(), self.frequencies))
