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

Dimensions: B batch, T time, C channels, h w latent cells, N tokens, A action, G heads, D head
width.
"""

import copy
from dataclasses import dataclass, replace
from typing import cast

import torch
from einops import rearrange
from torch import Tensor, nn

from world_model.streaming.block import Block, ModulatedNorm, Modulations, through
from world_model.streaming.conditioning import Condition, ControlAtPlace
from world_model.streaming.config import StreamingConfig
from world_model.streaming.detail import Detail
from world_model.streaming.kv_ring import Places, Ring
from world_model.streaming.states.dynamics import Foresight


class StreamingDenoiser(nn.Module):
    """Predicts the clean change to a frame from its noisy change, its past and its action."""

    def __init__(self, config: StreamingConfig):
        super().__init__()
        self.config = shape = config.denoiser
        self.channels, self.height, self.width = config.latent_shape
        self.grid = config.grid
        num_tokens = self.grid[0] * self.grid[1]
        token_size = self.channels * shape.patch**2
        self.embed_tokens = nn.Linear(2 * token_size, shape.width)
        self.position = nn.Parameter(torch.randn(num_tokens, shape.width) * 0.02)
        self.condition = Condition(config)
        self.foresight = Foresight(config)
        self.control_at_place = ControlAtPlace(config, self.grid, shape.width, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.final = ModulatedNorm(shape.width, shape.condition_width)
        self.to_change = nn.Linear(shape.width, token_size)
        nn.init.zeros_(self.to_change.weight)
        nn.init.zeros_(self.to_change.bias)
        self.detail = Detail(config)

    def forward(
        self,
        noisy: Tensor,
        previous: Tensor,
        levels: Tensor,
        controls: Tensor,
        acted: Tensor,
        states: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Whole clips at once, each frame seeing itself and `context` frames before it.

        Args:
            noisy: Noisy changes (B, T, C, h, w).
            previous: The frame before each, (B, T, C, h, w); a clip's first frame has itself.
            levels: Noise level of each frame (B, T) in [0, 1].
            controls: What led to each frame (B, T, U): see `conditioning.join_controls`.
            acted: bool (B, T); False where nothing is known to have (a clip's first).
            states: What each frame shall show, (B, T, S); None for what is foreseen.

        Returns:
            The changes (B, T, C, h, w) and the tokens (B, T, N, width) that the head reads.
        """
        frame = torch.arange(noisy.shape[1], device=noisy.device)
        ages = frame[:, None] - frame  # (T, T)
        ages = torch.where(
            (ages >= 0) & (ages <= self.config.context), ages, self.config.context + 1
        )
        told = self._tell(levels, controls, acted, states)
        noisy = informative(noisy, levels)
        tokens = self._tokenize(noisy, previous, told)  # (B, T, N, width)
        for block, modulations in zip(self._blocks(), told.blocks, strict=True):
            tokens = block(tokens, modulations, block.bias(ages))
        return self._changes(tokens, noisy, previous, told), tokens

    def passes(
        self,
        levels: Tensor,
        controls: Tensor,
        acted: Tensor,
        ring: Ring,
        states: Tensor | None = None,
    ) -> list["StreamedPass"]:
        """What several passes over the same frames are told, all but noise levels the same.

        The frames are the ring's newest, and with T = 2 also the one after it.

        Args:
            levels: (P, B, T), the noise levels of each pass.
            controls: (B, T, U).
            acted: bool (B, T).
            ring: Of the past, which may not advance between the passes.
            states: What the frames shall show, (B, T, S); None for what is foreseen.
        """
        told = self._tell(levels, controls, acted, states, last=True)
        at, ages = ring.places(levels.shape[2])
        # (G, B, T, S) -> (B, T, S, 1, G), beside scores (B, T, S, N, G)
        biases = [block.bias(ages).permute(1, 2, 3, 0)[..., None, :] for block in self._blocks()]
        blocks = [[part.unbind() for part in parts] for parts in told.blocks]
        final = [part.unbind() for part in told.final]
        return [
            StreamedPass(
                levels=level,
                told=replace(
                    told,
                    blocks=[[part[index] for part in parts] for parts in blocks],
                    final=[part[index] for part in final],
                ),
                biases=biases,
                at=at,
            )
            for index, level in enumerate(levels)
        ]

    def stream(
        self, noisy: Tensor, previous: Tensor, told: "StreamedPass", ring: Ring
    ) -> tuple[Tensor, Tensor]:
        """The newest frames of each environment, over the ring of their past.

        Writes their slots. With T = 2 the last frame sees the one before it as it is in this pass.

        Args:
            noisy: Noisy changes (B, T, C, h, w).
            previous: The frame before each, (B, T, C, h, w).
            told: One of `passes`.
            ring: Of the past.

        Returns:
            Change (B, C, h, w) and tokens (B, N, width) of the last of them.
        """
        noisy = informative(noisy, told.levels)
        tokens = self._through_ring(noisy, previous, told, ring)[:, -1]
        return self._changes(tokens, noisy[:, -1], previous[:, -1], told.told), tokens

    def remember(
        self, change: Tensor, previous: Tensor, told: "StreamedPass", ring: Ring
    ) -> Tensor:
        """Write the slots of frames (B, T, ...) whose changes are known; the last one's tokens."""
        noisy = informative(change, told.levels)
        return self._through_ring(noisy, previous, told, ring)[:, -1]

    def _through_ring(
        self, noisy: Tensor, previous: Tensor, told: "StreamedPass", ring: Ring
    ) -> Tensor:
        tokens = self._tokenize(noisy, previous, told.told)  # (B, T, N, width)
        parts = zip(self._blocks(), told.told.blocks, told.biases, strict=True)
        for layer, (block, modulations, bias) in enumerate(parts):
            tokens = block.stream(tokens, modulations, bias, ring, layer, told.at)
        return tokens

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

    def _blocks(self) -> list[Block]:
        return cast(list[Block], list(self.blocks))

    def _tell(
        self,
        levels: Tensor,
        controls: Tensor,
        acted: Tensor,
        states: Tensor | None,
        *,
        last: bool = False,
    ) -> "Told":
        """Levels (..., B, T), controls (B, T, U), acted (B, T): axes before B are levels' alone.

        `last`: The last frame's change alone is wanted.
        """
        condition = self.condition(levels, controls, acted)
        guess = self.foresight(controls) if states is None else states
        at_place = self.position + self.control_at_place(controls, guess, acted)
        blocks = [block.modulations(condition) for block in self._blocks()]
        if last:
            condition, controls = condition[..., -1, :], controls[:, -1]
            guess, acted = guess[:, -1], acted[:, -1]
        return Told(
            guess=guess,
            at_place=at_place,
            at_cell=self.detail.control_at_cell(controls, guess, acted),
            blocks=blocks,
            final=self.final.modulations(condition),
        )

    def _tokenize(self, noisy: Tensor, previous: Tensor, told: "Told") -> Tensor:
        """Noisy changes by the weight of their signal, and frames before, to tokens."""
        both = torch.cat((noisy, previous), dim=-3)
        patches = rearrange(
            both,
            "... c (r p) (s q) -> ... (r s) (c p q)",
            p=self.config.patch,
            q=self.config.patch,
        )
        return through(self.embed_tokens, patches) + told.at_place

    def _changes(self, tokens: Tensor, noisy: Tensor, previous: Tensor, told: "Told") -> Tensor:
        tokens = self.final(tokens, told.final)
        coarse = rearrange(
            through(self.to_change, tokens),
            "... (r s) (c p q) -> ... c (r p) (s q)",
            r=self.grid[0],
            c=self.channels,
            p=self.config.patch,
        )
        return coarse + self.detail(tokens, noisy, previous, told.at_cell)


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """What frames are denoised with beside themselves and their past, from level and control."""

    guess: Tensor
    """States that the frame shall show, by default those that the control leads to, (..., S)."""
    at_place: Tensor
    """Position and control at each token's place, (..., N, width)."""
    at_cell: Tensor
    """The control at each cell of `Detail`, (..., cells, channels)."""
    blocks: list[Modulations]
    """Of each block, for space, time and MLP in turn."""
    final: Modulations


