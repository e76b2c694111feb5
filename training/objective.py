"""The training loss of a streaming world.

Every frame of a clip is noised at a level of its own and its change predicted (see
world_model/streaming.py). In the phase on the model's own rollouts `previous` is what the model
itself made of the frames before, several predictions deep, while the target stays the true
frame: so it learns to take back its own errors (as Self-Forcing, Huang et al., arXiv 2506.08009;
but all frames of a clip at once, each round one parallel pass, instead of one after the other).

Dimensions: B clips, T frames, C channels, h w latent cells, A action.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.clips import Clips
from world_model.codec import encode_clip
from world_model.config import WorldConfig
from world_model.frames import frames_to_pixels
from world_model.noise import counted_index, counted_noise, counted_uniform
from world_model.streaming_world import StreamingWorld

# Streams of the counted numbers of one sample; 0 picks its clip (training/clips.py).
NOISE, LEVELS, ROUNDS = 1, 2, 3


@dataclass(frozen=True)
class Losses:
    """Sums over a batch's supervised frames, to be divided by their number."""

    dynamics: Tensor
    head: Tensor

    @property
    def total(self) -> Tensor:
        return self.dynamics + self.head


class StreamingObjective(nn.Module):
    """Loss of a batch of clips; `forward` is what data-parallel training wraps."""

    def __init__(self, world: StreamingWorld, head_weight: float = 0.02):
        super().__init__()
        self.denoiser, self.head = world.denoiser, world.head
        self.config = world.config
        self.settle = world.codec.settle
        self.head_weight = head_weight

    def forward(self, batch: "Batch") -> Losses:
        """Summed losses of the frames of one batch."""
        latents, valid = batch.latents, batch.supervised
        previous = self.roll(batch)
        levels = batch.levels[..., None, None, None]
        change = latents - previous
        noisy = (1 - levels) * change + levels * batch.noise
        predicted, tokens = self.denoiser(noisy, previous, batch.levels, batch.actions, batch.acted)
        error = (predicted.float() - change).square().flatten(2).mean(-1)  # (B, T)
        # At every level: where things will be, asked for in numbers, is learned sooner than in
        # pixels, and the denoiser profits.
        head = head_loss(self.head(tokens.float()), batch, self.config)
        return Losses(
            dynamics=(error * valid).sum(), head=self.head_weight * (head * batch.valid).sum()
        )

    @torch.no_grad()
    def roll(self, batch: "Batch") -> Tensor:
        """The frame before each, `batch.rounds` of the model's own predictions deep."""
        true = before(batch.latents)
        previous = true
        ones = torch.ones_like(batch.levels)
        for round_ in range(int(batch.rounds.max())):
            change, _ = self.denoiser(batch.noise, previous, ones, batch.actions, batch.acted)
            made = self.settle(previous + change)
            deep = (batch.rounds > round_)[:, None, None, None, None]
            previous = torch.where(deep, before(made, first=batch.latents[:, 0]), previous)
        return previous


def before(latents: Tensor, first: Tensor | None = None) -> Tensor:
    """Shift (B, T, ...) one frame later; the first frame has itself (or `first`) before it.

    The second frame's predecessor is the clip's first, which is never predicted.
    """
    first = latents[:, 0] if first is None else first
    shifted = torch.cat((first[:, None], latents[:, :-1]), dim=1)
    if latents.shape[1] > 1:
        shifted[:, 1] = first
    return shifted


@dataclass(frozen=True, eq=False)
class Batch:
    """Clips made ready: latents, scaled actions, and their counted noise."""

    latents: Tensor  # (B, T, C, h, w)
    actions: Tensor  # (B, T, A) in [-1, 1]
    acted: Tensor  # bool (B, T)
    valid: Tensor  # bool (B, T): inside the episode
    supervised: Tensor  # bool (B, T): valid and not the clip's first
    noise: Tensor  # (B, T, C, h, w)
    levels: Tensor  # (B, T)
    rounds: Tensor  # int64 (B,): how many own predictions deep `previous` is
    rewards: Tensor  # (B, T), NaN where unknown
    ended: Tensor  # bool (B, T)
    states: dict[str, Tensor]  # (B, T, n), scaled so that their bounds are -1 and 1


def make_batch(
    world: StreamingWorld, clips: Clips, seed: int, samples: Tensor, max_rounds: int
) -> Batch:
    """Encode clips and draw the numbers of samples (B,): a function of (seed, sample)."""
    seeds = torch.full_like(samples, seed)
    latents = encode_clip(world.codec, frames_to_pixels(clips.frames))
    num_frames = latents.shape[1]
    acted = torch.ones_like(clips.valid)
    acted[:, 0] = False
    actions = torch.where(acted[..., None], world.scale_actions(clips.actions), 0.0)
    supervised = clips.valid & acted
    states = {}
    for name, bounds in world.config.observations.items():
        values = clips.states[name]
        low, high = values.new_tensor(bounds.low), values.new_tensor(bounds.high)
        states[name] = 2 * (values - low) / (high - low) - 1
    return Batch(
        latents=latents,
        actions=actions,
        acted=acted,
        valid=clips.valid,
        supervised=supervised,
        noise=world.config.sampler.noise_scale
        * counted_noise(seeds, samples, tuple(latents.shape[1:]), stream=NOISE),
        levels=draw_levels(seeds, samples, num_frames),
        rounds=counted_index(seeds, samples, max_rounds + 1, stream=ROUNDS),
        rewards=clips.rewards,
        ended=clips.ended,
        states=states,
    )


def draw_levels(seeds: Tensor, samples: Tensor, num_frames: int) -> Tensor:
    """Noise levels (B, T): pure noise (half), clean (a quarter), between; a clip's first clean.

    A step samples from pure noise over a clean past, so these two are drawn more often. Levels
    under .2 are left out: no pass of a sampler of up to five visits them.
    """
    kind, value = counted_uniform(seeds, samples, (2, num_frames), stream=LEVELS).unbind(1)
    levels = torch.where(kind < 0.5, torch.ones_like(value), 0.2 + 0.8 * value)
    levels = torch.where(kind >= 0.75, torch.zeros_like(levels), levels)
    levels[:, 0] = 0.0
    return levels


def head_loss(read: dict[str, Tensor], batch: Batch, config: WorldConfig) -> Tensor:
    """What the head reads against the truth, per frame (B, T); unknown rewards count nothing."""
    loss = torch.zeros_like(batch.levels)
    if config.reward_head:
        known = ~batch.rewards.isnan()
        reward = torch.where(known, batch.rewards, 0.0)
        # In units of a tenth of the reward's range: beyond that the loss is linear.
        scale = 0.1 * (config.reward_high - config.reward_low)
        loss = loss + known * F.smooth_l1_loss(
            read["reward"] / scale, reward / scale, reduction="none"
        )
        end = F.binary_cross_entropy_with_logits(read["end"], batch.ended.float(), reduction="none")
        loss = loss + known * end
    for name, target in batch.states.items():
        error = F.smooth_l1_loss(10 * read[name], 10 * target, reduction="none")
        loss = loss + error.mean(-1)
    return loss
