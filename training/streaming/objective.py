"""The training loss of a streaming world.

Every frame of a clip is noised at a level of its own and its change predicted (see
world_model/streaming/denoiser.py). In the phase on the model's own rollouts `previous` is what the
model itself made of the frames before, several predictions deep, while the target stays the true
frame: so it learns to take back its own errors (as Self-Forcing, Huang et al., arXiv 2506.08009;
but all frames of a clip at once, each round one parallel pass, instead of one after the other).

Dimensions: B clips, T frames, C channels, h w latent cells, A action.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.clips import Clips
from world_model.codec import encode_clip
from world_model.frames import frames_to_pixels
from world_model.runtime.counter_rng import counted_index, counted_noise, counted_uniform
from world_model.streaming.conditioning import Conditioning, Readout
from world_model.streaming.config import StreamingConfig
from world_model.streaming.states.conditioner import UNSURE_SCALE
from world_model.streaming.world import StreamingWorld

# Streams of the counted numbers of one sample; 0 picks its clip (training/data/clips.py), and 7
# where a row of self_rollout.py begins.
NOISE, LEVELS, ROUNDS, UNSURE, SMEAR, HAZE = 1, 2, 3, 4, 5, 6
# Most cells by which traces are displaced.
ASIDE = 6
# Largest deviation of a haze (frames are in [-1, 1]).
HAZE_SCALE = 0.12


@dataclass(frozen=True)
class Losses:
    """Sums over a batch's supervised frames, to be divided by their number."""

    denoiser: Tensor
    head: Tensor

    @property
    def total(self) -> Tensor:
        return self.denoiser + self.head


class StreamingObjective(nn.Module):
    """Loss of a batch of clips; `forward` is what data-parallel training wraps."""

    def __init__(
        self,
        world: StreamingWorld,
        *,
        head_weight: float = 0.02,
        edge_weight: float = 0.0,
        absolute_weight: float = 0.0,
    ):
        super().__init__()
        self.conditioner, self.denoiser, self.head = world.conditioner, world.denoiser, world.head
        for module in world.conditioner.trained_first().values():  # in states.py
            module.requires_grad_(False)
        self.config = world.config
        self.settle = world.codec.settle
        self.head_weight = head_weight if world.conditioner.head_learns else 0.0
        self.edge_weight, self.absolute_weight = edge_weight, absolute_weight

    def forward(self, batch: "Batch") -> Losses:
        """Summed losses of the frames of one batch."""
        error, head = self.errors(batch)
        return Losses(
            denoiser=(error * batch.supervised).sum(),
            head=self.head_weight * (head * read_frames(batch, self.config)).sum(),
        )

    def errors(self, batch: "Batch") -> tuple[Tensor, Tensor]:
        """Errors of each frame's change, and of what the head reads off it, (B, T) each."""
        latents = batch.latents
        conditioning = self.conditioning(batch, batch.wanted)
        base, inputs = self.drawn_over(batch, conditioning)
        if batch.smear is not None and conditioning.proxy is None:
            base = batch.smear(base, latents)
            inputs = inputs + batch.smear.haze
        elif batch.smear is not None:
            inputs = batch.smear(inputs, latents)
        levels = batch.levels[..., None, None, None]
        change = latents - base
        noisy = (1 - levels) * (inputs - base) + levels * batch.noise
        predicted, tokens = self.denoiser(noisy, base, batch.levels, conditioning)
        wrong = predicted.float() - change
        error = frame_error(wrong, self.edge_weight, self.absolute_weight)  # (B, T)
        read = self.conditioner.read(
            self.head(tokens.float()), conditioning.prediction, conditioning.before
        )
        return error, head_loss(read, batch, self.config)

    def drawn_over(self, batch: "Batch", conditioning: Conditioning) -> tuple[Tensor, Tensor]:
        """What each frame is drawn over, and the frames as inputs, (B, T, C, h, w) each.

        It is the frame before, which may be the model's own, and the inputs are as given; or it is
        the proxy, and the inputs may be the model's own.
        """
        if conditioning.proxy is None:
            return self.roll(batch, conditioning), batch.inputs
        return conditioning.proxy, self._over_proxy(batch, conditioning, conditioning.proxy)

    @torch.no_grad()
    def roll(self, batch: "Batch", conditioning: Conditioning) -> Tensor:
        """The frame before each, `batch.rounds` own predictions deep, (B, T, C, h, w)."""
        previous = before(batch.inputs)
        ones = torch.ones_like(batch.levels)
        for round_ in range(int(batch.rounds.max())):
            deep = torch.nonzero(batch.rounds > round_)[:, 0]
            inputs = (x[deep] for x in (batch.noise, previous, ones))
            change, _ = self.denoiser(*inputs, conditioning.select(deep))
            made = self.settle(previous[deep] + change)
            made = before(made, first=batch.inputs[deep, 0])
            previous = previous.index_copy(0, deep, made.to(previous.dtype))
        return previous

    @torch.no_grad()
    def _over_proxy(self, batch: "Batch", conditioning: Conditioning, proxy: Tensor) -> Tensor:
        """The input frames; where `batch.rounds` asks for predictions, those over the proxy, which
        are as deep as they get: nothing is drawn upon."""
        deep = torch.nonzero(batch.rounds > 0)[:, 0]
        if not len(deep):
            return batch.inputs
        inputs = (x[deep] for x in (batch.noise, proxy, torch.ones_like(batch.levels)))
        change, _ = self.denoiser(*inputs, conditioning.select(deep))
        made = self.settle(proxy[deep] + change)
        made[:, 0] = batch.inputs[deep, 0]
        return batch.inputs.index_copy(0, deep, made.to(batch.inputs.dtype))

    def conditioning(self, batch: "Batch", states: Tensor | None = None) -> Conditioning:
        """What a batch's frames are denoised with, around `states` (B, T, S) or predicted ones."""
        control = self.conditioner.clip_control(
            batch.actions, batch.action_before, batch.acted, batch.state
        )
        return self.conditioner(control, states)


