"""IRASim's baselines: a 3-D U-Net that denoises a chunk given one embedding of its actions.

VDM denoises pixels, LVDM latents; both are the U-Net of Video Diffusion Models (Ho et al.,
arXiv 2204.03458), factored over space and time, with the actions' embedding beside the time's.

B batch, T frames, A action, C channels, H W size (of latents or pixels).
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from world_model.chunk.layers import Mlp, check_chunk_inputs, drop_condition
from world_model.chunk.unet3d_layers import (
    Downsample,
    FrameAttention,
    RelativePositionBias,
    ResidualBlock,
    SpatialLinearAttention,
    TemporalAttention,
    Upsample,
    resampling_paddings,
    rotary_angles,
    rotary_frequencies,
)
from world_model.config_fields import check_count, check_counts, check_least, check_within

FIRST_KERNEL = 7


@dataclass(frozen=True, kw_only=True)
class UNet3DConfig:
    """What a U-Net denoiser is. It takes any frame size its down-sampling can halve."""

    channels: int
    """Of a frame: 4 for the SDXL VAE's latents (LVDM), 3 for pixels (VDM)."""
    dim: int
    """Channels of the first level; a multiple of 8."""
    action_dim: int
    dim_mults: tuple[int, ...] = (1, 2, 4, 8)
    """Channels of each level as multiples of `dim`; the size halves between levels."""
    action_width: int = 768
    """Width of the actions' embedding."""
    num_frames: int = 16
    num_heads: int = 8
    num_time_buckets: int = 32
    """Buckets of the relative bias in time."""
    condition_dropout: float = 0.1
    """Share of training items whose actions are replaced by the null embedding."""

    def __post_init__(self):
        sizes = ("channels", "dim", "action_dim", "action_width", "num_frames", "num_heads")
        check_counts(self, *sizes, "num_time_buckets")
        for mult in self.dim_mults:
            check_count("a level of dim_mults", mult)
        check_within(self, 0, 1, "condition_dropout")
        check_least(self, num_frames=2)
        if self.dim % 8:
            raise ValueError(f"dim is {self.dim}: group norm needs a multiple of 8")

    @property
    def widths(self) -> list[int]:
        """Channels before the first level and of each level."""
        return [self.dim, *(self.dim * mult for mult in self.dim_mults)]


def lvdm_config(**fields: Any) -> UNet3DConfig:
    """The published LVDM: latents, width 288; `fields` are UNet3DConfig's others."""
    return UNet3DConfig(channels=4, dim=288, **fields)


def vdm_config(**fields: Any) -> UNet3DConfig:
    """The published VDM: pixels, width 64; `fields` are UNet3DConfig's others."""
    return UNet3DConfig(channels=3, dim=64, **fields)


class Level(nn.Module):
    """One resolution of the U-Net: two residual blocks, attention over space and over time."""

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        config: UNet3DConfig,
        resample: type[Downsample | Upsample] | None,
    ):
        super().__init__()
        condition_width = 4 * config.dim + config.action_width
        self.res1 = ResidualBlock(dim_in, dim_out, condition_width)
        self.res2 = ResidualBlock(dim_out, dim_out, condition_width)
        self.spatial = SpatialLinearAttention(dim_out, config.num_heads)
        self.temporal = TemporalAttention(dim_out, config.num_heads)
        self.resample = resample(dim_out) if resample else None

    def forward(self, x: Tensor, condition: Tensor, bias: Tensor, rotation: Tensor) -> Tensor:
        x = self.res2(self.res1(x, condition), condition)
        return self.temporal(self.spatial(x), bias, rotation)


