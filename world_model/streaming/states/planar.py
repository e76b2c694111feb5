"""What lies in the picture's plane: places, and bodies that have a place and a direction.

What a push does to a body, and where the body is drawn, do not depend on where in the picture it
happens, if seen from the body. So the networks get places in the body's own coordinates too, and a
body's motion is a step and a turn there.

Numbers are scaled as states are: the picture's edges are -1 and 1, x across and y down. A camera
that looks aslant sees another plane, whose own edges are -1 and 1; places in the picture are taken
there through a homography.

Of a body that looks the same in n directions, the state's direction is that of n times its angle.
Places seen from the body need one of its angles: that in the sector around 0. Where it leaves the
sector they jump by 1/n of a turn, which the body does not show.

Dimensions: S components of all states, A action.
"""

import numpy as np
import torch
from torch import Tensor

from world_model.streaming.config import StreamingConfig

# Beyond the horizon of a plane there are no places; those near it are so far away, at most.
FARTHEST = 8.0


class Plane:
    """Where a world's states hold places (x, y) and poses (x, y, cos, sin), and how they move."""

    def __init__(self, config: StreamingConfig):
        begins, at = {}, 0
        for name, bounds in config.tracked.items():
            begins[name] = at
            at += len(bounds.low)
        planar = config.required_states.planar
        self.points = [slice(begins[name], begins[name] + 2) for name in planar.points]
        self.poses = [slice(begins[name], begins[name] + 4) for name in planar.poses]
        orders = planar.symmetries or (1,) * len(planar.poses)
        self._orders = {part.start: order for part, order in zip(self.poses, orders, strict=True)}
        self.action = planar.action
        matrix = planar.matrix(config)
        self._matrices = None if matrix is None else (matrix, np.linalg.inv(matrix))
        # Turning needs a unit that is the same along both axes: half the picture's width.
        self.aspect = planar.aspect(config)
        # In that unit, of points, then of poses.
        half_widths = [
            (config.tracked[name].high[0] - config.tracked[name].low[0]) / 2
            for name in (*planar.points, *planar.poses)
        ]
        self.radii = [r / half for r, half in zip(planar.mask_radii, half_widths, strict=False)]

    def from_picture(self, places: Tensor) -> Tensor:
        """Places (..., 2) of the picture, its edges being -1 and 1, in the plane."""
        return places if self._matrices is None else _projected(places, self._matrices[0])

    def to_picture(self, places: Tensor) -> Tensor:
        """The inverse of `from_picture`."""
        return places if self._matrices is None else _projected(places, self._matrices[1])

    def pose(self, states: Tensor, part: slice) -> Tensor:
        """The pose (..., 4) of the body whose state is that part of states (..., S), its direction
        that of the body itself."""
        state, order = states[..., part], self._orders[part.start]
        if order == 1:
            return state
        angle = torch.atan2(state[..., 3], state[..., 2]) / max(order, 1)
        angle = angle if order else torch.zeros_like(angle)
        return torch.cat((state[..., :2], torch.stack((angle.cos(), angle.sin()), dim=-1)), dim=-1)

    def order(self, part: slice) -> int:
        """In how many directions the body whose state is that part looks the same; 0: in all."""
        return self._orders[part.start]

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

    def without_poses(self, states: Tensor) -> Tensor:
        """All but the poses of states (..., S)."""
        kept, at = [], 0
        for pose in sorted(self.poses, key=lambda part: part.start):
            kept.append(states[..., at : pose.start])
            at = pose.stop
        return torch.cat((*kept, states[..., at:]), dim=-1)

    def moved_state(self, states: Tensor, part: slice, step: Tensor, turn: Tensor) -> Tensor:
        """That part of states (..., S), of a body, after a step (..., 2) in the body's coordinates
        and a turn (...), rad: (..., 4)."""
        state, order = states[..., part], self._orders[part.start]
        if order == 1:
            return self.moved(state, step, turn)
        place = self.moved(self.pose(states, part), step, turn)[..., :2]
        return torch.cat((place, self.moved(state, step, order * turn)[..., 2:]), dim=-1)

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


def _projected(places: Tensor, matrix: np.ndarray) -> Tensor:
    """Places (..., 2) through a homography (3, 3)."""
    found = places @ places.new_tensor(matrix[:, :2].T) + places.new_tensor(matrix[:, 2])
    depth = found[..., 2:] * float(np.sign(matrix[2, 2]))
    depth = depth.clamp(min=1e-3 * abs(float(matrix[2, 2]))) * float(np.sign(matrix[2, 2]))
    return (found[..., :2] / depth).clamp(-FARTHEST, FARTHEST)
