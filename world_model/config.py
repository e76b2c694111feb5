"""What a world is: the content of its `config.json`, strictly read.

`WorldConfig` is what every world says; each engine has its own: `StreamingConfig` here,
`ChunkConfig` in chunk_config.py.
"""

import dataclasses
import json
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, Literal

from world_model.choices import ChoicesConfig
from world_model.config_fields import check_bounds, check_counts, check_positive, read_dataclass
from world_model.json_files import parse_json

# More would make a step of a damaged world last for ever.
MOST_LOOKS, MOST_STEPS = 64, 1000


@dataclass(frozen=True, kw_only=True)
class CodecConfig:
    """How frames become latents and back."""

    kind: Literal["pixels", "autoencoder_kl", "autoencoder_tiny"] = "pixels"
    """pixels: no network, latents are the frame itself; else the diffusers class of that name."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Constructor arguments of the diffusers autoencoder; empty for pixels."""
    latent_channels: int = 3
    downscale: int = 1
    """Pixels per latent cell, along each side."""
    scaling_factor: float = 1.0
    """Latents are multiplied by this after encoding."""

    def __post_init__(self) -> None:
        check_counts(self, "latent_channels", "downscale")
        check_positive("scaling_factor", self.scaling_factor)


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """Shape of the streaming space-time transformer."""

    patch: int = 16
    """Latent cells per token, along each side."""
    width: int = 256
    depth: int = 4
    num_heads: int = 4
    condition_width: int = 128
    """Width of the action and noise-level embedding that modulates each block."""
    context: int = 3
    """Earlier frames a frame attends to: the ring holds this many beside the present one."""
    action_frequencies: int = 6
    """Octaves of sine and cosine features of each action component, scaled to [-1, 1]."""
    head_width: int = 256
    """Hidden width of the head for reward, end and states."""
    foresight_width: int = 512
    """Hidden width of the network that guesses the next states (see foresight.py)."""
    reader_looks: int = 0
    """How often what was read off a first picture is read again, more closely, from the picture
    around each place and body (see reader.py)."""
    sees_states: bool = False
    """A frame is predicted from the states and the action before it too (see conditioning.py); in a
    rollout the states are those that were predicted."""

    def __post_init__(self) -> None:
        sizes = ("patch", "width", "depth", "num_heads", "condition_width", "head_width")
        check_counts(self, *sizes, "foresight_width")
        if self.width % self.num_heads:
            raise ValueError(f"width {self.width} is not divisible by num_heads {self.num_heads}")
        if self.context < 1:
            raise ValueError(f"context is {self.context}, expected at least 1 earlier frame")
        if not 0 <= self.reader_looks <= MOST_LOOKS:
            raise ValueError(f"reader_looks is {self.reader_looks}, expected 0 to {MOST_LOOKS}")


@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """How a frame is drawn from the denoiser."""

    num_steps: int = 2
    """Denoising passes per frame. The pass that writes the cache comes on top."""
    noise_scale: float = 0.3
    """Deviation of pure noise, where pixels span [-1, 1]. Most of a frame does not change, so
    noise of deviation 1 would drown what does at nearly every level."""
    dead_zone: float = 0.0
    """Changes of a latent smaller than this are none, those of twice this and more are whole: what
    stands still stays, and errors below it cannot add up over a long episode."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_steps <= MOST_STEPS:
            raise ValueError(f"num_steps is {self.num_steps}, expected 1 to {MOST_STEPS} passes")
        check_positive("noise_scale", self.noise_scale)
        if not 0 <= self.dead_zone < math.inf:
            raise ValueError(f"dead_zone is {self.dead_zone}, expected a threshold >= 0")


@dataclass(frozen=True, kw_only=True)
class ObservationConfig:
    """Bounds of a low-dimensional observation or a hidden state, in the environment's own units."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        check_bounds("observation", self.low, self.high)


