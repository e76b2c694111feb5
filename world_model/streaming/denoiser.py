"""The streaming denoiser: a space-time transformer, causal in time, that predicts a change.

A frame's tokens see each other, and at their own place the frames before (at most `context` of
them). The action that led to a frame modulates each block that processes it (frame-level adaLN:
IRASim, arXiv 2406.14540, section 3.2; adaLN-Zero: Peebles and Xie, arXiv 2212.09748). Every frame
has a noise level of its own (diffusion forcing: Chen et al., arXiv 2407.01392).

What is denoised is the change from the frame before. With level t in [0, 1] and noise e, the
input is the noisy change u = (1 - t) (x - previous) + t e (rectified flow's straight path: Liu et
al., arXiv 2209.03003) beside `previous` itself, the output is the change, and training starts
from "nothing moved".

Two ways to run the same weights, equal to rounding (tests/world_model/test_world.py):
`forward` over whole clips under a sliding-window mask, `stream` one frame at a time over a ring.

Dimensions: B batch, T time, C channels, h w latent cells, N tokens, W embedding, G heads, D head
width.
"""

import copy
from typing import cast

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from world_model.streaming.block import Block, ModulatedNorm, through
from world_model.streaming.conditioning import Conditioning, level_features
from world_model.streaming.config import StreamingConfig
from world_model.streaming.high_resolution_head import HighResolutionHead
from world_model.streaming.kv_ring import Ring


