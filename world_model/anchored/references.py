"""Recorded frames of the robot that a world keeps, and which of them it looks at for a frame.

What a robot looks like in states near those to be shown has often been recorded, in another
episode. A painter that is given that frame copies what is sharp in it, where one that must draw it
from its weights blurs what it is in doubt of (docs/lab/video_worlds.md has figures).

Dimensions: B batch, S components of all states, M frames kept, H W pixels.
"""

import torch
from torch import Tensor, nn

from world_model.anchored.config import AnchoredConfig
from world_model.frames import frames_to_pixels


class References(nn.Module):
    """Frames with their states, and the metric by which states are near each other.

    All are buffers: they are chosen from the recordings (training/anchored/references.py) and kept
    with the weights.
    """

    frames: Tensor
    """uint8 (M, H, W, 3)"""
    states: Tensor
    """Scaled to [-1, 1], weighted by the share that the law explains, (M, S)."""
    metric: Tensor
    """(S, S): states are as far from each other as this makes their difference long. About how much
    the picture changes."""

    def __init__(self, config: AnchoredConfig):
        super().__init__()
        count, size = config.painter.references, config.state_dim
        frames = torch.zeros(count, config.height, config.width, 3, dtype=torch.uint8)
        self.register_buffer("frames", frames)
        self.register_buffer("states", torch.zeros(count, size))
        self.register_buffer("metric", torch.eye(size))

    def nearest(self, states: Tensor, count: int = 1) -> tuple[Tensor, Tensor]:
        """The frames (B * count, 3, H, W) in [-1, 1] that were recorded nearest to states (B, S),
        those of one row together, the nearest first, and the states that they show, (B * count,
        S)."""
        far = self.distance(states[:, None], self.states)  # (B, M)
        index = far.topk(count, dim=1, largest=False).indices.flatten()
        return frames_to_pixels(self.frames[index]), self.states[index]

    def distance(self, states: Tensor, others: Tensor) -> Tensor:
        """How far states (..., S) are from others, squared, (...)."""
        # No matrix product, whose last bits depend on B.
        away = states.float() - others
        far = torch.zeros_like(away[..., 0])
        for row in self.metric.unbind(0):
            far += (away * row).sum(dim=-1).square()
        return far
