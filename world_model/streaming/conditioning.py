"""What a frame is conditioned on: its noise level, and the control that led to it.

A control is the action, and, for a world that sees states, also the action before it and the
states before the frame with their last change: a robot's position and velocity, which a picture
shows less exactly. Of the control the states that it leads to are guessed first
(states/dynamics.py), and the picture is predicted with those.

Dimensions: A action, S components of all states, U control, N places, R relative coordinates.
"""

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.streaming.config import StreamingConfig
from world_model.streaming.states.planar import Plane

# Changes of a state within one step are small beside its range.
CHANGE_SCALE = 5.0


def join_controls(
    actions: Tensor,
    last_actions: Tensor,
    state: Tensor,
    earlier: Tensor,
    config: StreamingConfig,
) -> Tensor:
    """Controls (..., U); all that goes in is scaled to [-1, 1].

    Args:
        actions: The action that leads to a frame, (..., A).
        last_actions: The one before it; NaN where there was none.
        state: (..., S), one frame before it.
        earlier: (..., S), two frames before it.
    """
    if not config.denoiser.sees_states:
        return actions
    last_actions = torch.where(last_actions.isnan(), actions, last_actions)
    return torch.cat((actions, state, CHANGE_SCALE * (state - earlier), last_actions), dim=-1)


class Condition(nn.Module):
    """Embeds a frame's noise level and the control that led to it, for adaLN."""

    def __init__(self, config: StreamingConfig):
        super().__init__()
        shape = config.denoiser
        self.frequencies = shape.action_frequencies
        self.action = nn.Sequential(
            nn.Linear(num_features(config.control_dim, self.frequencies), shape.condition_width),
            nn.SiLU(),
            nn.Linear(shape.condition_width, shape.condition_width),
        )
        self.no_action = nn.Parameter(torch.zeros(shape.condition_width))
        self.level = nn.Sequential(
            nn.Linear(64, shape.condition_width),
            nn.SiLU(),
            nn.Linear(shape.condition_width, shape.condition_width),
        )

    def forward(self, levels: Tensor, controls: Tensor, acted: Tensor) -> Tensor:
        """Levels (...), controls (..., U), acted (...) -> (..., condition_width)."""
        action = self.action(features(controls, self.frequencies))
        action = torch.where(acted[..., None], action, self.no_action)
        return F.silu(action + self.level(level_features(levels, 64)))


class ControlAtPlace(nn.Module):
    """What a control, and the state that it leads to, mean at each place of the picture.

    adaLN treats all places alike. For a target position, as Push-T's, a place must know whether
    the target is near it, and learning that through adaLN alone takes long. A small network of
    the control and the place's coordinates (as a spatial broadcast decoder: Watters et al.,
    arXiv 1901.07017) can say "here"; products of the sines and cosines of both say how far away.
    What lies in the picture's plane (states/planar.py) is also told as where the place is from
    there, which for a body is all that drawing it takes.
    """

    centres: Tensor

    def __init__(self, config: StreamingConfig, grid: tuple[int, int], hidden: int, width: int):
        super().__init__()
        self.frequencies = config.denoiser.action_frequencies
        size = config.control_dim + config.state_dim * config.denoiser.sees_states
        # Halves: one is added to the place's, one multiplied with it.
        self.control = nn.Linear(num_features(size, self.frequencies), 2 * hidden)
        self.place = nn.Linear(num_features(2, self.frequencies), 2 * hidden)
        self.plane = Plane(config)
        self.first = config.action_dim
        num_relative = 2 * (len(self.plane.points) + 2 * len(self.plane.poses))
        self.relative = (
            nn.Linear(num_features(num_relative, self.frequencies), hidden, bias=False)
            if num_relative
            else None
        )
        self.between = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        places = coordinates(*grid)
        self.register_buffer("centres", places, persistent=False)
        self.register_buffer("places", features(places, self.frequencies), persistent=False)

    def forward(self, controls: Tensor, guess: Tensor, acted: Tensor) -> Tensor:
        """Controls (..., U), guessed states (..., S), acted (...) -> (..., N, width), zero where
        none acted."""
        known = torch.cat((controls, guess), dim=-1)
        control = self.control(features(known, self.frequencies))[..., None, :]
        added, scaled = control.chunk(2, dim=-1)
        place, scale = self.place(self.places).chunk(2, dim=-1)
        hidden = torch.addcmul(added + place, scaled, scale)
        if self.relative is not None:
            around = self._around(controls[..., self.first :], guess)
            hidden = hidden + self.relative(features(around, self.frequencies))
        hidden = F.relu(hidden, inplace=True)  # a fifth of GELU's cost here
        hidden = F.relu(self.between(hidden), inplace=True)
        return self.out(hidden) * acted[..., None, None]

    def _around(self, state: Tensor, guess: Tensor) -> Tensor:
        """Where each place is from each point, and from each body now and then: (..., N, R)."""
        plane, places = self.plane, self.centres
        seen = [places - guess[..., None, part] for part in plane.points]
        for part in plane.poses:
            seen += [plane.seen_from(x[..., None, part], places) for x in (state, guess)]
        return torch.cat(seen, dim=-1)


def coordinates(rows: int, columns: int) -> Tensor:
    """Centres of a grid's cells in [-1, 1], row by row, (rows * columns, 2): across, down."""
    down = (2 * torch.arange(rows) + 1) / rows - 1
    across = (2 * torch.arange(columns) + 1) / columns - 1
    return torch.stack(torch.meshgrid(across, down, indexing="xy"), dim=-1).flatten(0, 1)


def num_features(size: int, frequencies: int) -> int:
    """Length of what `features` gives for `size` numbers."""
    return size * (1 + 2 * frequencies)


def features(numbers: Tensor, frequencies: int) -> Tensor:
    """Numbers (..., n) in [-1, 1] beside their sines and cosines, half a turn and up in octaves."""
    octaves = _octaves(frequencies, numbers.device, numbers.dtype)
    angles = (numbers[..., None] * octaves).flatten(-2)
    return torch.cat((numbers, angles.sin(), angles.cos()), dim=-1)


@functools.cache
def _octaves(frequencies: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Half a turn and up, doubled each time, in rad: (frequencies,)."""
    with torch.inference_mode(False):  # kept, so it must do for training too
        return math.pi * 2.0 ** torch.arange(-1, frequencies - 1, device=device, dtype=dtype)


def level_features(levels: Tensor, width: int) -> Tensor:
    """Sinusoids of noise levels in [0, 1]: (...) -> (..., width), as DiT embeds timesteps."""
    rates = torch.exp(
        -math.log(10_000) * torch.arange(width // 2, device=levels.device) / (width // 2)
    )
    angles = 1000.0 * levels[..., None] * rates
    return torch.cat((angles.cos(), angles.sin()), dim=-1)
