"""Distillation of a streaming world to fewer denoising passes a step.

The teacher is the world itself, walking from noise to a change in many passes. For the same
noise the student, which starts from the same weights, shall end where the teacher does, in one
or two (Luhman and Luhman, arXiv 2101.02388; of rectified flows: Liu et al., arXiv 2209.03003 and
2309.06380). Both stream: past frames are clean in their rings, the present one alone is noisy, as
in every step of a rollout; so each pass costs one frame, not a clip. The past is recorded at
first, then the student's own (as Agarwal et al., arXiv 2306.13649, do with words): it learns to
go on from frames that it will see.

What is drawn with noise of level 1 has seen none of it (denoiser.informative): in one pass a
student learns the mean of what the teacher draws, from two passes on it can follow its noise.

Dimensions: B clips, T frames, C channels, h w latent cells, A action, U controls.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.data.clips import Clips
from world_model.codec import encode_clip
from world_model.frames import frames_to_pixels
from world_model.runtime.counter_rng import counted_index, counted_noise
from world_model.streaming.conditioning import Readout
from world_model.streaming.config import StreamingConfig
from world_model.streaming.kv_ring import Places, Ring
from world_model.streaming.sampler import outside, sample_change, sampled_levels
from world_model.streaming.state import StreamingState
from world_model.streaming.world import StreamingWorld

# Streams of the counted numbers of one sample; 0 picks its clip (training/data/clips.py).
NOISE, OWN = 1, 2
# Changes are compared in grey levels: frames span [-1, 1].
GREY_LEVELS = 127.5
# Weight of what the head reads. Of changes one grey level squared counts 1; this makes an error
# of 0.01 in a state, whose range is 2, count a tenth of that.
READING_WEIGHT = 20.0


@dataclass(frozen=True)
class DistillationLosses:
    """Sums over a batch's supervised frames, to be divided by their number."""

    change: Tensor
    """Squared difference of the student's change from the teacher's, in grey levels squared."""
    reading: Tensor
    """Weighted difference of what their heads read off the same frames."""

    @property
    def total(self) -> Tensor:
        return self.change + self.reading


@dataclass(frozen=True, eq=False)
class WalkBatch:
    """Clips made ready to walk along, with their counted numbers."""

    clips: Clips
    latents: Tensor  # (B, T, C, h, w)
    noise: Tensor  # (B, T - given, C, h, w), of the frames that are not given
    own_from: Tensor  # int64 (B,): from this frame on the past is the student's own

    @property
    def given(self) -> int:
        """How many frames a walk starts from."""
        return self.latents.shape[1] - self.noise.shape[1]


def make_walk_batch(
    world: StreamingWorld, clips: Clips, seed: int, samples: Tensor, given: int
) -> WalkBatch:
    """Encode clips and draw the numbers of samples (B,): a function of (seed, sample)."""
    seeds = torch.full_like(samples, seed)
    latents = encode_clip(world.codec, frames_to_pixels(clips.frames))
    drawn = latents.shape[1] - given
    noise = counted_noise(seeds, samples, (drawn, *latents.shape[2:]), stream=NOISE)
    return WalkBatch(
        clips=clips,
        latents=latents,
        noise=world.config.sampler.noise_scale * noise,
        own_from=given + counted_index(seeds, samples, drawn + 1, stream=OWN),
    )


class DistillationObjective(nn.Module):
    """How far a student is from its teacher; `forward` is what data-parallel training wraps."""

    def __init__(self, student: StreamingWorld, teacher: StreamingWorld):
        """Number of passes: that of each one's own sampler. The teacher does not change."""
        super().__init__()
        self.conditioner = student.conditioner
        self.denoiser, self.head = student.denoiser, student.head
        for module in (
            student.conditioner.trained_first().values()
        ):  # what they say does not depend on passes
            module.requires_grad_(False)
        self.worlds = (student, teacher)  # a tuple, so that the teacher is no part of this module

    def forward(self, batch: WalkBatch) -> DistillationLosses:
        """Summed losses of the frames that both draw, one after the other."""
        student, teacher = (Walk(world, batch) for world in self.worlds)
        world, clips = self.worlds[0], batch.clips
        actions = world.scale_actions(clips.actions)
        change_loss = reading_loss = batch.noise.new_zeros(())
        for t in range(batch.given, batch.latents.shape[1]):
            noise = batch.noise[:, t - batch.given]
            change = student.draw(actions[:, t], noise)
            with torch.no_grad():
                target = teacher.draw(actions[:, t], noise)
            # Proxies differ where the two predict other states; frames are what shall be alike.
            bases = student.base - teacher.base
            error = GREY_LEVELS * (change.float() - target.float() + bases)
            change_loss = (
                change_loss + (error.square().flatten(1).mean(1) * clips.valid[:, t]).sum()
            )

            difference = compare_readings(student.read, teacher.read, world.config)
            reading_loss = reading_loss + (difference * clips.valid[:, t]).sum()

            own = (t >= batch.own_from)[:, None, None, None]
            frame = torch.where(own, student.settled(change.detach()), batch.latents[:, t])
            student.remember(frame)
            teacher.remember(frame)
        return DistillationLosses(change=change_loss, reading=READING_WEIGHT * reading_loss)


