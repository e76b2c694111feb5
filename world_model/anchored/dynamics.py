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

    Its numbers are buffers: they are fitted (training/anchored/fit.py), not descended.
    """

    weight: Tensor
    """(S, 2 S + L A + 1)"""
    rest: Tensor
    """(S, A + 1): the states in which the law stays under an action that stays."""
    tolerance: Tensor
    """(S,): how far a measured state may be from what the law says, to be taken for it."""
    explained: Tensor
    """(S,): the share of a state's motion within episodes that the law explains, 0 to 1."""

    def __init__(self, config: AnchoredConfig):
        super().__init__()
        size = 2 * config.state_dim + config.lags * config.action_dim + 1
        self.register_buffer("weight", torch.zeros(config.state_dim, size))
        self.register_buffer("rest", torch.zeros(config.state_dim, config.action_dim + 1))
        self.register_buffer("tolerance", torch.zeros(config.state_dim))
        self.register_buffer("explained", torch.ones(config.state_dim))

    def forward(self, now: Tensor, before: Tensor, actions: Tensor) -> Tensor:
        """States (B, S) of the newest frame and of the one before, and actions (B, L, A), the
        newest first -> the next states (B, S)."""
        known = (now, now - before, actions.flatten(1), torch.ones_like(now[:, :1]))
        change = torch.cat(known, dim=1).float() @ self.weight.T.float()
        return (now + change).clamp(-1, 1)

    def at_rest(self, action: Tensor) -> Tensor:
        """The states (B, S) that an action (B, A) which stays leads to."""
        known = torch.cat((action, torch.ones_like(action[:, :1])), dim=1)
        return (known.float() @ self.rest.T.float()).clamp(-1, 1)

    def agreed(self, measured: Tensor, lawful: Tensor) -> Tensor:
        """What the law says (B, S) where a measurement agrees with it, else the measurement.

        Gravity and friction leave a robot a little beside what the law says. Taken as measured, a
        robot at rest would seem to move, as the law went from there to where it rests.
        """
        near = (measured - lawful).abs() <= self.tolerance
        return torch.where(near, lawful, measured)
