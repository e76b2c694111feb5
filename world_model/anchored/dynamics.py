"""How a robot's states follow its actions: a linear law, fitted by least squares.

A robot under position or velocity control tracks what it is told with a lag of a few steps, which
is a linear function of its last actions. Such a law is fitted in seconds and runs freely for an
episode without drifting, since the actions hold it (docs/lab/video_worlds.md has figures).

Dimensions: B batch, S components of all states, A action, L lags.
"""

import torch
from torch import Tensor, nn

from world_model.anchored.config import AnchoredConfig


class LinearDynamics(nn.Module):
    """Next states from the last two and the last L actions; all scaled to [-1, 1].

    `weight` (S, 2 S + L A + 1) is a buffer: it is fitted (training/anchored/fit.py), not descended.
    """

    weight: Tensor

    def __init__(self, config: AnchoredConfig):
        super().__init__()
        size = 2 * config.state_dim + config.lags * config.action_dim + 1
        self.register_buffer("weight", torch.zeros(config.state_dim, size))

    def forward(self, now: Tensor, before: Tensor, actions: Tensor) -> Tensor:
        """States (B, S) of the newest frame and of the one before, and actions (B, L, A), the
        newest first -> the next states (B, S)."""
        known = (now, now - before, actions.flatten(1), torch.ones_like(now[:, :1]))
        change = torch.cat(known, dim=1).float() @ self.weight.T.float()
        return (now + change).clamp(-1, 1)