def frame_error(
    error: Tensor, edge_weight: float, absolute_weight: float, weights: Tensor | float = 1.0
) -> Tensor:
    """Mean square of errors (B, T, C, h, w) and, each weighted, two more means: (B, T).

    The square of their differences between neighbours, where a soft edge differs most from a sharp
    one (as gradient difference losses do: Mathieu et al., arXiv 1511.05440). And their absolute
    value, which asks for the right value where the square is content with nearly: haze and grain.
    Squares and absolute values of each pixel count by `weights`, (B, T, 1, h, w).
    """
    total = (weights * error.square()).flatten(2).mean(-1)
    if absolute_weight:
        total = total + absolute_weight * (weights * error.abs()).flatten(2).mean(-1)
    if edge_weight:
        for axis in (-2, -1):
            total = total + edge_weight * error.diff(dim=axis).square().flatten(2).mean(-1)
    return total


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
    inputs: Tensor  # (B, T, C, h, w): the input frames, the model's own in a self-rollout
    actions: Tensor  # (B, T, A) in [-1, 1]
    action_before: Tensor  # (B, A): the one that led to the clip's first frame; NaN where none did
    acted: Tensor  # bool (B, T)
    valid: Tensor  # bool (B, T): inside the episode
    supervised: Tensor  # bool (B, T): valid and not the clip's first
    noise: Tensor  # (B, T, C, h, w)
    levels: Tensor  # (B, T)
    smear: "Smear | None"
    rounds: Tensor  # int64 (B,): how many predictions of the model `previous` is away from records
    rewards: Tensor  # (B, T), NaN where unknown
    ended: Tensor  # bool (B, T)
    states: dict[str, Tensor]  # (B, T, n), scaled so that their bounds are -1 and 1
    wanted: Tensor  # (B, T, S): all of them, the targets
    state: Tensor  # (B, 1 + T, S): the same from the frame before the clip on, not quite exact


