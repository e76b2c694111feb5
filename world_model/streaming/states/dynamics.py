"""Predicts the states that a control leads to, before any picture is drawn.

What moves freely obeys a linear law or nearly so; what is pushed, the law of contacts, which is
the same wherever it happens (an object-centred model, as interaction networks are: Battaglia et
al., arXiv 1612.00222). A picture is drawn more easily around places that are already known.

Dimensions: A action, S components of all states, U control, F features, P poses.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.streaming.conditioning import features, num_features
from world_model.streaming.config import StreamingConfig
from world_model.streaming.states.planar import Plane
from world_model.streaming.states.relations import Relations

# Changes of a state within one step are small beside its range.
CHANGE_SCALE = 5.0
# What the network says is small beside a state's range.
OUTPUT_SCALE = 0.2


class Dynamics(nn.Module):
    """From "the same": a linear prediction from the control, corrected by a network.

    Bodies with a pose move by a step and a turn in their own coordinates, and the network sees
    places from there; where there are several, each sees the others too (relations.py). It also
    says whether a body moves at all: one that does not stays exactly where it is, or it would creep
    away in a long episode.
    """

    def __init__(self, config: StreamingConfig):
        super().__init__()
        shape = config.denoiser
        self.action_dim = config.action_dim
        self.size = config.state_dim
        self.plane = Plane(config)
        self.frequencies = shape.action_frequencies
        # Of poses the linear part is not used: nothing pushes them but the network.
        self.weight = nn.Parameter(torch.zeros(self.size, config.control_dim))
        self.bias = nn.Parameter(torch.zeros(self.size))
        several = len(self.plane.poses) > 1
        self.relations = Relations(self.plane, self.frequencies, CHANGE_SCALE) if several else None
        width = shape.dynamics_width
        last = nn.Linear(width, self.size)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(
            nn.Linear(self._num_inputs(config.control_dim), width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
            last,
        )

    def forward(self, controls: Tensor) -> Tensor:
        """Controls (..., U) -> the next states (..., S), scaled as states are."""
        return self.predict(controls)[0]

    def predict(self, controls: Tensor) -> tuple[Tensor, Tensor]:
        """The next states (..., S), and logits of whether each body moves (..., P)."""
        with torch.autocast(controls.device.type, enabled=False):  # 8 bits would be too few
            return self._predict(controls.float())

    def _predict(self, controls: Tensor) -> tuple[Tensor, Tensor]:
        plane = self.plane
        state = controls[..., self.action_dim : self.action_dim + self.size]
        change = F.linear(controls, self.weight, self.bias)
        said = self.network(self._inputs(controls))
        correction = OUTPUT_SCALE * said
        if not plane.poses:
            return state + change + correction, said[..., :0]
        first = plane.pose(state, plane.poses[0])
        guess, moves = list((state + change + correction).unbind(-1)), []
        for part in plane.points:
            turned = plane.turned_from(first, correction[..., part])
            guess[part] = (state[..., part] + change[..., part] + turned).unbind(-1)
        for part in plane.poses:
            across, down, turn, _ = correction[..., part].unbind(-1)
            move = said[..., part.stop - 1]
            moving = move.sigmoid()
            # Yes or no; the gradient is that of the probability (straight-through).
            moving = (move > 0).to(moving.dtype) + moving - moving.detach()
            step = moving[..., None] * torch.stack((across, down), dim=-1)
            guess[part] = plane.moved_state(state, part, step, moving * turn).unbind(-1)
            moves.append(move)
        return torch.stack(guess, dim=-1), torch.stack(moves, dim=-1)

    def _num_inputs(self, control_dim: int) -> int:
        plane = self.plane
        places = 2 * plane.action + 2 * len(plane.points)
        steps = 1 + len(plane.points) * (1 + 2 * plane.action)
        relative = num_features(4, self.frequencies) + num_features(2 * places, self.frequencies)
        messages = 0 if self.relations is None else self.relations.size
        return control_dim + (relative + 2 * steps + messages) * len(plane.poses)

    def _inputs(self, controls: Tensor) -> Tensor:
        """Controls (..., U) beside places and steps as each body sees them: (..., F)."""
        plane = self.plane
        sizes = (self.action_dim, self.size, self.size, self.action_dim)
        action, state, change, last_action = controls.split(sizes, dim=-1)
        inputs = [controls]
        for part in plane.poses:
            pose = state[..., part]
            places = [action, last_action] if plane.action else []
            steps = [change[..., part][..., :2]]
            for point in plane.points:
                place, step = state[..., point], change[..., point]
                places += [place, place + step / CHANGE_SCALE]
                steps.append(step)
                if plane.action:
                    steps += [
                        CHANGE_SCALE * (action - place),
                        CHANGE_SCALE * (last_action - place),
                    ]
            here = plane.pose(state, part)[..., None, :]
            relative = plane.seen_from(here, torch.stack(places, dim=-2)).flatten(-2)
            turned = plane.turned_to(here, torch.stack(steps, dim=-2)).flatten(-2)
            inputs.append(features(pose, self.frequencies))  # at walls it counts to a hair
            inputs += [features(relative, self.frequencies), turned]
        if self.relations is not None:
            inputs.append(self.relations(state, change).flatten(-2))
        return torch.cat(inputs, dim=-1)
