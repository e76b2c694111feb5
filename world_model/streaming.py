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

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from world_model.conditioning import Condition, ControlAtPlace, Foresight
from world_model.config import DenoiserConfig, StreamingConfig
from world_model.ring import Ring


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
        self, noisy: Tensor, previous: Tensor, levels: Tensor, controls: Tensor, acted: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Whole clips at once, each frame seeing itself and `context` frames before it.

        Args:
            noisy: Noisy changes (B, T, C, h, w).
            previous: The frame before each, (B, T, C, h, w); a clip's first frame has itself.
            levels: Noise level of each frame (B, T) in [0, 1].
            controls: What led to each frame (B, T, U): see `conditioning.join_controls`.
            acted: bool (B, T); False where nothing is known to have (a clip's first).

        Returns:
            The changes (B, T, C, h, w) and the tokens (B, T, N, width) that the head reads.
        """
        num_frames = noisy.shape[1]
        tokens = self._tokenize(noisy, previous, levels, controls, acted)  # (B, T, N, width)
        condition = self.condition(levels, controls, acted)  # (B, T, condition_width)
        frame = torch.arange(num_frames, device=noisy.device)
        ages = frame[:, None] - frame  # (T, T)
        ages = torch.where(
            (ages >= 0) & (ages <= self.config.context), ages, self.config.context + 1
        )
        for block in self.blocks:
            tokens = block(tokens, condition, ages)
        changes = self._changes(tokens, condition, noisy, previous, levels, controls, acted)
        return changes, tokens

    def stream(
        self,
        noisy: Tensor,
        previous: Tensor,
        levels: Tensor,
        controls: Tensor,
        acted: Tensor,
        ring: Ring,
    ) -> tuple[Tensor, Tensor]:
        """The present frame of each environment, over the ring of its past.

        Takes what `forward` takes without T, writes the ring's present slot, and returns changes
        (B, C, h, w) and tokens (B, N, width).
        """
        condition = self.condition(levels, controls, acted)  # (B, condition_width)
        tokens = self._tokenize(noisy, previous, levels, controls, acted)  # (B, N, width)
        tokens = self._through_ring(tokens, condition, ring)
        changes = self._changes(tokens, condition, noisy, previous, levels, controls, acted)
        return changes, tokens

    def remember(
        self,
        change: Tensor,
        previous: Tensor,
        levels: Tensor,
        controls: Tensor,
        acted: Tensor,
        ring: Ring,
    ) -> Tensor:
        """Write the ring's present slot for a frame whose change is known; its tokens alone."""
        condition = self.condition(levels, controls, acted)
        tokens = self._tokenize(change, previous, levels, controls, acted)
        return self._through_ring(tokens, condition, ring)

    def _through_ring(self, tokens: Tensor, condition: Tensor, ring: Ring) -> Tensor:
        ages = ring.ages()
        for layer, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            tokens = block.stream(tokens, condition, ages, ring, layer)
        return tokens

    def empty_ring(self, num_envs: int) -> Ring:
        """An empty ring for `num_envs` environments."""
        config = self.config
        return Ring.empty(
            (
                config.depth,
                num_envs,
                self.grid[0] * self.grid[1],
                config.num_heads,
                config.context + 1,
                config.width // config.num_heads,
            ),
            like=self.position,
        )

    def _tokenize(
        self, noisy: Tensor, previous: Tensor, levels: Tensor, controls: Tensor, acted: Tensor
    ) -> Tensor:
        both = torch.cat((informative(noisy, levels), previous), dim=-3)
        patches = rearrange(
            both,
            "... c (r p) (s q) -> ... (r s) (c p q)",
            p=self.config.patch,
            q=self.config.patch,
        )
        here = self.control_at_place(controls, self.foresight(controls), acted)
        return self.embed_tokens(patches) + self.position + here

    def _changes(
        self,
        tokens: Tensor,
        condition: Tensor,
        noisy: Tensor,
        previous: Tensor,
        levels: Tensor,
        controls: Tensor,
        acted: Tensor,
    ) -> Tensor:
        tokens = self.final(tokens, condition)
        coarse = rearrange(
            self.to_change(tokens),
            "... (r s) (c p q) -> ... c (r p) (s q)",
            r=self.grid[0],
            c=self.channels,
            p=self.config.patch,
        )
        noisy = informative(noisy, levels)
        guess = self.foresight(controls)
        return coarse + self.detail(tokens, noisy, previous, controls, guess, acted)


def informative(noisy: Tensor, levels: Tensor) -> Tensor:
    """Noisy changes (..., C, h, w) by the weight of their signal: of pure noise nothing gets in."""
    return (1 - levels)[..., None, None, None] * noisy


class Detail(nn.Module):
    """What tokens are too coarse for: convolutions over the frame before and the noisy change.

    A token's width is less than the numbers in its patch and in the one before: with patches of 16
    pixels and width 256, a fifth of the energy of changes does not pass. Here tokens say what to do
    where (`channels` numbers per cell), and the pixels need not go through them; so does the
    control, to a cell's precision.
    """

    channels = 16
    width = 48

    def __init__(self, config: StreamingConfig):
        super().__init__()
        channels = config.latent_shape[0]
        shape = config.denoiser
        self.factor = 2 if shape.patch % 2 == 0 else 1  # latent cells per cell here
        self.patch = shape.patch // self.factor
        self.rows = config.grid[0]
        cell = channels * self.factor**2
        self.from_tokens = nn.Linear(shape.width, self.channels * self.patch**2)
        cells = (config.grid[0] * self.patch, config.grid[1] * self.patch)
        self.control_at_cell = ControlAtPlace(config, cells, self.width, self.channels)
        self.first = nn.Conv2d(2 * cell + self.channels, self.width, 3, padding=1)
        self.second = nn.Conv2d(self.width, self.width, 3, padding=1)
        self.last = nn.Conv2d(self.width, cell, 3, padding=1)
        for parameter in self.last.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        tokens: Tensor,
        noisy: Tensor,
        previous: Tensor,
        controls: Tensor,
        guess: Tensor,
        acted: Tensor,
    ) -> Tensor:
        """Tokens (..., N, width), latents (..., C, h, w), controls (..., U), guessed states
        (..., S) -> (..., C, h, w)."""
        leading = noisy.shape[:-3]
        told = rearrange(
            self.from_tokens(tokens.reshape(-1, *tokens.shape[-2:])),
            "b (r s) (c p q) -> b c (r p) (s q)",
            r=self.rows,
            p=self.patch,
            q=self.patch,
        )
        here = self.control_at_cell(controls, guess, acted)  # (..., cells, channels)
        told = told + here.flatten(0, -3).transpose(-1, -2).reshape(told.shape)
        pixels = torch.cat((noisy, previous), dim=-3).flatten(0, -4)
        cells = torch.cat((F.pixel_unshuffle(pixels, self.factor).to(told.dtype), told), dim=1)
        hidden = F.relu(self.first(cells))
        hidden = F.relu(self.second(hidden))
        return F.pixel_shuffle(self.last(hidden), self.factor).reshape(*leading, *noisy.shape[-3:])


