"""The reward model of a world that predicts states: reward and end from the states alone.

Dimensions: S components of all states, P points and bodies in the plane, N pairs of them.
"""

import torch
from torch import Tensor, nn

from world_model.streaming.conditioning import features, num_features
from world_model.streaming.config import StreamingConfig
from world_model.streaming.states.dynamics import CHANGE_SCALE
from world_model.streaming.states.planar import Plane


class StateReward(nn.Sequential):
    """Reward and logit of the end.

    Of states alone it learns what a state is worth. Where it sees motion too, also what a step is
    worth; and as it is given how far things are from each other, that bringing them together is
    worth the same wherever they lie.
    """

    first: Tensor
    second: Tensor

    def __init__(self, config: StreamingConfig):
        states, plane = config.required_states, Plane(config)
        width = config.denoiser.head_width
        frequencies = states.reward_frequencies or config.denoiser.action_frequencies
        parts = [*plane.points, *plane.poses]
        first, second = torch.triu_indices(len(parts), len(parts), 1)
        size = num_features(config.state_dim, frequencies)
        if states.reward_sees_motion:
            size += config.state_dim + num_features(len(first), frequencies) + len(first)
        super().__init__(
            nn.Linear(size, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, 2),
        )
        self.frequencies, self.sees_motion = frequencies, states.reward_sees_motion
        self.parts, self.aspect = parts, plane.aspect
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("second", second, persistent=False)

    def forward(self, states: Tensor, before: Tensor) -> Tensor:
        """States (..., S), and those one frame before them, scaled so that their bounds are -1 and
        1 -> (..., 2), float32."""
        with torch.autocast(states.device.type, enabled=False):
            states = states.float()
            seen = [features(states, self.frequencies)]
            if self.sees_motion:
                before = before.float()
                apart, apart_before = self.distances(states), self.distances(before)
                seen += [
                    CHANGE_SCALE * (states - before),
                    features(apart, self.frequencies),
                    CHANGE_SCALE * (apart - apart_before),
                ]
            return super().forward(torch.cat(seen, dim=-1))

    def distances(self, states: Tensor) -> Tensor:
        """How far points and bodies are from each other by states (..., S): (..., N)."""
        if not len(self.first):
            return states[..., :0]
        places = torch.stack([states[..., part][..., :2] for part in self.parts], dim=-2)
        away = places[..., self.first, :] - places[..., self.second, :]
        squares = away[..., 0].square() + (self.aspect * away[..., 1]).square()
        return (squares + 1e-12).sqrt()  # its slope at 0 is no number
