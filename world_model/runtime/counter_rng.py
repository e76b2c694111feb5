"""Counted noise: Gaussian numbers that are a function of (seed, step, pass), never drawn.

The same in any batch, on any device up to the last bits of log and cos, and after any snapshot.
"""

import math

import torch
from torch import Tensor

# SplitMix64 (Steele, Lea, Flood 2014), its constants as signed 64-bit integers.
_GOLDEN = -7046029254386353131
_MIX_1 = -4658895280553007687
_MIX_2 = -7723592293110705685
_STREAM = 7157611295795176473  # any odd number
# Stream that candidates' seeds are hashed with; noise has small numbers from 0 on.
_CANDIDATES = 2**32


def _signed(number: int) -> int:
    """A Python integer wrapped to signed 64 bits."""
    return (number + 2**63) % 2**64 - 2**63


def _mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser; int64 arithmetic wraps, right shifts are made logical."""
    z = (z ^ ((z >> 30) & ((1 << 34) - 1))) * _MIX_1
    z = (z ^ ((z >> 27) & ((1 << 37) - 1))) * _MIX_2
    return z ^ ((z >> 31) & ((1 << 33) - 1))


def counted_noise(
    seeds: Tensor, steps: Tensor, shape: tuple[int, ...], *, stream: int = 0
) -> Tensor:
    """Standard normal numbers keyed by (seed, step, stream).

    Args:
        seeds: int64 (B,), one per environment.
        steps: int64 (B,), each environment's own step count.
        shape: Shape of one environment's noise.
        stream: Tells apart draws within one step, such as denoising passes.

    Returns:
        float32 (B, *shape).
    """
    size = math.prod(shape)
    bits = _counted_bits(seeds, steps, (size + 1) // 2, stream)
    # Box-Muller: 24 high bits make the radius, never of zero; 24 others the angle.
    radius_bits = ((bits >> 40) & 0xFFFFFF).to(torch.float32)
    angle_bits = ((bits >> 16) & 0xFFFFFF).to(torch.float32)
    radius = torch.sqrt(-2.0 * torch.log((radius_bits + 0.5) / 2**24))
    angle = angle_bits * (2 * math.pi / 2**24)
    pair = torch.cat((radius * torch.cos(angle), radius * torch.sin(angle)), dim=1)
    return pair[:, :size].reshape(len(seeds), *shape)


def counted_uniform(
    seeds: Tensor, steps: Tensor, shape: tuple[int, ...], *, stream: int = 0
) -> Tensor:
    """Uniform numbers in [0, 1), keyed as `counted_noise`'s; float32 (B, *shape)."""
    bits = _counted_bits(seeds, steps, math.prod(shape), stream)
    return (((bits >> 40) & 0xFFFFFF).to(torch.float32) / 2**24).reshape(len(seeds), *shape)


def counted_index(seeds: Tensor, steps: Tensor, bound: int, *, stream: int = 0) -> Tensor:
    """One integer in [0, bound) each, keyed as `counted_noise`'s; int64 (B,)."""
    return (_counted_bits(seeds, steps, 1, stream)[:, 0] >> 1 & (1 << 62) - 1) % bound


def candidate_seeds(seeds: Tensor, num_candidates: int) -> Tensor:
    """A seed for each candidate of each environment, those of one environment together.

    Candidate 0 has its environment's own; the others' are hashed from it and their number.

    Args:
        seeds: int64 (B,).
        num_candidates: K, at least 1.

    Returns:
        int64 (B * K,).
    """
    numbers = torch.arange(num_candidates, device=seeds.device).repeat(len(seeds))
    own = seeds.repeat_interleave(num_candidates)
    return torch.where(numbers == 0, own, _counted_bits(own, numbers, 1, _CANDIDATES)[:, 0])


def _counted_bits(seeds: Tensor, steps: Tensor, size: int, stream: int) -> Tensor:
    """64 random bits `size` times per row, int64 (B, size)."""
    key = _mix(_mix(seeds + _GOLDEN) + steps)
    key = _mix(key + _signed((stream + 1) * _STREAM))  # (B,)
    counter = torch.arange(size, dtype=torch.int64, device=seeds.device)
    return _mix(key[:, None] + counter * _GOLDEN)
