"""Config of a chunk world: a reference model, how it is sampled, how actions reach it."""

import math
from dataclasses import dataclass, field
from typing import Literal

from world_model.chunk.irasim import IRASimConfig
from world_model.chunk.sampling import Sampler, check_guidance, network_evaluations
from world_model.chunk.unet3d import UNet3DConfig
from world_model.config import WorldConfig


@dataclass(frozen=True, kw_only=True)
class ChunkSamplerConfig:
    """How a chunk is drawn from the denoiser; see `sample_chunk`."""

    name: Sampler = "pndm"
    num_steps: int = 50
    guidance: float = 1.0
    """Classifier-free guidance: 1 is the conditional prediction alone."""

    def __post_init__(self) -> None:
        network_evaluations(self.name, self.num_steps)  # refuses what the sampler does not take
        check_guidance(self.guidance)


@dataclass(frozen=True, kw_only=True)
class ChunkConfig(WorldConfig):
    """A world that predicts up to T - 1 frames at once, T being the denoiser's trained number."""

    engine: Literal["chunk"] = "chunk"
    reward_head: bool = False
    action_scale: tuple[float, ...]
    """The denoiser takes actions times this, component by component."""
    irasim: IRASimConfig | None = None
    """The denoiser, where it is IRASim's transformer."""
    unet3d: UNet3DConfig | None = None
    """The denoiser, where it is a 3-D U-Net (VDM, LVDM)."""
    sampler: ChunkSamplerConfig = field(default_factory=ChunkSamplerConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.irasim is None) == (self.unet3d is None):
            raise ValueError("a chunk world has one denoiser: give either irasim or unet3d")
        if self.reward_head or self.observations:
            raise ValueError(
                "a chunk world has no head: reward_head must be false and observations empty. "
                "Give the environment a reward_fn instead"
            )
        if len(self.action_scale) != self.action_dim:
            raise ValueError(
                f"{len(self.action_scale)} action_scale for {self.action_dim} action components"
            )
        if not all(math.isfinite(scale) for scale in self.action_scale):
            raise ValueError(f"action_scale is {self.action_scale}, expected finite numbers")
        if self.denoiser.action_dim != self.action_dim:
            raise ValueError(
                f"the denoiser takes actions of {self.denoiser.action_dim} components, the "
                f"action bounds have {self.action_dim}"
            )
        self._check_sizes()

    @property
    def denoiser(self) -> IRASimConfig | UNet3DConfig:
        """Whichever denoiser the world has."""
        denoiser = self.irasim or self.unet3d
        assert denoiser is not None
        return denoiser

    @property
    def chunk_frames(self) -> int:
        """Frames of a chunk, the given one included: T."""
        return self.denoiser.num_frames

    @property
    def actions_at_once(self) -> int:
        return self.chunk_frames - 1

    @property
    def context(self) -> int:
        return 1

    @property
    def num_steps(self) -> int:
        return self.sampler.num_steps

    @property
    def evaluations_per_step(self) -> int:
        evaluations = network_evaluations(self.sampler.name, self.sampler.num_steps)
        return evaluations if self.sampler.guidance == 1 else 2 * evaluations

    def _check_sizes(self) -> None:
        scale = self.codec.downscale
        if self.height % scale or self.width % scale:
            raise ValueError(
                f"frames of {self.height} x {self.width} do not divide into latent cells of "
                f"{scale} x {scale} pixels"
            )
        made = channels, *size = self.latent_shape
        if self.irasim is not None:
            channels, size = self.irasim.in_channels, self.irasim.latent_size
        elif self.unet3d is not None:  # takes any size
            channels = self.unet3d.channels
        if (channels, *size) != made:
            raise ValueError(
                f"the denoiser takes latents of {(channels, *size)} (channels, height, width), "
                f"the codec makes {made} of {self.height} x {self.width} pixels"
            )
