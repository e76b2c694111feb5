"""What a streaming world is: what its `config.json` says beside `WorldConfig`."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

from world_model.config import ObservationConfig, WorldConfig
from world_model.config_fields import check_counts, check_least, check_positive, check_within
from world_model.renamed import moved, renamed
from world_model.streaming.states.config import StatesConfig
from world_model.streaming.states.flat_config import with_states_together

# More would make a step of a damaged world last for ever.
MOST_STEPS, MOST_PARTS = 1000, 64


@dataclass(frozen=True, kw_only=True)
class DenoiserConfig:
    """Shape of the network that draws frames."""

    network: Literal["transformer", "unet"] = "transformer"
    """A space-time transformer (see denoiser.py), or convolutions that move what the last frame
    shows (see unet.py)."""
    patch: int = 16
    """Latent cells per token, along each side."""
    width: int = 256
    """Of tokens; of the U-Net, channels of its finest level."""
    depth: int = 4
    """Blocks; of the U-Net, those of each level on the way down."""
    num_heads: int = 4
    """Of the transformer."""
    parts: int = 4
    """Of the U-Net: parts of a frame that move rigidly, each by itself."""
    blend_contrast: float = 1.0
    """Of the U-Net: what a world multiplies the logits of its blends with as it steps. Above 1 a
    pixel is chosen from its sources rather than mixed of them, which is sharper."""
    condition_width: int = 128
    """Width of the action and noise-level embedding that modulates each block."""
    context: int = 3
    """Earlier frames a frame attends to: the ring holds this many beside the present one."""
    action_frequencies: int = 6
    """Octaves of sine and cosine features of each action component, scaled to [-1, 1]."""
    head_width: int = 256
    """Hidden width of the head for reward, end and observations, and of the reward model."""

    def __post_init__(self) -> None:
        check_counts(self, "patch", "width", "depth", "num_heads", "condition_width", "head_width")
        check_within(self, 0, MOST_PARTS, "parts")
        check_within(self, 0.01, 100, "blend_contrast")
        check_least(self, context=1)
        if self.network == "transformer" and self.width % self.num_heads:
            raise ValueError(f"width {self.width} is not divisible by num_heads {self.num_heads}")
        if self.network == "unet" and self.width % 8:
            raise ValueError(f"width is {self.width}, expected a multiple of 8 for a U-Net's norms")
        if self.network == "unet" and self.patch % 2:
            raise ValueError(f"patch is {self.patch}, expected an even number for a U-Net")


@renamed(dead_zone="change_threshold")
@dataclass(frozen=True, kw_only=True)
class SamplerConfig:
    """How a frame is drawn from the denoiser."""

    num_steps: int = 2
    """Denoising passes per frame. The pass that writes the cache comes on top."""
    noise_scale: float = 0.3
    """Deviation of pure noise, where pixels span [-1, 1]. Most of a frame does not change, so
    noise of deviation 1 would drown what does at nearly every level."""
    change_threshold: float = 0.0
    """Changes of a latent smaller than this are set to zero, those of at least twice this are kept
    in full: what stands still stays still, and small errors cannot add up over a long episode."""

    def __post_init__(self) -> None:
        check_within(self, 1, MOST_STEPS, "num_steps")
        check_positive("noise_scale", self.noise_scale)
        if not 0 <= self.change_threshold < math.inf:
            raise ValueError(
                f"change_threshold is {self.change_threshold}, expected a threshold >= 0"
            )


@moved("states", StatesConfig, hidden="hidden", labelled="labelled", plane="planar", proxy="proxy")
@dataclass(frozen=True, kw_only=True)
class StreamingConfig(WorldConfig):
    """A world that predicts one frame a step, over a ring of its past."""

    engine: Literal["streaming"] = "streaming"
    states: StatesConfig | None = None
    """What it knows of states; None: it is a plain video world, on frames and actions."""
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
        if self.states is not None:
            self.states.check(self, self.codec.downscale)
        if self.denoiser.network == "unet":
            self._check_unet()

    @classmethod
    def upgraded(cls, data: dict[str, Any], where: str) -> dict[str, Any]:
        """See `WorldConfig.upgraded`."""
        return with_states_together(data, where)

    def _check_unet(self) -> None:
        cell = 4 * self.denoiser.patch * self.codec.downscale
        if self.height % cell or self.width % cell:
            raise ValueError(
                f"frames of {self.height} x {self.width} do not divide by {cell}, the pixels of a "
                f"U-Net's coarsest cell at patch {self.denoiser.patch}: take another --patch, or "
                "frames of another size"
            )
        if self.states is not None and self.states.proxy:
            raise ValueError(
                "a U-Net moves what the last frame shows, and a proxy draws each frame anew: leave "
                'out the proxy, or take the network "transformer"'
            )

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
    def required_states(self) -> StatesConfig:
        """`states`, for what only a world that has them can do.

        Raises:
            ValueError: This one has none.
        """
        if self.states is None:
            raise ValueError(
                f"world {self.name!r} knows no states ('states' of its config is null): take a "
                "world that was trained with states (irasim train --states)"
            )
        return self.states

    @property
    def tracked(self) -> dict[str, ObservationConfig]:
        """All states that the world predicts: observations, then hidden ones."""
        return self.observations | (self.states.hidden if self.states is not None else {})

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tokens in a frame."""
        _, height, width = self.latent_shape
        return height // self.denoiser.patch, width // self.denoiser.patch

    @property
    def control_dim(self) -> int:
        """Length of what a frame is conditioned on (see streaming/conditioning.py)."""
        if self.states is None:
            return self.action_dim
        return 2 * (self.action_dim + self.state_dim)

    @property
    def context(self) -> int:
        return self.denoiser.context

    @property
    def num_steps(self) -> int:
        return self.sampler.num_steps

    @property
    def evaluations_per_step(self) -> int:
        return self.num_steps + 1  # one writes the cache, in the same call as the first pass
