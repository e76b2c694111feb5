"""What lies in the picture's plane: places, and bodies that have a place and a direction.

What a push does to a body, and where the body is drawn, do not depend on where in the picture it
happens, if seen from the body. So the networks get places in the body's own coordinates too, and a
body's motion is a step and a turn there.

Numbers are scaled as states are: the picture's edges are -1 and 1, x across and y down.

Dimensions: S components of all states, A action.
"""

import torch
from torch import Tensor

from world_model.streaming.config import StreamingConfig


class Plane:
    """Where a world's states hold places (x, y) and poses (x, y, cos, sin), and how they move."""

    def __init__(self, config: StreamingConfig):
        begins, at = {}, 0
        for name, bounds in config.tracked.items():
            begins[name] = at
            at += len(bounds.low)
        plane = config.plane
        self.points = [slice(begins[name], begins[name] + 2) for name in plane.points]
        self.poses = [slice(begins[name], begins[name] + 4) for name in plane.poses]
        self.action = plane.action
        # Turning needs a unit that is the same along both axes: half the picture's width.
        self.aspect = plane.aspect(config)
        # In that unit, of points, then of poses.
        half_widths = [
            (config.tracked[name].high[0] - config.tracked[name].low[0]) / 2
            for name in (*plane.points, *plane.poses)
        ]
        self.radii = [r / half for r, half in zip(plane.mask_radii, half_widths, strict=False)]

    def seen_from(self, pose: Tensor, places: Tensor) -> Tensor:
        """Places (..., 2) in the coordinates of a body at `pose` (..., 4): (..., 2)."""
        return self.turned_to(pose, places - pose[..., :2])

    def turned_to(self, pose: Tensor, steps: Tensor) -> Tensor:
        """Steps in the picture (..., 2) as seen from a body at `pose` (..., 4)."""
        if self.aspect != 1:
            steps = torch.stack((steps[..., 0], steps[..., 1] * self.aspect), dim=-1)
        cos, sin = pose[..., 2:3], pose[..., 3:4]
        return torch.addcmul(cos * steps, torch.cat((sin, -sin), dim=-1), steps.flip(-1))

    def turned_from(self, pose: Tensor, steps: Tensor) -> Tensor:
        """The inverse of `turned_to`."""
        along, aside = steps[..., 0], steps[..., 1]
        cos, sin = pose[..., 2], pose[..., 3]
        across, down = cos * along - sin * aside, sin * along + cos * aside
        return torch.stack((across, down / self.aspect), dim=-1)

    def moved(self, pose: Tensor, step: Tensor, turn: Tensor) -> Tensor:
        """The pose (..., 4) after a step (..., 2) in its own coordinates, and a turn (...), rad."""
        cos, sin = pose[..., 2], pose[..., 3]
        direction = (cos * turn.cos() - sin * turn.sin(), sin * turn.cos() + cos * turn.sin())
        place = pose[..., :2] + self.turned_from(pose, step)
        return torch.cat((place, torch.stack(direction, dim=-1)), dim=-1)

    def touched(self, earlier: Tensor, before: Tensor, after: Tensor, places: Tensor) -> Tensor:
        """Where the picture may change: near points, and near bodies that move or just did.

        Args:
            earlier: States two frames back, (..., S).
            before: Of the frame before, (..., S).
            after: Of the frame to come, (..., S).
            places: (N, 2).

        Returns:
            bool (..., N).
        """
        touched = torch.zeros(before.shape[:-1] + places.shape[:1], device=places.device) > 0
        for part, radius in zip((*self.points, *self.poses), self.radii, strict=True):
            near = self._near(before[..., part], places, radius)
            near = near | self._near(after[..., part], places, radius)
            if part in self.poses:
                moves = (before[..., part] != after[..., part]).any(-1)
                moved = (earlier[..., part] != before[..., part]).any(-1)
                near = near & (moves | moved)[..., None]
            touched = touched | near
        return touched

    def _near(self, state: Tensor, places: Tensor, radius: float) -> Tensor:
        away = places - state[..., None, :2]
        return away[..., 0].square() + (self.aspect * away[..., 1]).square() < radius**2

    def upright(self, states: Tensor) -> Tensor:
        """States (..., S) whose directions have length 1."""
        if not self.poses:
            return states
        parts, at = [], 0
        for pose in sorted(self.poses, key=lambda part: part.start):
            parts.append(states[..., at : pose.start + 2])
            direction = states[..., pose.start + 2 : pose.stop]
            parts.append(direction / direction.norm(dim=-1, keepdim=True).clamp(min=1e-6))
            at = pose.stop
        return torch.cat((*parts, states[..., at:]), dim=-1)
