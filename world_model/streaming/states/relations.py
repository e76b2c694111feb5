"""How bodies in the plane bear on each other: one network for all pairs.

An interaction network (Battaglia et al., arXiv 1612.00222): for each pair of bodies a small network
of where the one is as seen from the other, the same for all pairs but for which bodies they are;
what a body gets of all others is added up.

Dimensions: P poses, S components of all states.
"""

import torch
from torch import Tensor, nn

from world_model.streaming.conditioning import features, num_features
from world_model.streaming.states.planar import Plane

IDENTITY = 8
"""Numbers that say which body one is: bodies differ in shape."""


class Relations(nn.Module):
    """What the dynamics of each body are given of the others."""

    width = 96
    size = 32
    """Numbers a body."""

    others: Tensor

    def __init__(self, plane: Plane, frequencies: int, change_scale: float):
        """Of the plane's poses; changes of states are multiplied by `change_scale`."""
        super().__init__()
        self.plane, self.frequencies, self.change_scale = plane, frequencies, change_scale
        count = len(plane.poses)
        self.identity = nn.Parameter(torch.randn(count, IDENTITY))
        # The other's place and its next one, its direction, its step and this one's own.
        inputs = num_features(4, frequencies) + 2 + 2 + 2 + 2 * IDENTITY
        self.pair = nn.Sequential(
            nn.Linear(inputs, self.width),
            nn.SiLU(),
            nn.Linear(self.width, self.width),
            nn.SiLU(),
            nn.Linear(self.width, self.size),
        )
        self.register_buffer("others", 1 - torch.eye(count)[..., None], persistent=False)

    def forward(self, state: Tensor, change: Tensor) -> Tensor:
        """States and their last changes (..., S), scaled -> messages (..., P, size)."""
        plane, count = self.plane, len(self.plane.poses)
        poses = torch.stack([plane.pose(state, part) for part in plane.poses], dim=-2)
        steps = torch.stack([change[..., part][..., :2] for part in plane.poses], dim=-2)
        here = poses[..., :, None, :]  # of the body that receives, beside those of all others
        places, directions = poses[..., None, :, :2], poses[..., None, :, 2:]
        ahead = places + steps[..., None, :, :] / self.change_scale
        relative = torch.cat((plane.seen_from(here, places), plane.seen_from(here, ahead)), dim=-1)
        shape = (*relative.shape[:-1], 2)
        turned = [
            # As directions have unit length whatever the picture's aspect, they are only turned.
            _turned(here, directions).expand(shape),
            plane.turned_to(here, steps[..., None, :, :]).expand(shape),
            plane.turned_to(here, steps[..., :, None, :]).expand(shape),
        ]
        who = torch.cat(
            (
                self.identity[:, None].expand(count, count, IDENTITY),
                self.identity[None].expand(count, count, IDENTITY),
            ),
            dim=-1,
        ).expand(*relative.shape[:-1], 2 * IDENTITY)
        messages = self.pair(
            torch.cat((features(relative, self.frequencies), *turned, who), dim=-1)
        )
        return (messages * self.others).sum(dim=-2)


def _turned(pose: Tensor, directions: Tensor) -> Tensor:
    """Directions (..., 2) as cosine and sine, as seen from a pose's own (..., 4)."""
    cos, sin = pose[..., 2], pose[..., 3]
    x, y = directions[..., 0], directions[..., 1]
    return torch.stack((cos * x + sin * y, cos * y - sin * x), dim=-1)
