"""What a push does to bodies in the plane, and how they bear on each other.

An interaction network (Battaglia et al., arXiv 1612.00222): one network sees each body alone, with
what acts on it; another sees each pair of bodies, and what a body gets of all others is added up;
a third says how the body moves. All three are the same for all bodies but for a few numbers that
say which one it is, so that what is learned of one push holds for every body and every place.

All places are seen from the body itself, and beside where a point is there is where it will be: a
robot mostly goes where its law takes it, whatever it pushes.

Dimensions: P poses, Q points, S components of all states, U control, H width.
"""

import torch
from torch import Tensor, nn

from world_model.streaming.conditioning import features, num_features
from world_model.streaming.states.planar import Plane

IDENTITY = 8
"""Numbers that say which body one is: bodies differ in shape."""


class Interactions(nn.Module):
    """How bodies move, as each sees it."""

    pair_width = 96
    message = 64
    """Numbers that a body gets of the others."""

    others: Tensor

    def __init__(self, plane: Plane, rest: int, *, frequencies: int, width: int, scale: float):
        """Of a plane's poses.

        Args:
            plane: Where they lie.
            rest: Length of what else is known: `seen` of `forward`.
            frequencies: Octaves of the features of places.
            width: H.
            scale: Of changes of states.
        """
        super().__init__()
        self.plane, self.frequencies, self.scale = plane, frequencies, scale
        count, places = len(plane.poses), 2 * (len(plane.points) + plane.action)
        self.identity = nn.Parameter(torch.randn(count, IDENTITY))
        steps = 1 + 2 * len(plane.points)
        alone = num_features(4, frequencies) + num_features(2 * places, frequencies)
        self.alone = nn.Sequential(
            nn.Linear(alone + 2 * steps + 1 + IDENTITY + rest, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
        )
        # The other's place and its next one, its direction, its step and this one's own.
        relative = num_features(4, frequencies) + 2 + 2 + 2
        self.between = nn.Linear(relative, self.pair_width)
        self.receiver = nn.Linear(width, self.pair_width)
        self.sender = nn.Linear(width, self.pair_width)
        self.pair = nn.Sequential(
            nn.SiLU(),
            nn.Linear(self.pair_width, self.pair_width),
            nn.SiLU(),
            nn.Linear(self.pair_width, self.message),
        )
        last = nn.Linear(width, 4)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.together = nn.Sequential(
            nn.Linear(width + self.message, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            last,
        )
        self.register_buffer("others", 1 - torch.eye(count)[..., None], persistent=False)

    def forward(self, state: Tensor, change: Tensor, ways: Tensor, seen: Tensor) -> Tensor:
        """How each body moves.

        Args:
            state: The states (..., S), scaled.
            change: How they changed last (..., S), times the scale.
            ways: Of each point, and of the action where it is a place: where it is and where it
                will be, (..., Q, 2, 2).
            seen: What else may bear on it, (..., rest).

        Returns:
            (..., P, 4): a step across and down and a turn as the body sees them, and the logit of
            whether it moves.
        """
        plane, identity = self.plane, self.identity
        poses = torch.stack([plane.pose(state, part) for part in plane.poses], dim=-2)
        shown = torch.stack([state[..., part] for part in plane.poses], dim=-2)
        changed = torch.stack([change[..., part] for part in plane.poses], dim=-2)
        steps = changed[..., :2]
        here = poses[..., None, :]  # (..., P, 1, 4)
        at = ways.flatten(-3, -2)[..., None, :, :]  # (..., 1, 2 Q, 2)
        relative = plane.seen_from(here, at).flatten(-2)
        moves = [steps[..., None, :]]
        for point in plane.points:
            moves.append(change[..., None, None, point].expand_as(moves[0]))
        coming = self.scale * (ways[..., 1, :] - ways[..., 0, :])[..., : len(plane.points), :]
        moves.append(coming[..., None, :, :].expand(*steps.shape[:-1], *coming.shape[-2:]))
        turned = plane.turned_to(here, torch.cat(moves, dim=-2)).flatten(-2)
        spin = shown[..., 2] * changed[..., 3] - shown[..., 3] * changed[..., 2]
        alone = self.alone(
            torch.cat(
                (
                    features(shown, self.frequencies),  # at walls it counts to a hair
                    features(relative, self.frequencies),
                    turned,
                    spin[..., None],
                    identity.expand(*steps.shape[:-1], IDENTITY),
                    seen[..., None, :].expand(*steps.shape[:-1], -1),
                ),
                dim=-1,
            )
        )
        return self.together(torch.cat((alone, self._messages(poses, steps, alone)), dim=-1))

    def _messages(self, poses: Tensor, steps: Tensor, alone: Tensor) -> Tensor:
        """What each body gets of the others (..., P, message), of poses (..., P, 4), last steps
        (..., P, 2) and what is known of each alone (..., P, H)."""
        plane = self.plane
        here = poses[..., :, None, :]  # of the body that receives, beside those of all others
        places, directions = poses[..., None, :, :2], poses[..., None, :, 2:]
        ahead = places + steps[..., None, :, :] / self.scale
        relative = torch.cat((plane.seen_from(here, places), plane.seen_from(here, ahead)), dim=-1)
        shape = (*relative.shape[:-1], 2)
        turned = [
            # As directions have unit length whatever the picture's aspect, they are only turned.
            _turned(here, directions).expand(shape),
            plane.turned_to(here, steps[..., None, :, :]).expand(shape),
            plane.turned_to(here, steps[..., :, None, :]).expand(shape),
        ]
        between = self.between(torch.cat((features(relative, self.frequencies), *turned), dim=-1))
        between = between + self.receiver(alone)[..., :, None, :]
        between = between + self.sender(alone)[..., None, :, :]
        return (self.pair(between) * self.others).sum(dim=-2)


def _turned(pose: Tensor, directions: Tensor) -> Tensor:
    """Directions (..., 2) as cosine and sine, as seen from a pose's own (..., 4)."""
    cos, sin = pose[..., 2], pose[..., 3]
    x, y = directions[..., 0], directions[..., 1]
    return torch.stack((cos * x + sin * y, cos * y - sin * x), dim=-1)
