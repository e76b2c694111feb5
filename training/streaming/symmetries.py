"""Turns and mirrors of a scene on a plane, of which the dynamics learn all.

What a push does is the same in a scene turned round or seen in a mirror, where the plane is a
rectangle and nothing pulls one way. So each recorded step is worth several (as group augmentation
of states: van der Pol et al., arXiv 2006.16908): eight where the rectangle is a square, which looks
the same after a quarter turn, else four. Pictures are not turned: goals, lights and an arm have
their places.

Dimensions: K symmetries, S components of all states, A action, G cells along a sprite's side.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from world_model.streaming.states.conditioner import StateConditioner

# Of a sprite's weight, what its mirror image may leave over for the body to be its own.
UNLIKE = 0.1
# Angles that are tried for the line that a sprite is mirrored along.
ANGLES = 180
# Smallest singular value of what an action does to a point, as a share of the largest.
LEAST_STEERED = 0.1


@dataclass(frozen=True, eq=False)
class Symmetries:
    """Each as a matrix on scaled states (K, S, S) and one on scaled actions (K, A, A)."""

    states: Tensor
    actions: Tensor

    def __len__(self) -> int:
        return len(self.states)

    def to(self, device: torch.device) -> "Symmetries":
        """The same on a device."""
        return Symmetries(states=self.states.to(device), actions=self.actions.to(device))


def symmetries_of(conditioner: StateConditioner) -> Symmetries:
    """Those of a world whose states all lie in a plane, as the action does, or is a move in it.

    Turns, by quarters in a square; and their mirror images where each body looks the same in a
    mirror. What an action does is read from the dynamics' law, which has to be fitted before.

    Raises:
        ValueError: States or action have no place in the plane.
    """
    plane, config = conditioner.plane, conditioner.config
    covered = 2 * len(plane.points) + 4 * len(plane.poses)
    if covered != config.state_dim or not (plane.action or plane.points):
        raise ValueError(
            "--symmetric needs a plane in which all states lie (--points and --poses); those of "
            f"{', '.join(config.tracked)} do not"
        )
    acts = torch.eye(2) if plane.action else _steered(conditioner)
    axes = [mirror_axis(conditioner, number) for number in range(len(plane.poses))]
    mirrored = not any(axis is None for axis in axes)
    mirror = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    places, states = [], []
    for flipped in (False, True) if mirrored else (False,):
        seen = mirror if flipped else torch.eye(2)
        for quarters in range(4) if plane.aspect == 1 else (0, 2):
            place = _quarters(quarters) @ seen
            matrix = torch.zeros(config.state_dim, config.state_dim)
            for part in plane.points:
                matrix[part, part] = place
            for part, axis in zip(plane.poses, axes, strict=True):
                order = plane.order(part)  # the state's direction is that of so many angles
                # In the mirror a body at angle a looks as it does at -a - 2 m, where m is the angle
                # of the line in it on whose two sides it is the same.
                own = _turn(-2 * order * axis) if flipped and axis is not None else torch.eye(2)
                middle = part.start + 2
                matrix[part.start : middle, part.start : middle] = place
                direction = _quarters(quarters * order) @ own @ seen
                matrix[middle : part.stop, middle : part.stop] = direction
            places.append(torch.linalg.solve(acts, place @ acts))
            states.append(matrix)
    return Symmetries(states=torch.stack(states), actions=torch.stack(places))


def _steered(conditioner: StateConditioner) -> Tensor:
    """What an action does to the first point, by the law of the dynamics: (2, 2).

    Raises:
        ValueError: It does not move the point in two directions.
    """
    dynamics, plane = conditioner.dynamics, conditioner.plane
    law = dynamics.weight[plane.points[0], : dynamics.action_dim].detach().cpu()
    strengths = torch.linalg.svdvals(law)
    if dynamics.action_dim != 2 or strengths[1] <= LEAST_STEERED * strengths[0]:
        point = conditioner.config.required_states.planar.points[0]
        raise ValueError(
            "--symmetric needs an action of two components, a place in the plane (--points action) "
            f"or one that moves {point!r}; this one does not"
        )
    return law


def mirror_axis(conditioner: StateConditioner, number: int) -> float | None:
    """Angle of a line through a body on whose two sides it looks the same, in its own coordinates,
    rad in [0, pi); None if its sprite is not known, or there is no such line."""
    if conditioner.proxy is None:
        return None
    sprite = conditioner.proxy.bodies[number].detach().cpu()
    layer = torch.cat((sprite[:3] * sprite[3:], sprite[3:]))[None]
    side = torch.linspace(-1, 1, layer.shape[-1])
    here = torch.stack(torch.meshgrid(side, side, indexing="xy"), dim=-1)

    def left_over(angle: float) -> float:
        place = here @ (_turn(2 * angle) @ torch.tensor([[1.0, 0.0], [0.0, -1.0]])).mT
        image = F.grid_sample(layer, place[None], align_corners=True)
        return float((layer - image).abs().sum() / layer.abs().sum())

    angles = [math.pi * i / ANGLES for i in range(ANGLES)]
    left = [left_over(angle) for angle in angles]
    best = min(range(ANGLES), key=left.__getitem__)
    return angles[best] if left[best] < UNLIKE else None


def _turn(angle: float) -> Tensor:
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, -sin], [sin, cos]])


def _quarters(count: int) -> Tensor:
    """A turn by so many quarters, exactly."""
    return torch.linalg.matrix_power(torch.tensor([[0.0, -1.0], [1.0, 0.0]]), count)