@dataclass(frozen=True, kw_only=True)
class PlaneConfig:
    """What of actions and states lies in the picture's plane (see plane.py). Its bounds are the
    picture's edges, x across and y down."""

    action: bool = False
    """The action is a place (x, y)."""
    points: tuple[str, ...] = ()
    """States that are places (x, y)."""
    poses: tuple[str, ...] = ()
    """States that are a body's place and direction: x, y, cosine and sine of its angle from x to
    y."""
    reach: tuple[float, ...] = ()
    """How far around each point, then around each pose while it moves, the picture may change, in
    their units; empty: anywhere. What is not redrawn keeps its colours for ever."""

    def aspect(self, config: "StreamingConfig") -> float:
        """Height of the picture over its width, in the environment's units."""
        spans = [
            (high[1] - low[1]) / (high[0] - low[0]) for low, high in self._edges(config).values()
        ]
        return spans[0] if spans else 1.0

    def check(self, config: "StreamingConfig") -> None:
        """Raise ValueError unless all that lies in the plane is there and has the same edges."""
        for kind, names, size in (("point", self.points, 2), ("pose", self.poses, 4)):
            for name in names:
                found = config.tracked.get(name)
                if found is None or len(found.low) != size:
                    raise ValueError(
                        f"{kind} {name!r} is {found}, expected a state of {size} numbers; the "
                        f"world's states are {', '.join(config.tracked) or 'none'}"
                    )
        if self.reach and (
            len(self.reach) != len(self.points) + len(self.poses) or min(self.reach) <= 0
        ):
            raise ValueError(
                f"reach is {self.reach}, expected a distance over 0 for each of "
                f"{', '.join((*self.points, *self.poses)) or 'no point or pose'}"
            )
        if self.poses and not (self.points or self.action):
            raise ValueError("poses without points: nothing would be seen from those bodies")
        if self.action and config.action_dim != 2:
            raise ValueError(f"an action that is a place has 2 components, not {config.action_dim}")
        for name in self.poses:
            bounds = config.tracked[name]
            if bounds.low[2:] != (-1.0, -1.0) or bounds.high[2:] != (1.0, 1.0):
                raise ValueError(f"pose {name!r}: cosine and sine have bounds -1 and 1")
        edges = self._edges(config)
        if len(set(edges.values())) > 1:
            raise ValueError(f"what lies in the picture's plane has different edges: {edges}")

    def _edges(self, config: "StreamingConfig") -> dict[str, tuple[tuple[float, ...], ...]]:
        edges = {
            name: (config.tracked[name].low[:2], config.tracked[name].high[:2])
            for name in (*self.points, *self.poses)
        }
        return edges | ({"action": (config.action_low, config.action_high)} if self.action else {})


@dataclass(frozen=True, kw_only=True)
class KeysConfig:
    """How a keyboard drives the world's actions."""

    directions: tuple[Literal["right", "left", "down", "up"], ...] = ("right", "down")
    """Where the first and the second component of an action grow, as seen in the picture."""
    velocity: float | None = None
    """What a held key sets a component to whose bounds are symmetric, in the environment's own
    units. None: half its bound."""

    def __post_init__(self) -> None:
        if len(self.directions) != 2:
            raise ValueError(f"keys have {len(self.directions)} directions, expected two")
        if self.velocity is not None:
            check_positive("velocity of keys", self.velocity)


@dataclass(frozen=True, kw_only=True)
class GroundTruthConfig:
    """The Gymnasium environment that a world was learned from."""

    env_id: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    camera: str | None = None
    """Which of its pictures was recorded (see observed.py); None is the only one."""
    resize: bool = False
    """Its pictures were brought to the world's size when they were recorded."""


@dataclass(frozen=True, kw_only=True)
class WorldConfig(ABC):
    """All that a world is beside its weights, whatever its engine."""

    name: str
    height: int
    width: int
    fps: float
    action_low: tuple[float, ...]
    action_high: tuple[float, ...]
    action_names: tuple[str, ...] = ()
    choices: ChoicesConfig | None = None
    """What discrete actions are, which the world sees as one-hot vectors; None: they are none."""
    observations: dict[str, ObservationConfig] = field(default_factory=dict)
    """Low-dimensional observations that the head predicts, by name."""
    reward_head: bool = True
    """False: the world knows no reward and no end."""
    reward_low: float = 0.0
    reward_high: float = 1.0
    termination_threshold: float = 0.5
    """An episode ends where the predicted probability of its end exceeds this."""
    success_on_termination: bool = False
    """Reaching the end is success, as in Push-T."""
    max_episode_steps: int | None = None
    ground_truth: GroundTruthConfig | None = None
    keys: KeysConfig = field(default_factory=KeysConfig)
    codec: CodecConfig = field(default_factory=CodecConfig)

    def __post_init__(self) -> None:
        check_counts(self, "height", "width")
        check_positive("fps", self.fps)
        check_bounds("action", self.action_low, self.action_high)
        check_bounds("reward", (self.reward_low,), (self.reward_high,))
        if not 0 <= self.termination_threshold <= 1:
            raise ValueError(
                f"termination_threshold is {self.termination_threshold}, expected a probability "
                "from 0 to 1"
            )
        if self.choices is not None and self.choices.size != self.action_dim:
            raise ValueError(
                f"choices {self.choices.counts} make {self.choices.size} action components, the "
                f"bounds say {self.action_dim}"
            )
        if self.max_episode_steps is not None:
            check_counts(self, "max_episode_steps")
        if self.action_names and len(self.action_names) != self.action_dim:
            raise ValueError(
                f"{len(self.action_names)} action_names for {self.action_dim} action components"
            )

    @property
    def action_dim(self) -> int:
        return len(self.action_low)

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one frame's latents."""
        scale = self.codec.downscale
        return self.codec.latent_channels, self.height // scale, self.width // scale

    @property
    @abstractmethod
    def context(self) -> int:
        """Frames before the present one that a prediction sees."""

    @property
    @abstractmethod
    def num_steps(self) -> int:
        """Denoising steps of a prediction."""

    @property
    @abstractmethod
    def evaluations_per_step(self) -> int:
        """Passes through the denoiser that one step of the world takes."""

    @property
    @abstractmethod
    def actions_at_once(self) -> int:
        """Most actions that are predicted together, at the cost of one."""

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str, source: str = "config.json") -> "WorldConfig":
        """Read the config of whichever engine it names, strictly.

        Raises:
            ValueError: not JSON, an unknown or a missing key, or a value of the wrong type.
        """
        data = parse_json(text, source, "restore the file")
        engine = data.get("engine", "streaming") if isinstance(data, dict) else "streaming"
        if engine == "streaming":
            return read_dataclass(StreamingConfig, data, source)
        if engine == "chunk":
            from world_model.chunk_config import ChunkConfig  # loads torch

            return read_dataclass(ChunkConfig, data, source)
        raise ValueError(f"{source}: engine: expected streaming or chunk, got {engine!r}")