@dataclass(frozen=True, kw_only=True, eq=False)
class StreamedPass:
    """What one pass over the newest frames is told; made by `StreamingDenoiser.passes`."""

    levels: Tensor
    """(B, T)"""
    told: Told
    biases: list[Tensor]
    """What each block adds to its scores in time, (B, T, S, 1, G)."""
    at: Places
    """Where the frames are in the ring."""


def informative(noisy: Tensor, levels: Tensor) -> Tensor:
    """Noisy changes (..., C, h, w) by the weight of their signal: of pure noise nothing gets in."""
    return (1 - levels)[..., None, None, None] * noisy


def half_precision(denoiser: StreamingDenoiser) -> StreamingDenoiser:
    """A copy whose large matrix products and convolutions are in bfloat16.

    Tokens, norms, softmax in time, conditions and the ring stay float32.
    """
    copied = copy.deepcopy(denoiser)
    detail = copied.detail
    layers = [copied.embed_tokens, copied.to_change, detail.from_tokens]
    layers += [detail.first, detail.second, detail.last]
    for block in copied._blocks():
        layers += [block.space_in, block.space_out, block.time_in, block.time_out]
        layers += [block.mlp_in, block.mlp_out]
    for layer in layers:
        layer.bfloat16()
    return copied.eval()