class Walk:
    """A world that walks along clips: `StreamingWorld.advance` in two halves.

    Between them another frame than its own can be put, so a frame is drawn in one call of the
    network and remembered in one of its own. Gradients flow through the drawing and do not flow
    from one step into the ring of the next.
    """

    def __init__(self, world: StreamingWorld, batch: WalkBatch):
        self.world = world
        # A change threshold would hide what a small change still has to learn.
        self.sampler = replace(world.config.sampler, change_threshold=0.0)
        frames, actions = batch.clips.frames, batch.clips.actions
        seeds = torch.zeros_like(batch.own_from)  # a world's own noise is not used here
        state = world.start(frames[:, : batch.given], actions[:, 1 : batch.given], seeds)
        assert isinstance(state, StreamingState)
        self.state = state
        levels = sampled_levels(self.sampler, world.device)[:, None, None]
        self.levels = levels.expand(-1, len(seeds), 1)

    def draw(self, action: Tensor, noise: Tensor) -> Tensor:
        """The change (B, C, h, w) to the next frame, changes below the threshold included; what the
        head reads off it is in `read`.

        Args:
            action: (B, A), scaled to [-1, 1].
            noise: (B, C, h, w), of the sampler's deviation.
        """
        state, world = self.state, self.world
        control = world.conditioner.control(state.memory, action).last
        self.conditioning = conditioning = world.conditioner(control, last=True)
        state.ring.advance()
        ring = DifferentiableRing.over(state.ring)
        self.base = conditioning.drawn_over(state.latents).detach()
        previous = self.base[:, None]
        tokens = state.latents

        def denoise(noisy: Tensor, step: int) -> Tensor:
            nonlocal tokens
            noisy, level = noisy[:, None], self.levels[step]
            change, tokens = world.denoiser.stream(noisy, previous, level, conditioning, ring)
            return change

        change = sample_change(denoise, noise, self.sampler)
        self.read = world.conditioner.read(world.head(tokens.float()), *conditioning.newest)
        memory = world.conditioner.update(state.memory, control, self.read)
        self._memory = {name: tensor.detach() for name, tensor in memory.items()}
        return change

    def settled(self, change: Tensor) -> Tensor:
        """The frame that a drawn change makes, as a step of the world does."""
        change = outside(change, self.world.config.sampler.change_threshold)
        return self.world.settled(self.base, change, self.state.memory, self._memory)

    @torch.no_grad()
    def remember(self, latents: Tensor) -> None:
        """Take (B, C, h, w) as the frame that was drawn."""
        state, denoiser = self.state, self.world.denoiser
        before = self.base
        change = latents - before
        denoiser.remember(change[:, None], before[:, None], self.conditioning, state.ring)
        state.before, state.latents, state.memory = before, latents, self._memory


class DifferentiableRing(Ring):
    """A ring that hands out what it was given, gradients and all, and keeps the numbers."""

    @classmethod
    def over(cls, ring: Ring) -> "DifferentiableRing":
        """One that writes into the same memory."""
        return cls(ring.keys, ring.values, ring.index, ring.filled)

    def write(self, layer: int, at: Places, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """See `Ring.write`."""
        past_keys, past_values = super().write(layer, at, keys.detach(), values.detach())
        return (
            past_keys.index_put(at, keys.to(past_keys.dtype)),
            past_values.index_put(at, values.to(past_values.dtype)),
        )


def compare_readings(read: Readout, wanted: Readout, config: StreamingConfig) -> Tensor:
    """How far readings of frames are from those wanted, (B,); 0 where they are equal.

    Scales are those of `objective.head_loss`: a tenth of the reward's range, of a state's half.
    """
    loss = torch.zeros(())
    if config.reward_head:
        scale = 0.1 * (config.reward_high - config.reward_low)
        mine, theirs = (x.rewards.float().unbind(-1) for x in (read, wanted))
        loss = loss + F.smooth_l1_loss(mine[0] / scale, theirs[0] / scale, reduction="none")
        chance = theirs[1].sigmoid()
        ours, least = (
            F.binary_cross_entropy_with_logits(end, chance, reduction="none")
            for end in (mine[1], theirs[1])
        )
        loss = loss + ours - least  # the Kullback-Leibler divergence
    if config.tracked:
        mine, theirs = config.by_name(read.states), config.by_name(wanted.states)
        for name in config.observations:
            error = F.smooth_l1_loss(10 * mine[name], 10 * theirs[name], reduction="none")
            loss = loss + error.mean(-1)
    return loss
