"""Conditioning on states: a world that predicts what moves before it draws the frame around it.

States are low-dimensional observations, such as an arm's joints, and hidden ones, such as the pose
of a body, that training knows and no observation contains. They are estimated from the first
frames, predicted from the action (dynamics.py), and corrected by what the head reads off each
frame.

Dimensions: B batch, T frames, A action, U control, S components of all states, N places, R relative
coordinates.
"""

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.runtime.counter_rng import counted_noise
from world_model.streaming.conditioning import (
    Conditioner,
    Conditioning,
    Control,
    MapAtPlaces,
    Memory,
    Readout,
    coordinates,
    features,
    num_features,
)
from world_model.streaming.config import StreamingConfig
from world_model.streaming.states.dynamics import CHANGE_SCALE, Dynamics
from world_model.streaming.states.estimator import StateEstimator
from world_model.streaming.states.planar import Plane
from world_model.streaming.states.proxy import Proxy
from world_model.streaming.states.reward import StateReward

# Largest deviation of the states that a prediction is given in training; their range is [-1, 1].
UNSURE_SCALE = 0.004
# Stream of the counted noise of `doubt_`; 0 is that of sampling.
DOUBT = 1


class StateConditioner(Conditioner):
    """Conditions frames on the action and on states.

    A control is the action, the states before the frame with their last change (a robot's position
    and velocity, which a picture shows less exactly), and the action before.
    """

    predicts_states = True
    cells: Tensor

    def __init__(self, config: StreamingConfig):
        super().__init__(config)
        states = config.required_states
        self.plane = Plane(config)
        self.dynamics = Dynamics(config)
        self.estimator = StateEstimator(config)
        self.reward = StateReward(config) if config.reward_head else None
        self.proxy = Proxy(config) if states.proxy else None
        self.num_hidden = sum(len(bounds.low) for bounds in states.hidden.values())
        cells = self.plane.from_picture(coordinates(*config.latent_shape[1:]))
        self.register_buffer("cells", cells, persistent=False)

    @property
    def head_learns(self) -> bool:
        """See `Conditioner.head_learns`: a frame that is drawn over a proxy of predicted states
        shows nothing that these do not say, so reading it could only add errors to them."""
        return self.proxy is None

    def make_map(self, grid: tuple[int, int], hidden: int, width: int) -> MapAtPlaces:
        """See `Conditioner.make_map`; it knows the predicted states too."""
        return MapAroundBodies(self.config, grid, hidden, width)

    def begin(self, num_envs: int, like: Tensor) -> Memory:
        """See `Conditioner.begin`; "states" are those of the last two frames, the older first."""
        states = like.new_zeros(num_envs, 2, self.config.state_dim)
        return super().begin(num_envs, like) | {"states": states}

    def joined(self, memory: Memory, action: Tensor) -> Tensor:
        """See `Conditioner.joined`."""
        last = memory["control"][:, : self.config.action_dim]
        last = torch.where(memory["acted"][:, None], last, torch.nan)
        return join_controls(action, last, memory["states"][:, 1], memory["states"][:, 0])

    def clip_control(
        self, actions: Tensor, action_before: Tensor, acted: Tensor, states: Tensor
    ) -> Control:
        """See `Conditioner.clip_control`."""
        # One and two frames before each; the first has none.
        last, earlier = (F.pad(x, (0, 0, 1, 0)) for x in (states[:, 1:-1], states[:, :-2]))
        last_actions = torch.cat((actions[:, :1], action_before[:, None], actions[:, 1:-1]), dim=1)
        return Control(values=join_controls(actions, last_actions, last, earlier), acted=acted)

    def forward(
        self, control: Control, states: Tensor | None = None, *, last: bool = False
    ) -> Conditioning:
        """See `Conditioner.forward`."""
        prediction = self.dynamics(control.values) if states is None else states
        known = torch.cat((control.values, prediction), dim=-1)
        conditioning = self.conditioned(control, known, last=last)
        drawn = prediction[:, -1:] if last else prediction
        proxy = None if self.proxy is None else self.proxy(drawn)
        before = self.states_in(control)
        return dataclasses.replace(conditioning, prediction=prediction, before=before, proxy=proxy)

    def states_in(self, control: Control) -> Tensor:
        """The states before each frame that a control knows, (B, T, S)."""
        first = self.config.action_dim
        return control.values[..., first : first + self.config.state_dim]

    def read(
        self, readout: Readout, prediction: Tensor | None = None, before: Tensor | None = None
    ) -> Readout:
        """See `Conditioner.read`: tokens correct the prediction of what is observed, and reward and
        end are those of the states, corrected by the tokens."""
        assert prediction is not None and before is not None
        states = prediction + F.pad(readout.states, (0, self.num_hidden))
        rewards = readout.rewards
        if self.reward is not None:
            rewards = rewards + self.reward(states.detach(), before)
        return Readout(rewards=rewards, states=states)

    def estimate(self, latents: Tensor, readout: Readout, known: Tensor) -> Readout:
        """See `Conditioner.estimate`: what is not known is estimated from the frame."""
        states = self._estimated(latents, known)
        return self.with_reward(states, states)

    def shown(self, latents: Tensor, known: Tensor) -> Tensor | None:
        """See `Conditioner.shown`."""
        return None if self.proxy is None else self._estimated(latents, known)[:, None]

    def _estimated(self, latents: Tensor, known: Tensor) -> Tensor:
        return torch.where(known.isnan(), self.estimator(latents), known)

    def with_reward(self, states: Tensor, before: Tensor) -> Readout:
        """States (..., S) and those before them taken as exact, with their reward by the reward
        model."""
        rewards = states[..., :0] if self.reward is None else self.reward(states, before)
        return Readout(rewards=rewards, states=states)

    def update(self, memory: Memory, control: Control, readout: Readout) -> Memory:
        """See `Conditioner.update`."""
        now, acted = readout.clamped, control.acted[:, -1, None]
        earlier = torch.where(acted, memory["states"][:, 1], now)  # at first nothing has moved
        moved = super().update(memory, control, readout)
        return moved | {"states": torch.stack((earlier, now), dim=1)}

    def mask(self, before: Memory, after: Memory) -> Tensor | None:
        """See `Conditioner.mask`, and `PlanarConfig.mask_radii`."""
        if not self.plane.radii:
            return None
        earlier, (last, now) = before["states"][:, 0], after["states"].unbind(1)
        return self.plane.touched(earlier, last, now, self.cells)

    def recall_(self, memory: Memory, earlier: Tensor, now: Tensor) -> None:
        """See `Conditioner.recall_`."""
        memory["states"].copy_(torch.stack((earlier, now), dim=1))

    def doubt_(self, memory: Memory, seeds: Tensor, steps: Tensor, scale: float) -> None:
        """See `Conditioner.doubt_`: states are known no better than training had them known, and
        what a push does can hang on less. Those of both frames are displaced alike: nothing seems
        to move."""
        noise = counted_noise(seeds, steps, (1, self.config.state_dim), stream=DOUBT)
        moved = (memory["states"] + scale * UNSURE_SCALE * noise).clamp(-1, 1)
        memory["states"].copy_(self.plane.upright(moved))

    def trained_first(self) -> dict[str, nn.Module]:
        """See `Conditioner.trained_first`."""
        modules: dict[str, nn.Module] = {"dynamics": self.dynamics, "estimator": self.estimator}
        if self.reward is not None:
            modules["reward"] = self.reward
        if self.proxy is not None:
            modules["proxy"] = self.proxy
        return modules


