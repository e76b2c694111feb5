"""Blocks of the streaming denoiser: attention in space, attention in time, MLP.

Each takes a frame's tokens through the condition that modulates them (adaLN-Zero: Peebles and
Xie, arXiv 2212.09748), over whole clips (`forward`) or over a ring of the past (`stream`).

Dimensions: B batch, T time, N tokens, S slots of the ring, G heads, D head width.
"""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from world_model.streaming.config import DenoiserConfig
from world_model.streaming.kv_ring import Places, Ring

# Shift, 1 + scale and, in blocks, gate of one norm after the other, each (..., 1, width).
Modulations = list[Tensor]


class ModulatedNorm(nn.Module):
    """Layer norm, then the scale and shift that the condition asks for."""

    def __init__(self, width: int, condition_width: int):
        super().__init__()
        self.modulation = nn.Linear(condition_width, 2 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def modulations(self, condition: Tensor) -> Modulations:
        """Condition (..., condition_width) -> shift and 1 + scale, (..., 1, width) each."""
        shift, scale = self.modulation(condition)[..., None, :].chunk(2, dim=-1)
        return [shift, 1 + scale]

    def forward(self, tokens: Tensor, modulations: Modulations) -> Tensor:
        """Tokens (..., N, width)."""
        return modulate(tokens, *modulations)


def modulate(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights of its own, scaled and shifted (adaLN)."""
    return torch.addcmul(shift, F.layer_norm(tokens, tokens.shape[-1:]), scale)


def through(layer: nn.Linear, x: Tensor) -> Tensor:
    """A linear layer in the type of its weights, which may be narrower than what comes in."""
    return layer(x.to(layer.weight.dtype))


class Block(nn.Module):
    """Attention in space, attention in time, MLP; each modulated and gated by the condition."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        width = config.width
        self.num_heads = config.num_heads
        self.modulation = nn.Linear(config.condition_width, 9 * width)
        # Closed gates, so that blocks fade in (adaLN-Zero). With open ones training hardly began:
        # after 90 steps on one batch the loss stood at 0.91 of "nothing moves", here at 0.21.
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.space_in = nn.Linear(width, 3 * width)
        self.space_out = nn.Linear(width, width)
        self.time_in = nn.Linear(width, 3 * width)
        self.time_out = nn.Linear(width, width)
        # How much each head likes a frame of each age, 0 to context.
        self.age_bias = nn.Parameter(torch.zeros(config.num_heads, config.context + 1))
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(self, tokens: Tensor, modulations: Modulations, bias: Tensor) -> Tensor:
        """Clips: tokens (B, T, N, width), bias (G, T, T) of key for query."""
        tokens = self._attend_space(tokens, *modulations[:3])
        shift, scale, gate = modulations[3:6]
        query, key, value = self._heads(through(self.time_in, modulate(tokens, shift, scale)))
        # Each place attends along time: (B, T, N, G, D) -> (B * N, G, T, D).
        query, key, value = (rearrange(x, "b t n g d -> (b n) g t d") for x in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        mixed = rearrange(mixed, "(b n) g t d -> b t n (g d)", b=len(tokens))
        tokens = torch.addcmul(tokens, gate, through(self.time_out, mixed))
        return self._mlp(tokens, *modulations[6:])

    def stream(
        self,
        tokens: Tensor,
        modulations: Modulations,
        bias: Tensor,
        ring: Ring,
        layer: int,
        at: Places,
    ) -> Tensor:
        """The ring's newest frames: tokens (B, T, N, width), bias (B, T, S, 1, G) of its slots."""
        tokens = self._attend_space(tokens, *modulations[:3])
        shift, scale, gate = modulations[3:6]
        query, key, value = self._heads(through(self.time_in, modulate(tokens, shift, scale)))
        keys, values = ring.write(layer, at, key, value)  # (B, S, N, G, D)
        # Few queries: sums of products beat batched matrix products of such small size by far.
        scores = (keys[:, None] * query[:, :, None]).sum(-1)  # (B, T, S, N, G)
        weights = torch.add(bias, scores, alpha=query.shape[-1] ** -0.5).softmax(dim=2)
        mixed = (weights[..., None] * values[:, None]).sum(2)  # (B, T, N, G, D)
        tokens = torch.addcmul(tokens, gate, through(self.time_out, mixed.flatten(-2)))
        return self._mlp(tokens, *modulations[6:])

    def modulations(self, condition: Tensor) -> Modulations:
        """Shift, 1 + scale and gate for space, time and MLP, each (..., 1, width)."""
        parts = list(self.modulation(condition)[..., None, :].chunk(9, dim=-1))
        for index in (1, 4, 7):
            parts[index] = 1 + parts[index]
        return parts

    def bias(self, ages: Tensor) -> Tensor:
        """Ages (...) -> what attention adds to scores (G, ...); -inf for ages past the context."""
        biases = F.pad(self.age_bias, (0, 1), value=-math.inf)
        return biases[:, ages]

    def _heads(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., N, 3 width) -> query, key and value (..., N, G, D), the first two normalised."""
        parts = projected.unflatten(-1, (3, self.num_heads, -1))
        query, key = F.rms_norm(parts[..., :2, :, :], parts.shape[-1:]).unbind(-3)
        return query, key, parts[..., 2, :, :]

    def _attend_space(self, tokens: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        query, key, value = self._heads(through(self.space_in, modulate(tokens, shift, scale)))
        # (B, T, N, G, D) -> (B * T, G, N, D)
        query, key, value = (x.flatten(0, 1).transpose(1, 2) for x in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
        mixed = mixed.reshape(tokens.shape)
        return torch.addcmul(tokens, gate, through(self.space_out, mixed))

    def _mlp(self, tokens: Tensor, shift: Tensor, scale: Tensor, gate: Tensor) -> Tensor:
        hidden = through(self.mlp_in, modulate(tokens, shift, scale))
        hidden = F.gelu(hidden, approximate="tanh")
        return torch.addcmul(tokens, gate, through(self.mlp_out, hidden))