@dataclass(frozen=True, kw_only=True)
class StreamingConfig(WorldConfig):
    """A world that predicts one frame a step, over a ring of its past."""

    engine: Literal["streaming"] = "streaming"
    hidden: dict[str, ObservationConfig] = field(default_factory=dict)
    """States that the world predicts and no observation shows, by name: what the simulator knew of
    itself when its episodes were recorded."""
    plane: PlaneConfig = field(default_factory=PlaneConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    sampler: SamplerConfig = field(default_factory=SamplerConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        cell = self.codec.downscale * self.denoiser.patch
        if self.height % cell or self.width % cell:
            raise ValueError(
                f"frames of {self.height} x {self.width} do not divide into tokens of {cell} x "
                f"{cell} pixels (codec downscale {self.codec.downscale} x patch "
                f"{self.denoiser.patch}); {self._what_fits(cell)}"
            )
        if both := set(self.hidden) & set(self.observations):
            raise ValueError(f"{', '.join(sorted(both))}: hidden, and observed as well")
        drawn = self.hidden or self.plane.points or self.plane.poses
        if drawn and not self.denoiser.sees_states:
            raise ValueError("hidden states, points and poses are of worlds that have sees_states")
        if self.denoiser.sees_states and not self.tracked:
            raise ValueError("sees_states is set, but there are no observations or hidden states")
        self.plane.check(self)

    def _what_fits(self, cell: int) -> str:
        """The patches that frames divide into, and the frames that tokens of `cell` pixels do."""
        cells = math.gcd(self.height, self.width) // self.codec.downscale
        fitting = [str(patch) for patch in range(2, cells + 1) if cells % patch == 0]
        size = [max(1, round(side / cell)) * cell for side in (self.height, self.width)]
        frames = f"collect or convert frames of another size (--height {size[0]} --width {size[1]})"
        if not fitting or math.gcd(self.height, self.width) % self.codec.downscale:
            return f"no patch fits: {frames}"
        return f"patches that fit are {', '.join(fitting)} (--patch), or {frames}"

    @property
    def tracked(self) -> dict[str, ObservationConfig]:
        """All states that the world predicts: observations, then hidden ones."""
        return self.observations | self.hidden

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens in a frame."""
        _, height, width = self.latent_shape
        return height // self.denoiser.patch, width // self.denoiser.patch

    @property
    def state_dim(self) -> int:
        """Length of all tracked states together."""
        return sum(len(bounds.low) for bounds in self.tracked.values())

    @property
    def control_dim(self) -> int:
        """Length of what a frame is conditioned on (see conditioning.py)."""
        seen = (self.action_dim + 2 * self.state_dim) * self.denoiser.sees_states
        return self.action_dim + seen

    @property
    def context(self) -> int:
        return self.denoiser.context

    @property
    def num_steps(self) -> int:
        return self.sampler.num_steps

    @property
    def evaluations_per_step(self) -> int:
        return self.num_steps + 1  # one writes the cache, in the same call as the first pass

    @property
    def actions_at_once(self) -> int:
        return 1