def join_controls(actions: Tensor, last_actions: Tensor, state: Tensor, earlier: Tensor) -> Tensor:
    """Controls (..., U); all that goes in is scaled to [-1, 1].

    Args:
        actions: The action that leads to a frame, (..., A).
        last_actions: The one before it; NaN where there was none.
        state: (..., S), one frame before it.
        earlier: (..., S), two frames before it.
    """
    last_actions = torch.where(last_actions.isnan(), actions, last_actions)
    return torch.cat((actions, state, CHANGE_SCALE * (state - earlier), last_actions), dim=-1)


class MapAroundBodies(MapAtPlaces):
    """What a control and the states that it leads to mean at each place.

    For points and bodies in the image plane (planar.py) the place is also given in their own
    coordinates, which for a body is all that drawing it takes.
    """

    in_plane: Tensor

    def __init__(self, config: StreamingConfig, grid: tuple[int, int], hidden: int, width: int):
        size = config.control_dim + config.state_dim
        super().__init__(size, config.denoiser.action_frequencies, grid, hidden, width)
        self.plane = plane = Plane(config)
        self.register_buffer("in_plane", plane.from_picture(self.centres), persistent=False)
        self.first, self.guess = config.action_dim, config.control_dim
        num_relative = 2 * (len(plane.points) + 2 * len(plane.poses))
        self.relative = (
            nn.Linear(num_features(num_relative, self.frequencies), hidden, bias=False)
            if num_relative
            else None
        )

    def hidden(self, known: Tensor) -> Tensor:
        """See `MapAtPlaces.hidden`."""
        hidden = super().hidden(known)
        if self.relative is None:
            return hidden
        around = self._around(known[..., self.first :], known[..., self.guess :])
        return hidden + self.relative(features(around, self.frequencies))

    def _around(self, state: Tensor, guess: Tensor) -> Tensor:
        """Where each place is from each point, and from each body now and then: (..., N, R)."""
        plane, places = self.plane, self.in_plane
        relative = [places - guess[..., None, part] for part in plane.points]
        for part in plane.poses:
            poses = (plane.pose(x, part)[..., None, :] for x in (state, guess))
            relative += [plane.seen_from(pose, places) for pose in poses]
        return torch.cat(relative, dim=-1)