def make_batch(
    world: StreamingWorld,
    clips: Clips,
    seed: int,
    samples: Tensor,
    max_rounds: int,
    *,
    smeared: bool = False,
    made: Tensor | None = None,
) -> Batch:
    """Encode clips and draw the numbers of samples (B,): a function of (seed, sample).

    Args:
        world: Whose codec, bounds and sampler count.
        clips: What was recorded.
        seed: Of the run.
        samples: int64 (B,), the clips' numbers.
        max_rounds: How many of the model's own predictions deep frames may be, at most.
        smeared: Whether input frames are damaged too (see `Smear`).
        made: The model's own frames (B, T, C, h, w), which replace the clips' as input frames.
    """
    seeds = torch.full_like(samples, seed)
    latents = encode_clip(world.codec, frames_to_pixels(clips.frames))
    num_frames = latents.shape[1]
    acted = torch.ones_like(clips.valid)
    acted[:, 0].fill_(False)
    actions = torch.where(acted[..., None], world.scale_actions(clips.actions), 0.0)
    supervised = clips.valid & acted
    states = scaled_states(world, clips.states)
    before_clip = scaled_states(world, clips.states_before)
    state = torch.cat(
        [
            torch.cat((before_clip[name][:, None], states[name]), dim=1)
            for name in world.config.tracked
        ]
        or [latents.new_zeros(len(samples), num_frames + 1, 0)],
        dim=-1,
    )  # (B, 1 + T, S)
    wanted = state[:, 1:]
    # In a rollout estimated and predicted ones take their place, and are not exact: neither are
    # these. What a frame shall show is: around states a little off it would be drawn blurred.
    unsure = UNSURE_SCALE * counted_uniform(seeds, samples, (1, 1), stream=UNSURE)
    state = state + unsure * counted_noise(seeds, samples, tuple(state.shape[1:]), stream=UNSURE)
    return Batch(
        latents=latents,
        inputs=latents if made is None else made,
        actions=actions,
        action_before=torch.where(
            clips.first[:, None], torch.nan, world.scale_actions(clips.actions[:, 0])
        ),
        acted=acted,
        valid=clips.valid,
        supervised=supervised,
        noise=world.config.sampler.noise_scale
        * counted_noise(seeds, samples, tuple(latents.shape[1:]), stream=NOISE),
        levels=draw_levels(seeds, samples, num_frames),
        smear=draw_smear(seeds, samples, latents) if smeared else None,
        rounds=counted_index(seeds, samples, max_rounds + 1, stream=ROUNDS),
        rewards=clips.rewards,
        ended=clips.ended,
        states=states,
        wanted=wanted,
        state=state,
    )


def scaled_states(world: StreamingWorld, states: dict[str, Tensor]) -> dict[str, Tensor]:
    """Tracked states (..., n), their bounds made -1 and 1."""
    # The world's own bounds: to make tensors of numbers would wait for the device, each batch.
    lows, highs = (world.config.by_name(ends) for ends in (world.state_low, world.state_high))
    scaled = {}
    for name in world.config.tracked:
        low, high = lows[name].to(states[name]), highs[name].to(states[name])
        scaled[name] = 2 * (states[name] - low) / (high - low) - 1
    return scaled


@dataclass(frozen=True, eq=False)
class Smear:
    """Damage of the kind that long rollouts do to a frame: traces of other moments and of things a
    little aside, and speckle; and one haze on all input frames of a clip.

    It is cheaper than rollouts of that length. The frame to predict stays the true one, so the
    model learns to clean up after itself (as noise on the past does: GameNGen, arXiv 2408.14837,
    section 3.2.1).
    """

    share: Tensor  # (B, T, 1, h, w) in [0, 1]: how much of another moment shines through
    moment: Tensor  # int64 (B, T): which frame of the clip that is
    aside: Tensor  # int64 (B, T, 2): cells down and across by which it is displaced
    speckle: Tensor  # (B, T, C, h, w), added
    haze: Tensor  # (B, 1, C, h, w), added

    def __call__(self, previous: Tensor, latents: Tensor) -> Tensor:
        """Damage `previous` (B, T, C, h, w) with traces of `latents` (B, T, C, h, w)."""
        height, width = latents.shape[-2:]
        clips = torch.arange(len(latents), device=latents.device)[:, None, None, None]
        rows = torch.arange(height, device=latents.device)[:, None]
        columns = torch.arange(width, device=latents.device)
        down, across = (self.aside[..., None, None, :]).unbind(-1)  # (B, T, 1, 1)
        traces = latents.movedim(2, -1)[
            clips,
            self.moment[..., None, None],
            (rows + down) % height,
            (columns + across) % width,
        ].movedim(-1, 2)  # (B, T, C, h, w)
        return previous + self.share * (traces - previous) + self.speckle + self.haze


