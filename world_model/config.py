"""What a world is: the content of its `config.json`, strictly read.

`WorldConfig` is what every world says; each engine adds its own (see engines.py).
"""

import dataclasses
import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from world_model.choices import ChoicesConfig
from world_model.config_fields import check_bounds, check_counts, check_positive, read_dataclass
from world_model.engines import DEFAULT, ENGINES
from world_model.io.json_files import parse_json
from world_model.lazy_names import load

if TYPE_CHECKING:
    from torch import Tensor

DEFAULT_WORLD = "pusht"  # the one that ships, which commands take where no other is named


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
class ObservationConfig:
    """Bounds of a low-dimensional observation or a hidden state, in the environment's own units."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        check_bounds("observation", self.low, self.high)


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
    engine: str = DEFAULT
    """How it predicts: a name in engines.py."""
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
    """Reaching the end is success."""
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
    def tracked(self) -> dict[str, ObservationConfig]:
        """All states that the world predicts: observations, and what an engine adds."""
        return self.observations

    @property
    def state_dim(self) -> int:
        """Length of all tracked states together."""
        return sum(len(bounds.low) for bounds in self.tracked.values())

    def by_name(self, states: "Tensor") -> "dict[str, Tensor]":
        """All states (..., S), each by its name (..., n)."""
        sizes = {name: len(bounds.low) for name, bounds in self.tracked.items()}
        return dict(zip(sizes, states.split(list(sizes.values()), dim=-1), strict=True))

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
    def actions_at_once(self) -> int:
        """Most actions that are predicted together, at the cost of one."""
        return 1

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str, source: str = "config.json") -> "WorldConfig":
        """Read the config of whichever engine it names, strictly.

        Raises:
            ValueError: not JSON, an unknown or a missing key, or a value of the wrong type.
        """
        data = parse_json(text, source, "restore the file")
        engine = data.get("engine", DEFAULT) if isinstance(data, dict) else DEFAULT
        if not isinstance(engine, str) or engine not in ENGINES:
            raise ValueError(f"{source}: engine: expected {' or '.join(ENGINES)}, got {engine!r}")
        kind: type[WorldConfig] = load(ENGINES[engine].config)
        if isinstance(data, dict):
            data = kind.upgraded(data, source)
        return read_dataclass(kind, data, source)

    @classmethod
    def upgraded(cls, data: dict[str, Any], where: str) -> dict[str, Any]:
        """Data of a config of this class, which an earlier version may have written, in today's
        form; new names of single fields aside (see renamed.py).

        Raises:
            ValueError: They are of several forms at once.
        """
        return data
