"""The reward model of a world that predicts states: reward and end from the states alone.

Dimensions: S components of all states.
"""

import torch
from torch import Tensor, nn

from world_model.streaming.conditioning import features, num_features
from world_model.streaming.config import StreamingConfig
from world_model.streaming.states.dynamics import CHANGE_SCALE


class StateReward(nn.Sequential):
    """Reward and logit of the end."""

    def __init__(self, config: StreamingConfig):
        width, frequencies = config.denoiser.head_width, config.denoiser.action_frequencies
        sees_change = config.denoiser.reward_sees_change
        super().__init__(
            nn.Linear(
                num_features(config.state_dim, frequencies) + sees_change * config.state_dim, width
            ),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2),
        )
        self.frequencies, self.sees_change = frequencies, sees_change

    def forward(self, states: Tensor, before: Tensor) -> Tensor:
        """States (..., S), and those one frame before them, scaled so that their bounds are -1 and
        1 -> (..., 2), float32."""
        with torch.autocast(states.device.type, enabled=False):
            seen = features(states.float(), self.frequencies)
            if self.sees_change:
                seen = torch.cat((seen, CHANGE_SCALE * (states - before).float()), dim=-1)
            return super().forward(seen)