class ModulatedNorm(nn.Module):
    """Layer norm, then the scale and shift that the condition asks for."""

    def __init__(self, width: int, condition_width: int):
        super().__init__()
        self.modulation = nn.Linear(condition_width, 2 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Tokens (..., N, width), condition (..., condition_width)."""
        shift, scale = self.modulation(condition)[..., None, :].chunk(2, dim=-1)
        return modulate(tokens, shift, scale)


def modulate(tokens: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Layer norm without weights of its own, scaled and shifted (adaLN)."""
    return F.layer_norm(tokens, tokens.shape[-1:]) * (1 + scale) + shift


class Block(nn.Module):
    """Attention in space, attention in time, MLP; each modulated and gated by the condition."""

    def __init__(self, config: DenoiserConfig):
        super().__init__()
        width = config.width
        self.num_heads = config.num_heads
        self.modulation = nn.Linear(config.condition_width, 9 * width)
        # Closed gates, so that blocks fade in (adaLN-Zero). With open ones training hardly began:
        # after 90 steps on one batch the loss stood at .91 of "nothing moves", here at .21.
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

    def forward(self, tokens: Tensor, condition: Tensor, ages: Tensor) -> Tensor:
        """Tokens (B, T, N, width), condition (B, T, ...), ages (T, T) of key for query."""
        space, time, mlp = self._modulations(condition)
        tokens = self._attend_space(tokens, space)
        shift, scale, gate = time
        query, key, value = self._heads(self.time_in(modulate(tokens, shift, scale)))
        # Each place attends along time: (B, T, N, G, D) -> (B * N, G, T, D).
        query, key, value = (rearrange(x, "b t n g d -> (b n) g t d") for x in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=self._bias(ages))
        mixed = rearrange(mixed, "(b n) g t d -> b t n (g d)", b=len(tokens))
        tokens = tokens + gate * self.time_out(mixed)
        return self._mlp(tokens, mlp)

    def stream(
        self, tokens: Tensor, condition: Tensor, ages: Tensor, ring: Ring, layer: int
    ) -> Tensor:
        """One frame: tokens (B, N, width), condition (B, ...), ages (B, S) of the ring's slots."""
        space, time, mlp = self._modulations(condition)
        tokens = self._attend_space(tokens, space)
        shift, scale, gate = time
        query, key, value = self._heads(self.time_in(modulate(tokens, shift, scale)))
        keys, values = ring.write(layer, key, value)  # (B, N, G, S, D)
        scores = (keys @ query[..., None].to(keys.dtype))[..., 0] / math.sqrt(query.shape[-1])
        scores = scores + self._bias(ages).transpose(0, 1)[:, None]  # (B, N, G, S)
        mixed = (scores.softmax(dim=-1)[..., None, :] @ values)[..., 0, :]
        tokens = tokens + gate * self.time_out(mixed.flatten(-2).to(tokens.dtype))
        return self._mlp(tokens, mlp)

    def _modulations(self, condition: Tensor) -> tuple[tuple[Tensor, ...], ...]:
        """Shift, scale and gate for space, time and MLP, each (..., 1, width)."""
        parts = self.modulation(condition)[..., None, :].chunk(9, dim=-1)
        return parts[:3], parts[3:6], parts[6:]

    def _heads(self, projected: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(..., N, 3 width) -> query, key and value (..., N, G, D), the first two normalised."""
        query, key, value = rearrange(
            projected, "... (three g d) -> three ... g d", three=3, g=self.num_heads
        )
        size = query.shape[-1:]
        return F.rms_norm(query, size), F.rms_norm(key, size), value

    def _bias(self, ages: Tensor) -> Tensor:
        """Ages (...) -> what attention adds to scores (G, ...); -inf for ages past the context."""
        biases = F.pad(self.age_bias, (0, 1), value=-math.inf)
        return biases[:, ages]

    def _attend_space(self, tokens: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        shift, scale, gate = modulation
        query, key, value = self._heads(self.space_in(modulate(tokens, shift, scale)))
        mixed = F.scaled_dot_product_attention(
            query.transpose(-2, -3), key.transpose(-2, -3), value.transpose(-2, -3)
        )
        return tokens + gate * self.space_out(mixed.transpose(-2, -3).flatten(-2))

    def _mlp(self, tokens: Tensor, modulation: tuple[Tensor, ...]) -> Tensor:
        shift, scale, gate = modulation
        hidden = F.gelu(self.mlp_in(modulate(tokens, shift, scale)), approximate="tanh")
        return tokens + gate * self.mlp_out(hidden)