def draw_smear(seeds: Tensor, samples: Tensor, latents: Tensor) -> Smear:
    """Damage of half of the frames but a clip's first, in blobs, up to most of the way."""
    num_frames, _, height, width = latents.shape[1:]
    kind, most, grain, moment, down, across = counted_uniform(
        seeds, samples, (6, num_frames), stream=SMEAR
    ).unbind(1)
    hit = (kind < 0.5).to(latents.dtype)
    hit[:, 0].zero_()
    coarse = counted_noise(seeds, samples, (num_frames, 8, 8), stream=SMEAR)
    blobs = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    blobs = (0.5 + 2 * blobs).clamp(0, 1) * hit[..., None, None]  # (B, T, h, w)
    # Half of the clips, more of them faintly, in clouds of a few grey levels to some.
    cloudy, dense = counted_uniform(seeds, samples, (2,), stream=HAZE).unbind(1)
    clouds = counted_noise(seeds, samples, (latents.shape[2], 8, 8), stream=HAZE)
    clouds = F.interpolate(clouds, (height, width), mode="bilinear", align_corners=False)
    haze = ((cloudy < 0.5) * HAZE_SCALE * dense**2)[:, None, None, None] * clouds
    # Speckle is of a cell, as the model's own is of its convolutions.
    speckle = counted_noise(seeds, samples, tuple(latents.shape[1:]), stream=SMEAR)
    return Smear(
        share=(0.9 * most[..., None, None] * blobs)[:, :, None],
        moment=(num_frames * moment).long(),
        aside=((2 * torch.stack((down, across), dim=-1) - 1) * ASIDE).long(),
        speckle=(0.1 * grain[..., None, None] * blobs)[:, :, None] * speckle,
        haze=haze[:, None],
    )


def draw_levels(seeds: Tensor, samples: Tensor, num_frames: int) -> Tensor:
    """Noise levels (B, T): pure noise (half), clean (a quarter), between; a clip's first clean.

    A step samples from pure noise over a clean past, so these two are drawn more often. Levels
    under 0.2 are left out: no pass of a sampler of up to five visits them.
    """
    kind, value = counted_uniform(seeds, samples, (2, num_frames), stream=LEVELS).unbind(1)
    levels = torch.where(kind < 0.5, torch.ones_like(value), 0.2 + 0.8 * value)
    levels = torch.where(kind >= 0.75, torch.zeros_like(levels), levels)
    levels[:, 0].zero_()
    return levels


def read_frames(batch: Batch, config: StreamingConfig) -> Tensor:
    """Which frames the head learns to read, bool (B, T): in a world that predicts states, those
    with a prediction; else a clip's first too, as a start of one frame is."""
    return batch.valid if config.states is None else batch.supervised


def head_loss(read: Readout, batch: Batch, config: StreamingConfig) -> Tensor:
    """What is read against the truth, per frame (B, T); unknown rewards count nothing."""
    loss = torch.zeros_like(batch.levels)
    if config.reward_head:
        wanted, end = read.rewards.unbind(-1)
        known = ~batch.rewards.isnan()
        reward = torch.where(known, batch.rewards, 0.0)
        # In units of a tenth of the reward's range: beyond that the loss is linear.
        scale = 0.1 * (config.reward_high - config.reward_low)
        loss = loss + known * F.smooth_l1_loss(wanted / scale, reward / scale, reduction="none")
        ended = batch.ended.float()
        loss = loss + known * F.binary_cross_entropy_with_logits(end, ended, reduction="none")
    states = config.by_name(read.states) if config.tracked else {}
    for name in config.observations:
        error = F.smooth_l1_loss(10 * states[name], 10 * batch.states[name], reduction="none")
        loss = loss + error.mean(-1)
    return loss