class StreamingDenoiser(nn.Module):
    """Predicts the clean change to a frame from its noisy change, its past and its conditioning."""

    def __init__(self, config: StreamingConfig):
        super().__init__()
        self.config = shape = config.denoiser
        self.channels, self.height, self.width = config.latent_shape
        self.grid = config.grid
        num_tokens = self.grid[0] * self.grid[1]
        token_size = self.channels * shape.patch**2
        self.embed_tokens = nn.Linear(2 * token_size, shape.width)
        self.position = nn.Parameter(torch.randn(num_tokens, shape.width) * 0.02)
        self.level = nn.Sequential(
            nn.Linear(64, shape.condition_width),
            nn.SiLU(),
            nn.Linear(shape.condition_width, shape.condition_width),
        )
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.final = ModulatedNorm(shape.width, shape.condition_width)
        self.to_change = nn.Linear(shape.width, token_size)
        nn.init.zeros_(self.to_change.weight)
        nn.init.zeros_(self.to_change.bias)
        self.high_resolution_head = HighResolutionHead(config)

    def forward(
        self, noisy: Tensor, previous: Tensor, levels: Tensor, conditioning: Conditioning
    ) -> tuple[Tensor, Tensor]:
        """Whole clips at once, each frame seeing itself and `context` frames before it.

        Args:
            noisy: Noisy changes (B, T, C, h, w).
            previous: The frame before each, (B, T, C, h, w); a clip's first frame has itself.
            levels: Noise level of each frame (B, T) in [0, 1].
            conditioning: Of all T frames.

        Returns:
            The changes (B, T, C, h, w) and the tokens (B, T, N, width) that the head reads.
        """
        frame = torch.arange(noisy.shape[1], device=noisy.device)
        ages = frame[:, None] - frame  # (T, T)
        ages = torch.where(
            (ages >= 0) & (ages <= self.config.context), ages, self.config.context + 1
        )
        condition = self._condition(levels, conditioning)
        noisy = informative(noisy, levels)
        tokens = self._tokenize(noisy, previous, conditioning)  # (B, T, N, width)
        for block in self._blocks():
            tokens = block(tokens, block.modulations(condition), block.bias(ages))
        return self._changes(tokens, noisy, previous, condition, conditioning), tokens

    def stream(
        self,
        noisy: Tensor,
        previous: Tensor,
        levels: Tensor,
        conditioning: Conditioning,
        ring: Ring,
    ) -> tuple[Tensor, Tensor]:
        """The newest frames of each environment, over the ring of their past.

        Writes their slots. The frames are the ring's newest, and with T = 2 also the one after it,
        which sees the one before it as it is in this pass.

        Args:
            noisy: Noisy changes (B, T, C, h, w).
            previous: The frame before each, (B, T, C, h, w).
            levels: Noise level of each frame (B, T).
            conditioning: Of the T frames, made with `last`.
            ring: Of the past.

        Returns:
            Change (B, C, h, w) and tokens (B, N, width) of the last of them.
        """
        condition, noisy = self._condition(levels, conditioning), informative(noisy, levels)
        tokens = self._through_ring(noisy, previous, condition, conditioning, ring)
        noisy, previous, condition = noisy[:, -1], previous[:, -1], condition[:, -1]
        return self._changes(tokens, noisy, previous, condition, conditioning), tokens

    def remember(
        self, change: Tensor, previous: Tensor, conditioning: Conditioning, ring: Ring
    ) -> Tensor:
        """Write the slots of frames (B, T, ...) whose changes are known; the last one's tokens."""
        condition = self._condition(change.new_zeros(change.shape[:2]), conditioning)
        return self._through_ring(change, previous, condition, conditioning, ring)

    def _through_ring(
        self,
        noisy: Tensor,
        previous: Tensor,
        condition: Tensor,
        conditioning: Conditioning,
        ring: Ring,
    ) -> Tensor:
        at, ages = ring.places(noisy.shape[1])
        tokens = self._tokenize(noisy, previous, conditioning)  # (B, T, N, width)
        for layer, block in enumerate(self._blocks()):
            # (G, B, T, S) -> (B, T, S, 1, G), beside scores (B, T, S, N, G)
            bias = block.bias(ages).permute(1, 2, 3, 0)[..., None, :]
            tokens = block.stream(tokens, block.modulations(condition), bias, ring, layer, at)
        return tokens[:, -1]

    def empty_ring(self, num_envs: int) -> Ring:
        """An empty ring for `num_envs` environments."""
        config = self.config
        return Ring.empty(
            (
                config.depth,
                num_envs,
                config.context + 2,
                self.grid[0] * self.grid[1],
                config.num_heads,
                config.width // config.num_heads,
            ),
            like=self.position,
        )

    @property
    def tokens(self) -> tuple[int, int]:
        """How many tokens the head reads, and of how many numbers each."""
        return self.grid[0] * self.grid[1], self.config.width

    def half_precision(self) -> "StreamingDenoiser":
        """A copy whose large matrix products and convolutions are in bfloat16.

        Tokens, norms, softmax in time, conditioning and the ring stay float32.
        """
        copied = copy.deepcopy(self)
        head = copied.high_resolution_head
        layers = [copied.embed_tokens, copied.to_change, head.from_tokens]
        layers += [head.first, head.second, head.last]
        for block in copied._blocks():
            layers += [block.space_in, block.space_out, block.time_in, block.time_out]
            layers += [block.mlp_in, block.mlp_out]
        for layer in layers:
            layer.bfloat16()
        return copied.eval()

    def _blocks(self) -> list[Block]:
        return cast(list[Block], list(self.blocks))

    def _condition(self, levels: Tensor, conditioning: Conditioning) -> Tensor:
        """What modulates blocks, (B, T, W)."""
        return F.silu(conditioning.embedding + self.level(level_features(levels, 64)))

    def _tokenize(self, noisy: Tensor, previous: Tensor, conditioning: Conditioning) -> Tensor:
        """Noisy changes by the weight of their signal, and frames before, to tokens."""
        both = torch.cat((noisy, previous), dim=-3)
        patches = rearrange(
            both,
            "... c (r p) (s q) -> ... (r s) (c p q)",
            p=self.config.patch,
            q=self.config.patch,
        )
        at_place = self.position + conditioning.at_tokens
        return through(self.embed_tokens, patches) + at_place

    def _changes(
        self,
        tokens: Tensor,
        noisy: Tensor,
        previous: Tensor,
        condition: Tensor,
        conditioning: Conditioning,
    ) -> Tensor:
        tokens = self.final(tokens, self.final.modulations(condition))
        coarse = rearrange(
            through(self.to_change, tokens),
            "... (r s) (c p q) -> ... c (r p) (s q)",
            r=self.grid[0],
            c=self.channels,
            p=self.config.patch,
        )
        assert conditioning.at_cells is not None, "conditioners of a transformer give them"
        fine = self.high_resolution_head(tokens, noisy, previous, conditioning.at_cells)
        return coarse + fine


def informative(noisy: Tensor, levels: Tensor) -> Tensor:
    """Noisy changes (..., C, h, w) by the weight of their signal: of pure noise nothing gets in."""
    return (1 - levels)[..., None, None, None] * noisy