class UNet3D(nn.Module):
    """The denoiser: predicts the noise in a chunk of frames, given its actions."""

    def __init__(self, config: UNet3DConfig):
        super().__init__()
        self.config = config
        dim, widths = config.dim, config.widths
        condition_width = 4 * dim + config.action_width
        self.time_embedding = nn.Sequential(
            nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, 4 * dim)
        )
        self.action_embedding = Mlp(
            (config.num_frames - 1) * config.action_dim,
            4 * config.action_width,
            config.action_width,
        )
        self.null_action = nn.Parameter(torch.randn(1, config.action_width))
        self.time_bias = RelativePositionBias(config.num_time_buckets, config.num_heads)
        for name, value in self.constants(config).items():
            self.register_buffer(name, value)
        self.rotary_frequencies: Tensor
        kernel = (1, FIRST_KERNEL, FIRST_KERNEL)
        half = FIRST_KERNEL // 2
        self.first = nn.Conv3d(config.channels, dim, kernel, padding=(0, half, half))
        self.first_temporal = TemporalAttention(dim, config.num_heads)
        pairs = list(itertools.pairwise(widths))
        self.downs = nn.ModuleList(
            Level(narrow, wide, config, Downsample if index < len(pairs) - 1 else None)
            for index, (narrow, wide) in enumerate(pairs)
        )
        self.mid1 = ResidualBlock(widths[-1], widths[-1], condition_width)
        self.mid_spatial = FrameAttention(widths[-1], config.num_heads)
        self.mid_temporal = TemporalAttention(widths[-1], config.num_heads)
        self.mid2 = ResidualBlock(widths[-1], widths[-1], condition_width)
        # The input of an up level is the level below and the skip, side by side.
        self.ups = nn.ModuleList(
            Level(2 * wide, narrow, config, Upsample if index < len(pairs) - 1 else None)
            for index, (narrow, wide) in enumerate(reversed(pairs))
        )
        self.final = ResidualBlock(2 * dim, dim)
        self.out = nn.Conv3d(dim, config.channels, 1)

    @staticmethod
    def constants(config: UNet3DConfig) -> dict[str, Tensor]:
        """Buffers that are not learned: the frequencies of the rotary embedding of time."""
        return {"rotary_frequencies": rotary_frequencies()}

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        actions: Tensor | None,
        generator: torch.Generator | None = None,
        dropped: Tensor | None = None,
    ) -> Tensor:
        """Predicts the noise in every frame, (B, T, C, H, W); see `IRASim.forward`. Here x may be
        frames as well as latents."""
        config = self.config
        sizes = (config.channels, "H", "W")
        check_chunk_inputs(x, actions, config.num_frames, config.action_dim, sizes)
        dtype = self.first.weight.dtype
        num_levels = len(self.downs) - 1
        paddings = list(
            zip(*(resampling_paddings(side, num_levels) for side in x.shape[-2:]), strict=True)
        )
        condition = self._condition(t, actions, len(x), generator, dropped)
        time = (self.time_bias(x.shape[1]), rotary_angles(self.rotary_frequencies, x.shape[1]))
        hidden = self.first(rearrange(x.to(dtype), "b t c h w -> b c t h w"))
        hidden = self.first_temporal(hidden, *time)
        stem = hidden
        skips = []
        for index, level in enumerate(self.downs):
            hidden = level(hidden, condition, *time)
            skips.append(hidden)
            if index < num_levels:
                hidden = level.resample(hidden, paddings[index])  # pyright: ignore
        hidden = self.mid_spatial(self.mid1(hidden, condition))
        hidden = self.mid2(self.mid_temporal(hidden, *time), condition)
        for index, level in enumerate(self.ups):
            hidden = level(torch.cat([hidden, skips.pop()], dim=1), condition, *time)
            if index < num_levels:
                hidden = level.resample(hidden, paddings[-1 - index])  # pyright: ignore
        hidden = self.out(self.final(torch.cat([hidden, stem], dim=1)))
        return rearrange(hidden, "b c t h w -> b t c h w").to(x.dtype)

    def _condition(
        self,
        t: Tensor,
        actions: Tensor | None,
        batch: int,
        generator: torch.Generator | None,
        dropped: Tensor | None,
    ) -> Tensor:
        """Embeddings of time and actions side by side, (B, 4 dim + action_width)."""
        dtype = self.first.weight.dtype
        time = self.time_embedding(unet_time_features(t, self.config.dim).to(dtype))
        if actions is None:
            action = self.null_action.expand(batch, -1)
        else:
            action = self.action_embedding(actions.to(dtype).flatten(1))
            if self.training or dropped is not None:
                action = drop_condition(
                    action, self.null_action, self.config.condition_dropout, generator, dropped
                )
        return torch.cat([time, action], dim=-1)


def unet_time_features(t: Tensor, width: int) -> Tensor:
    """Sines, then cosines, of frequencies spaced from 1 to 1 / 10000 inclusive: (B, width)."""
    half = width // 2
    spacing = math.log(10_000) / (half - 1)
    frequencies = torch.exp(torch.arange(half, device=t.device) * -spacing)
    angles = t.float()[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
