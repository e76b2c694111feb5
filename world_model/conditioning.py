"""What a frame is conditioned on: its noise level, and the action that led to it.

Dimensions: A action, N tokens.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.config import StreamingConfig


class Condition(nn.Module):
    """Embeds a frame's noise level and the action that led to it."""

    def __init__(self, config: StreamingConfig):
        super().__init__()
        shape = config.denoiser
        self.frequencies = shape.action_frequencies
        self.action = nn.Sequential(
            nn.Linear(num_action_features(config), shape.condition_width),
            nn.SiLU(),
            nn.Linear(shape.condition_width, shape.condition_width),
        )
        self.no_action = nn.Parameter(torch.zeros(shape.condition_width))
        self.level = nn.Sequential(
            nn.Linear(64, shape.condition_width),
            nn.SiLU(),
            nn.Linear(shape.condition_width, shape.condition_width),
        )

    def forward(self, levels: Tensor, actions: Tensor, acted: Tensor) -> Tensor:
        """Levels (...), actions (..., A) in [-1, 1], acted (...) -> (..., condition_width)."""
        features = action_features(actions, self.frequencies)
        action = torch.where(acted[..., None], self.action(features), self.no_action)
        return F.silu(action + self.level(level_features(levels, 64)))


class ActionAtPlace(nn.Module):
    """What an action means at each place of the picture, added to that place's token.

    adaLN treats all places alike. For a target position, as Push-T's, a token must know whether
    the target is near it, and learning that through adaLN alone takes long.
    """

    def __init__(self, config: StreamingConfig, num_tokens: int):
        super().__init__()
        width = config.denoiser.width
        self.frequencies = config.denoiser.action_frequencies
        self.action = nn.Linear(num_action_features(config), width)
        self.place = nn.Parameter(torch.randn(num_tokens, width))
        self.out = nn.Linear(width, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, actions: Tensor, acted: Tensor) -> Tensor:
        """Actions (..., A) in [-1, 1], acted (...) -> (..., N, width), zero where none acted."""
        action = self.action(action_features(actions, self.frequencies))[..., None, :]
        return self.out(F.gelu(action + self.place, approximate="tanh")) * acted[..., None, None]


def num_action_features(config: StreamingConfig) -> int:
    """Length of what `action_features` gives."""
    return config.action_dim * (1 + 2 * config.denoiser.action_frequencies)


def action_features(actions: Tensor, frequencies: int) -> Tensor:
    """Actions (..., A) in [-1, 1] beside their sines and cosines, half a turn and up in octaves."""
    octaves = math.pi * 2.0 ** torch.arange(
        -1, frequencies - 1, device=actions.device, dtype=actions.dtype
    )
    angles = (actions[..., None] * octaves).flatten(-2)
    return torch.cat((actions, angles.sin(), angles.cos()), dim=-1)


def level_features(levels: Tensor, width: int) -> Tensor:
    """Sinusoids of noise levels in [0, 1]: (...) -> (..., width), as DiT embeds timesteps."""
    rates = torch.exp(
        -math.log(10_000) * torch.arange(width // 2, device=levels.device) / (width // 2)
    )
    angles = 1000.0 * levels[..., None] * rates
    return torch.cat((angles.cos(), angles.sin()), dim=-1)
