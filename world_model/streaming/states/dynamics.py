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
from world_model.streaming.states.interactions import Interactions
from world_model.streaming.states.planar import Plane

# Changes of a state within one step are small beside its range.
CHANGE_SCALE = 5.0
# What the network says is small beside a state's range.
OUTPUT_SCALE = 0.2
# How little the size of a fitted law counts beside its error; how often it is fitted, and the
# errors that count as none.
RIDGE = 1e-7
REWEIGHTED, LEAST_ERROR = 8, 1e-5
# A robot beside bodies is corrected by more than this at once, or not at all: a tenth of a pixel.
LEAST_CORRECTION = 2e-3


class Dynamics(nn.Module):
    """From "the same": a linear prediction from the control, corrected by a network.

    Bodies with a pose move by a step and a turn in their own coordinates, and the network sees
    places from there. Where there are several, or the action is no place, a network of their own
    moves them (interactions.py). It also says whether a body moves at all: one that does not stays
    exactly where it is, or it would creep away in a long episode.
    """

    def __init__(self, config: StreamingConfig):
        super().__init__()
        self.action_dim = config.action_dim
        self.size = config.state_dim
        self.plane = Plane(config)
        self.frequencies = config.denoiser.action_frequencies
        # Of poses the linear part is not used: nothing pushes them but the network. It is fitted
        # before training, and not changed by it: no gradient gets here.
        self.weight = nn.Parameter(torch.zeros(self.size, config.control_dim))
        self.bias = nn.Parameter(torch.zeros(self.size))
        width, plane = config.required_states.dynamics_width, self.plane
        self.interactions = None
        if len(plane.poses) > 1 or (plane.poses and not plane.action):
            self.interactions = Interactions(
                plane,
                config.control_dim - 2 * 4 * len(plane.poses),
                frequencies=self.frequencies,
                width=(width + 1) // 2,
                scale=CHANGE_SCALE,
            )
            width = (width + 1) // 2  # what is left to it is less
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

    @torch.no_grad()
    def fit_law(self, controls: Tensor, following: Tensor) -> None:
        """Set the linear part to the law from controls (N, U) to the next states (N, S) whose
        absolute errors are least: a robot's own law is nearly linear, and stands out most clearly
        where nothing is in its way. It is known from the start, and not changed by training.

        Of bodies with a pose nothing is used or changed.
        """
        used = controls.new_ones(controls.shape[-1] + 1, dtype=torch.bool)
        changed = controls.new_ones(self.size, dtype=torch.bool)
        for part in self.plane.poses:
            changed[part] = False
            for begin in (self.action_dim, self.action_dim + self.size):
                used[begin + part.start : begin + part.stop] = False
        state = controls[:, self.action_dim : self.action_dim + self.size]
        known = torch.cat((controls, torch.ones_like(controls[:, :1])), dim=-1)[:, used].double()
        wanted = (following - state)[:, changed].double()
        found = [_least_absolute(known, column) for column in wanted.unbind(-1)]
        law = self.weight.new_zeros(self.size, len(used))
        if found:
            law[changed[:, None] & used] = torch.stack(found).to(law.dtype).flatten()
        self.weight.copy_(law[:, :-1])
        self.bias.copy_(law[:, -1])

    def _predict(self, controls: Tensor) -> tuple[Tensor, Tensor]:
        plane = self.plane
        state = controls[..., self.action_dim : self.action_dim + self.size]
        change = F.linear(controls, self.weight.detach(), self.bias.detach())
        said = self.network(self._inputs(controls))
        if self.interactions is not None:
            said = self._with_bodies(self.interactions, said, controls, (state + change).detach())
        correction = OUTPUT_SCALE * said
        if not plane.poses:
            return state + change + correction, said[..., :0]
        first = plane.pose(state, plane.poses[0])
        guess, moves = list((state + change + correction).unbind(-1)), []
        for part in plane.points:
            turned = plane.turned_from(first, correction[..., part])
            turned = turned if self.interactions is None else _shrunk(turned)
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

    def _with_bodies(
        self, interactions: Interactions, said: Tensor, controls: Tensor, coming: Tensor
    ) -> Tensor:
        """What is said (..., S), that of bodies by the network of their own; `coming` are the
        states that the linear law leads to, (..., S)."""
        plane = self.plane
        action, state, change, last_action = self._parts(controls)
        ways = [torch.stack((state[..., p], coming[..., p]), dim=-2) for p in plane.points]
        if plane.action:
            ways.append(torch.stack((last_action, action), dim=-2))
        # What else is known: all but the poses, which each body sees from itself.
        rest = plane.without_poses(state), plane.without_poses(change)
        seen = torch.cat((action, *rest, last_action), dim=-1)
        moves = interactions(state, change, torch.stack(ways, dim=-3), seen)
        of_all = list(said.unbind(-1))
        for body, part in enumerate(plane.poses):
            of_all[part] = moves[..., body, :].unbind(-1)
        return torch.stack(of_all, dim=-1)

    def _parts(self, controls: Tensor) -> tuple[Tensor, ...]:
        """Action, states, their last change and the action before, of controls (..., U)."""
        return controls.split((self.action_dim, self.size, self.size, self.action_dim), dim=-1)

    def _num_inputs(self, control_dim: int) -> int:
        plane = self.plane
        if self.interactions is not None:
            return control_dim
        places = 2 + 2 * len(plane.points)
        steps = 1 + 3 * len(plane.points)
        relative = num_features(4, self.frequencies) + num_features(2 * places, self.frequencies)
        return control_dim + (relative + 2 * steps) * len(plane.poses)

    def _inputs(self, controls: Tensor) -> Tensor:
        """Controls (..., U), and places and steps as a single body sees them in whose plane the
        action lies: (..., F)."""
        plane = self.plane
        if self.interactions is not None:
            return controls
        action, state, change, last_action = self._parts(controls)
        inputs = [controls]
        for part in plane.poses:
            pose = state[..., part]
            places = [action, last_action]
            steps = [change[..., part][..., :2]]
            for point in plane.points:
                place, step = state[..., point], change[..., point]
                places += [place, place + step / CHANGE_SCALE]
                steps.append(step)
                steps += [CHANGE_SCALE * (action - place), CHANGE_SCALE * (last_action - place)]
            here = plane.pose(state, part)[..., None, :]
            relative = plane.seen_from(here, torch.stack(places, dim=-2)).flatten(-2)
            turned = plane.turned_to(here, torch.stack(steps, dim=-2)).flatten(-2)
            inputs.append(features(pose, self.frequencies))  # at walls it counts to a hair
            inputs += [features(relative, self.frequencies), turned]
        return torch.cat(inputs, dim=-1)


def _least_absolute(known: Tensor, wanted: Tensor) -> Tensor:
    """The law (F,) from numbers (N, F) to others (N,) by least absolute errors: by least squares,
    again and again, each error weighted by what it was before (Schlossmacher, JASA 68, 1973)."""
    weights = torch.ones_like(wanted)
    law = known.new_zeros(known.shape[-1])
    for _ in range(REWEIGHTED):
        weighted = known * weights[:, None]
        # Where numbers depend on each other, the smallest of the laws that fit.
        gram = known.mT @ weighted
        gram.diagonal().add_(RIDGE * weights.sum())
        law = torch.linalg.solve(gram, weighted.mT @ wanted)
        weights = 1 / (known @ law - wanted).abs().clamp(min=LEAST_ERROR)
    return law


def _shrunk(correction: Tensor) -> Tensor:
    """A correction without what is too little to be meant, so that a robot which its law describes
    follows it exactly; gradients are those of all of it (straight-through)."""
    return correction - correction.clamp(-LEAST_CORRECTION, LEAST_CORRECTION).detach()
