"""Quarter turns and mirrors of a scene seen from above, of which the dynamics learn all.

What a push does is the same in a scene turned by a quarter or seen in a mirror, where the scene is
square and nothing pulls one way. So each recorded step is worth eight (as group augmentation of
states: van der Pol et al., arXiv 2006.16908). Pictures are not turned: goals and lights have their
places.

Dimensions: K symmetries, S components of all states, A action, G cells along a sprite's side.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from world_model.streaming.states.conditioner import StateConditioner

# Of a sprite's weight, what its mirror image may leave over for the body to be its own.
UNLIKE = 0.1


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
    """Those of a world whose states and actions all lie in a square plane: four turns, and their
    mirror images where each body looks the same in a mirror.

    Raises:
        ValueError: They do not.
    """
    plane, config = conditioner.plane, conditioner.config
    covered = 2 * len(plane.points) + 4 * len(plane.poses)
    if (
        config.plane.homography is not None
        or not plane.action
        or covered != config.state_dim
        or plane.aspect != 1
    ):
        raise ValueError(
            "--symmetric needs a square picture in whose plane the action and all states lie "
            f"(--points and --poses); those of {', '.join(config.tracked)} do not"
        )
    kinds = [mirror_sign(conditioner, number) for number in range(len(plane.poses))]
    mirrored = not any(sign is None for sign in kinds)
    quarter = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
    mirror = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    places, states = [], []
    for flipped in (False, True) if mirrored else (False,):
        for turns in range(4):
            seen = mirror if flipped else torch.eye(2)
            place = torch.linalg.matrix_power(quarter, turns) @ seen
            matrix = torch.zeros(config.state_dim, config.state_dim)
            for part in plane.points:
                matrix[part, part] = place
            for part, sign in zip(plane.poses, kinds, strict=True):
                order = plane.order(part)  # the state's direction is that of so many angles
                sign = (sign or 1) ** order if flipped else 1
                middle = part.start + 2
                matrix[part.start : middle, part.start : middle] = place
                direction = sign * torch.linalg.matrix_power(quarter, turns * order) @ seen
                matrix[middle : part.stop, middle : part.stop] = direction
            places.append(place)
            states.append(matrix)
    return Symmetries(states=torch.stack(states), actions=torch.stack(places))


def mirror_sign(conditioner: StateConditioner, number: int) -> int | None:
    """How the direction of a body changes in a mirror: 1 if the body is the same on both sides of
    it, -1 if of the line across; None if its sprite is not known, or the same on neither."""
    if conditioner.proxy is None:
        return None
    sprite = conditioner.proxy.bodies[number]
    layer = torch.cat((sprite[:3] * sprite[3:], sprite[3:]))
    for sign, axis in ((1, -2), (-1, -1)):
        if (layer - layer.flip(axis)).abs().sum() < UNLIKE * layer.abs().sum():
            return sign
    return None
