"""What a frame is conditioned on beside its past: the action that led to it.

A `Conditioner` carries all of it, so that the denoiser needs two things only: an embedding that
modulates its blocks, and maps that say what the action means at each place of the picture. A world
that also knows states (states/conditioner.py) subclasses it.

Dimensions: B batch, T frames, A action, U control, W embedding, N places, S components of all
states: low-dimensional observations, and hidden states where the world has some.
"""

import functools
import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from world_model.streaming.config import StreamingConfig
from world_model.streaming.high_resolution_head import HighResolutionHead

NEAR = (0.05, 0.2)
"""Radii of what is near where an action points, in half sides of a frame."""

Memory = dict[str, Tensor]
"""What a conditioner carries from step to step: tensors (B, ...), a part of the world's state."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Control:
    """What led to each of T frames."""

    values: Tensor
    """(B, T, U), scaled to [-1, 1]; U is A where the action is all."""
    acted: Tensor
    """bool (B, T); False where nothing is known to have led there (a clip's first frame)."""

    @property
    def last(self) -> "Control":
        """That of the last frame, T = 1."""
        return Control(values=self.values[:, -1:], acted=self.acted[:, -1:])


@dataclass(frozen=True, kw_only=True, eq=False)
class Conditioning:
    """What T frames are denoised with."""

    embedding: Tensor
    """(B, T, W), which modulates blocks together with the noise level."""
    at_tokens: Tensor
    """(B, T, N, width), added to the tokens."""
    at_cells: Tensor | None
    """(B, T, N, channels) for the cells of `HighResolutionHead`; (B, N, channels) where only the
    last frame is to be drawn; None for a network without that head."""
    prediction: Tensor | None = None
    """States that the frames are drawn around, (B, T, S); None in a world without."""
    before: Tensor | None = None
    """Those one frame before each, (B, T, S); likewise."""
    proxy: Tensor | None = None
    """What the frames are drawn over, (B, T, C, h, w), T = 1 where only the last is to be drawn;
    None: over the frame before each."""

    @property
    def newest(self) -> tuple[Tensor | None, Tensor | None]:
        """`prediction` and `before` of the last frame, (B, S)."""
        if self.prediction is None or self.before is None:
            return None, None
        return self.prediction[:, -1], self.before[:, -1]

    def drawn_over(self, newest: Tensor) -> Tensor:
        """What the last frame is drawn over, (B, C, h, w): its proxy, or the `newest` frame."""
        return newest if self.proxy is None else self.proxy[:, -1]

    def select(self, rows: Tensor | slice) -> "Conditioning":
        """That of `rows` of the batch."""
        return Conditioning(
            embedding=self.embedding[rows],
            at_tokens=self.at_tokens[rows],
            at_cells=None if self.at_cells is None else self.at_cells[rows],
            prediction=None if self.prediction is None else self.prediction[rows],
            before=None if self.before is None else self.before[rows],
            proxy=None if self.proxy is None else self.proxy[rows],
        )

    @property
    def last(self) -> "Conditioning":
        """Of the last frame, T = 1, where only that is to be drawn."""
        return self.frame(self.embedding.shape[1] - 1)

    def frame(self, t: int) -> "Conditioning":
        """Of frame t, T = 1, but for what is there of one frame alone."""
        at = slice(t, t + 1)
        return replace(
            self,
            embedding=self.embedding[:, at],
            at_tokens=self.at_tokens[:, at],
            prediction=None if self.prediction is None else self.prediction[:, at],
            before=None if self.before is None else self.before[:, at],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Readout:
    """Numbers read off a frame."""

    rewards: Tensor
    """Reward and logit of the end, (..., 2); (..., 0) in a world without a reward head."""
    states: Tensor
    """(..., S), scaled so that their bounds are -1 and 1."""

    @property
    def clamped(self) -> Tensor:
        """The states within their bounds."""
        return self.states.clamp(-1, 1)


class Conditioner(nn.Module):
    """Conditions frames on the action.

    Actions are embedded for frame-level adaLN (IRASim, arXiv 2406.14540, section 3.2), and mapped
    to the places of the picture.
    """

    predicts_states = False
    """Whether `Conditioning.prediction` is there: the states that a frame is drawn around."""

    def __init__(self, config: StreamingConfig):
        super().__init__()
        shape = config.denoiser
        self.config = config
        self.frequencies = shape.action_frequencies
        size, width = num_features(config.control_dim, self.frequencies), shape.condition_width
        self.action = nn.Sequential(nn.Linear(size, width), nn.SiLU(), nn.Linear(width, width))
        self.no_action = nn.Parameter(torch.zeros(width))
        self.at_token = self.make_map(config.grid, shape.width, shape.width)
        self.at_cell = self.around = None
        if shape.network == "unet":
            self.around = MapAround(config.action_dim, config.grid, shape.width)
        else:
            self.at_cell = self.make_map(
                HighResolutionHead.grid_of(config),
                HighResolutionHead.width,
                HighResolutionHead.channels,
            )

    def make_map(self, grid: tuple[int, int], hidden: int, width: int) -> "MapAtPlaces":
        """What says what a control means at each cell of a grid."""
        return MapAtPlaces(self.config.control_dim, self.frequencies, grid, hidden, width)

    def begin(self, num_envs: int, like: Tensor) -> Memory:
        """Memory before an episode's first frame; `like` has the type and the device."""
        return {
            "control": like.new_zeros(num_envs, self.config.control_dim),
            "acted": torch.zeros(num_envs, dtype=torch.bool, device=like.device),
        }

    def control(self, memory: Memory, action: Tensor | None) -> Control:
        """What led to the newest frame and, where there is an action (B, A), scaled to [-1, 1], to
        the one after it: T = 2, else 1."""
        values, acted = memory["control"], memory["acted"]
        if action is None:
            return Control(values=values[:, None], acted=acted[:, None])
        following = self.joined(memory, action)
        return Control(
            values=torch.stack((values, following), dim=1),
            acted=torch.stack((acted, torch.ones_like(acted)), dim=1),
        )

    def joined(self, memory: Memory, action: Tensor) -> Tensor:
        """The control (B, U) of an action (B, A)."""
        return action

    def clip_control(
        self, actions: Tensor, action_before: Tensor, acted: Tensor, states: Tensor
    ) -> Control:
        """Controls of whole clips, as training has them.

        Args:
            actions: That led to each frame, scaled, (B, T, A).
            action_before: That led to a clip's first frame, (B, A); NaN where none did.
            acted: bool (B, T), False for a clip's first frame.
            states: Of the frame before the clip and of its frames, scaled, (B, 1 + T, S).
        """
        return Control(values=actions, acted=acted)

    def forward(
        self, control: Control, states: Tensor | None = None, *, last: bool = False
    ) -> Conditioning:
        """What frames are denoised with.

        Args:
            control: What led to them.
            states: What they shall show, (B, T, S), as training knows it from the record; None for
                what is predicted. Without a meaning in a world that predicts none.
            last: Only the last frame is to be drawn.
        """
        return self.conditioned(control, control.values, last=last)

    def conditioned(self, control: Control, known: Tensor, *, last: bool) -> Conditioning:
        """The same of all that is known of the frames, (B, T, K), the control included."""
        action = self.action(features(control.values, self.frequencies))
        at_cell, acted = (known[:, -1], control.acted[:, -1]) if last else (known, control.acted)
        at_tokens = self.at_token(known, control.acted)
        if self.around is not None:
            actions = control.values[..., : self.config.action_dim]
            at_tokens = at_tokens + self.around(actions, control.acted)
        return Conditioning(
            embedding=torch.where(control.acted[..., None], action, self.no_action),
            at_tokens=at_tokens,
            at_cells=None if self.at_cell is None else self.at_cell(at_cell, acted),
        )

    def read(
        self, readout: Readout, prediction: Tensor | None = None, before: Tensor | None = None
    ) -> Readout:
        """What is known of a frame that was drawn.

        Args:
            readout: What the head read off its tokens.
            prediction: The states that it was drawn around, (..., S).
            before: Those of the frame before it, (..., S).
        """
        return readout

    def estimate(self, latents: Tensor, readout: Readout, known: Tensor) -> Readout:
        """What is known of a frame (B, C, h, w) that was given, from that and the head.

        What is `known` of its states, (B, S), is taken as it is; NaN is what is not.
        """
        states = torch.where(known.isnan(), readout.states, known)
        return Readout(rewards=readout.rewards, states=states)

    def update(self, memory: Memory, control: Control, readout: Readout) -> Memory:
        """Memory one frame on."""
        return {"control": control.values[:, -1], "acted": control.acted[:, -1]}

    def shown(self, latents: Tensor, known: Tensor) -> Tensor | None:
        """States (B, 1, S) that a given frame (B, C, h, w) shows, as `estimate` has them, where its
        proxy needs them; else None."""
        return None

    def mask(self, before: Memory, after: Memory) -> Tensor | None:
        """Where the picture may change between two memories, bool (B, h w); None: anywhere."""
        return None

    def recall_(self, memory: Memory, earlier: Tensor, now: Tensor) -> None:
        """Put recorded states of the last two frames, (B, S) each, into a memory."""

    def doubt_(self, memory: Memory, seeds: Tensor, steps: Tensor, scale: float) -> None:
        """Displace what is known of states by as much as it is uncertain, times `scale`, by counted
        noise."""

    @property
    def head_learns(self) -> bool:
        """Whether there is anything for the head to learn from frames that were drawn."""
        return True

    def trained_first(self) -> dict[str, nn.Module]:
        """Modules that learn in a phase of their own before the denoiser does, by name."""
        return {}


class MapAtPlaces(nn.Module):
    """What a control means at each place of the picture.

    adaLN treats all places alike. For a target position, as Push-T's, a place must know whether
    the target is near it, and learning that through adaLN alone takes long. A small network of
    the control and the place's coordinates (as a spatial broadcast decoder: Watters et al.,
    arXiv 1901.07017) can say "here"; products of the sines and cosines of both say how far away.
    """

    centres: Tensor
    places: Tensor

    def __init__(self, size: int, frequencies: int, grid: tuple[int, int], hidden: int, width: int):
        """For `size` known numbers; the map has `width` numbers a place."""
        super().__init__()
        self.frequencies = frequencies
        # Halves: one is added to the place's, one multiplied with it.
        self.control = nn.Linear(num_features(size, frequencies), 2 * hidden)
        self.place = nn.Linear(num_features(2, frequencies), 2 * hidden)
        self.between = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, width)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        places = coordinates(*grid)
        self.register_buffer("centres", places, persistent=False)
        self.register_buffer("places", features(places, frequencies), persistent=False)

    def forward(self, known: Tensor, acted: Tensor) -> Tensor:
        """Known numbers (..., K), acted (...) -> (..., N, width), zero where none acted."""
        hidden = F.relu(self.hidden(known), inplace=True)  # a fifth of GELU's cost here
        hidden = F.relu(self.between(hidden), inplace=True)
        return self.out(hidden) * acted[..., None, None]

    def hidden(self, known: Tensor) -> Tensor:
        """The first layer, (..., N, hidden)."""
        control = self.control(features(known, self.frequencies))[..., None, :]
        added, scaled = control.chunk(2, dim=-1)
        place, scale = self.place(self.places).chunk(2, dim=-1)
        return torch.addcmul(added + place, scaled, scale)


class MapAround(nn.Module):
    """How far each place of the picture is from where an action points.

    It points at a linear function of its components; in the beginning the first two are taken for
    a place, across and down. If they are one, as Push-T's, what they mean is seen at once, where
    `MapAtPlaces` has to find out; if not, the function is learned as all else.
    """

    centres: Tensor

    def __init__(self, action_dim: int, grid: tuple[int, int], width: int):
        """For actions of so many components; the map has `width` numbers a place."""
        super().__init__()
        self.point = nn.Linear(action_dim, 2)
        nn.init.eye_(self.point.weight)
        nn.init.zeros_(self.point.bias)
        self.out = nn.Linear(2 + len(NEAR), width)
        self.register_buffer("centres", coordinates(*grid), persistent=False)

    def forward(self, actions: Tensor, acted: Tensor) -> Tensor:
        """Actions (..., A), acted (...) -> (..., N, width), zero where none acted."""
        away = self.point(actions)[..., None, :] - self.centres
        squared = away.square().sum(dim=-1, keepdim=True)
        near = [(-squared / (2 * radius**2)).exp() for radius in NEAR]
        return self.out(torch.cat((away, *near), dim=-1)) * acted[..., None, None]


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
