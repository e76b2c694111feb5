"""Layers of the 3-D U-Net: factored convolutions and attentions over space and time.

B batch, C channels, T frames, H W size, D condition width. Features are (B, C, T, H, W).
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

HEAD_WIDTH = 32
MAX_DISTANCE = 32


class ChannelNorm(nn.Module):
    """Layer norm over the channels of each position, with a gain and no bias."""

    def __init__(self, channels: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1, channels, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        variance = x.var(dim=1, unbiased=False, keepdim=True)
        return (x - x.mean(dim=1, keepdim=True)) / (variance + 1e-5).sqrt() * self.gamma


class ConvBlock(nn.Module):
    """Spatial convolution, group norm, optional scale and shift, SiLU."""

    def __init__(self, dim_in: int, dim_out: int):
        super().__init__()
        self.proj = nn.Conv3d(dim_in, dim_out, (1, 3, 3), padding=(0, 1, 1))
        self.norm = nn.GroupNorm(8, dim_out)

    def forward(self, x: Tensor, scale_shift: tuple[Tensor, Tensor] | None = None) -> Tensor:
        x = self.norm(self.proj(x))
        if scale_shift is not None:
            scale, shift = scale_shift
            x = x * (1 + scale) + shift
        return F.silu(x)


class ResidualBlock(nn.Module):
    """Two convolution blocks and a shortcut; a condition scales and shifts the first."""

    def __init__(self, dim_in: int, dim_out: int, condition_width: int | None = None):
        super().__init__()
        self.modulation = nn.Linear(condition_width, 2 * dim_out) if condition_width else None
        self.block1 = ConvBlock(dim_in, dim_out)
        self.block2 = ConvBlock(dim_out, dim_out)
        self.shortcut = nn.Conv3d(dim_in, dim_out, 1) if dim_in != dim_out else nn.Identity()

    def forward(self, x: Tensor, condition: Tensor | None = None) -> Tensor:
        scale_shift = None
        if self.modulation is not None:
            assert condition is not None, "this block was built with a condition"
            modulation = self.modulation(F.silu(condition))[:, :, None, None, None]
            scale_shift = modulation.chunk(2, dim=1)
        return self.block2(self.block1(x, scale_shift)) + self.shortcut(x)


class SpatialLinearAttention(nn.Module):
    """Residual linear attention over each frame's positions (Shen et al., arXiv 1812.01243)."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.norm = ChannelNorm(dim)
        self.to_qkv = nn.Conv2d(dim, 3 * num_heads * HEAD_WIDTH, 1, bias=False)
        self.to_out = nn.Conv2d(num_heads * HEAD_WIDTH, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, _, height, width = x.shape
        frames = rearrange(self.norm(x), "b c t h w -> (b t) c h w")
        q, k, v = rearrange(
            self.to_qkv(frames), "n (three g d) h w -> three n g d (h w)", three=3, g=self.num_heads
        ).unbind(0)
        q = q.softmax(dim=-2) * HEAD_WIDTH**-0.5
        context = k.softmax(dim=-1) @ v.transpose(-1, -2)  # (B*T, heads, d, d)
        out = context.transpose(-1, -2) @ q
        out = self.to_out(rearrange(out, "n g d (h w) -> n (g d) h w", h=height, w=width))
        return x + rearrange(out, "(b t) c h w -> b c t h w", b=batch)


class FrameAttention(nn.Module):
    """Residual softmax attention over each frame's positions."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.norm = ChannelNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * num_heads * HEAD_WIDTH, bias=False)
        self.to_out = nn.Linear(num_heads * HEAD_WIDTH, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, _, height, _ = x.shape
        tokens = rearrange(self.norm(x), "b c t h w -> (b t) (h w) c")
        out = self.attend(tokens)
        return x + rearrange(out, "(b t) (h w) c -> b c t h w", b=batch, h=height)

    def attend(
        self, tokens: Tensor, bias: Tensor | None = None, rotation: Tensor | None = None
    ) -> Tensor:
        """Attention within each group of tokens.

        Args:
            tokens: (groups, L, C).
            bias: (heads, L, L) added to the scores.
            rotation: (L, 2n) angles by which queries and keys are rotated.
        """
        qkv = rearrange(self.to_qkv(tokens), "n l (k g d) -> k n g l d", k=3, g=self.num_heads)
        q, k, v = qkv.unbind(0)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        return self.to_out(rearrange(out, "n g l d -> n l (g d)"))


class TemporalAttention(FrameAttention):
    """Residual attention over time at each position, rotary and with a relative bias."""

    def forward(self, x: Tensor, bias: Tensor, rotation: Tensor) -> Tensor:
        batch, _, _, height, width = x.shape
        tokens = rearrange(self.norm(x), "b c t h w -> (b h w) t c")
        out = self.attend(tokens, bias, rotation)
        return x + rearrange(out, "(b h w) t c -> b c t h w", b=batch, h=height, w=width)


def rotary_frequencies(width: int = HEAD_WIDTH) -> Tensor:
    """Angular frequencies of rotary embedding (Su et al., arXiv 2104.09864), (width / 2,)."""
    return 10_000.0 ** -(torch.arange(0, width, 2).float() / width)


def rotary_angles(frequencies: Tensor, length: int) -> Tensor:
    """Angle of each neighbouring pair of features at each step, each twice: (length, 2n)."""
    steps = torch.arange(length, device=frequencies.device, dtype=frequencies.dtype)
    return torch.outer(steps, frequencies).repeat_interleave(2, dim=-1)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Rotates neighbouring pairs of features (..., L, d) by angles (L, d)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    turned = torch.stack([-odd, even], dim=-1).flatten(-2)
    return x * angles.cos() + turned * angles.sin()


class RelativePositionBias(nn.Module):
    """Learned attention bias by distance in time, in T5's buckets (Raffel et al., 1910.10683)."""

    def __init__(self, num_buckets: int, num_heads: int):
        super().__init__()
        self.num_buckets = num_buckets
        self.table = nn.Embedding(num_buckets, num_heads)

    def forward(self, length: int) -> Tensor:
        """(heads, length, length): query, key."""
        steps = torch.arange(length, device=self.table.weight.device)
        return self.table(self._bucket(steps[:, None] - steps[None, :])).permute(2, 0, 1)

    def _bucket(self, age: Tensor) -> Tensor:
        """Bucket of a key that is `age` steps before its query; half are for later keys."""
        half = self.num_buckets // 2
        exact = half // 2  # distances below have a bucket each, those above share by logarithm
        distance = age.abs()
        ratio = torch.log(distance.clamp(min=1).float() / exact) / math.log(MAX_DISTANCE / exact)
        shared = (exact + (ratio * (half - exact)).long()).clamp(max=half - 1)
        return torch.where(distance < exact, distance, shared) + half * (age < 0)


def resampling_paddings(size: int, levels: int) -> list[int]:
    """Padding of each 4-wide, stride-2 down-sampling of one side, so that up-sampling undoes it.

    A side of s gives s / 2 with padding 1. Where that is odd and must be halved again, padding 2
    gives s / 2 + 1: at IRASim's published 36 x 64 latents, (1, 2, 1) in height.
    """
    if size % 2:
        raise ValueError(f"frames have a side of {size}: the U-Net needs even sides")
    paddings = []
    for level in range(levels):
        wide = (size // 2) % 2 and level < levels - 1
        paddings.append(2 if wide else 1)
        size = size // 2 + (1 if wide else 0)
    return paddings


class Downsample(nn.Conv3d):
    """Halves height and width."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, (1, 4, 4), stride=(1, 2, 2))

    def forward(self, input: Tensor, padding: tuple[int, int]) -> Tensor:
        return F.conv3d(input, self.weight, self.bias, self.stride, (0, *padding))


class Upsample(nn.ConvTranspose3d):
    """Undoes a Downsample of the same padding."""

    def __init__(self, channels: int):
        super().__init__(channels, channels, (1, 4, 4), stride=(1, 2, 2))

    def forward(self, input: Tensor, padding: tuple[int, int]) -> Tensor:
        return F.conv_transpose3d(input, self.weight, self.bias, self.stride, (0, *padding))
