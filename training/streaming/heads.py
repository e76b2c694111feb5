"""The last phase: the head alone, on frames drawn after recorded ones and after the model's own."""

import time
from contextlib import AbstractContextManager
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.data.clips import ClipStore
from training.run.config import seconds
from training.run.directory import HEAD_STATE
from training.run.loop import resume, train_until
from training.run.resumable import ResumableTrainer
from training.streaming.config import TrainConfig
from training.streaming.objective import (
    Batch,
    StreamingObjective,
    head_loss,
    make_batch,
    read_frames,
)
from world_model import StreamingWorld
from world_model.streaming.conditioning import Conditioning


def train_head(
    world: StreamingWorld,
    store: ClipStore,
    config: TrainConfig,
    accelerator: Accelerator,
    *,
    first_step: int,
    num_steps: int,
) -> float:
    """Train `world.head` in place, the denoiser staying as it is; the mean of the last losses.

    Samples are numbered on from the steps before, so that a repeated phase is the same.
    """
    trainer = HeadTrainer(world, store, config, accelerator, first_step, num_steps)
    resume(trainer, config.out)
    train_until(1.0, trainer, config, name="head", shown=("head/loss",))
    return trainer.recent("head/loss") or 0.0


class HeadTrainer(ResumableTrainer):
    """Trains a world's head alone on clips from a store."""

    state_name = HEAD_STATE

    def __init__(
        self,
        world: StreamingWorld,
        store: ClipStore,
        config: TrainConfig,
        accelerator: Accelerator,
        first_step: int,
        num_steps: int,
    ):
        """See `train_head`."""
        self.trunk = StreamingObjective(world)
        super().__init__(world.head, accelerator, rate=config.rate, betas=(0.9, 0.999))
        self.world, self.store, self.config = world, store, config
        self.first_step, self.num_steps = first_step, num_steps

    def fraction(self) -> float:
        """Share of its steps that is done, or of its time where that is over sooner."""
        config, done = self.config, self.progress.step / self.num_steps
        if config.max_steps is not None:
            return done
        time_for_it = (1 - config.heads_from) * seconds(config.budget)
        return max(done, self.progress.elapsed / max(time_for_it, 1e-9))

    def train_step(self) -> dict[str, float]:
        """One optimizer step; its mean loss, over all processes."""
        begin, config, accelerator = time.perf_counter(), self.config, self.accelerator
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate * (1 - self.fraction())
        first = (self.first_step + self.progress.step) * config.batch_clips
        samples = torch.arange(first, first + config.batch_clips, device=accelerator.device)
        mine = samples[accelerator.process_index :: accelerator.num_processes]
        clips = self.store.sample(config.seed, mine, config.clip_frames)
        batch = make_batch(self.world, clips, config.seed, mine, config.rollout_rounds)
        loss = drawn_loss(self.world, self.objective, self.trunk, batch, accelerator.autocast())
        accelerator.backward(loss)
        self.apply_gradients()
        mean = accelerator.reduce(loss.detach(), "mean")
        assert isinstance(mean, Tensor)
        frames = config.batch_clips * config.clip_frames
        return self.count_step(begin, frames, {"head/loss": mean.item()})


def drawn_loss(
    world: StreamingWorld,
    head: nn.Module,
    trunk: StreamingObjective,
    batch: Batch,
    autocast: AbstractContextManager[Any],
) -> Tensor:
    """The mean loss of a world's head on the tokens that draw frames, the denoiser staying as it
    is; `autocast` is around what draws."""
    with autocast:
        tokens, drawn = drawn_tokens(trunk, batch)
    read = world.conditioner.read(head(tokens.float()), drawn.prediction, drawn.before)
    losses = head_loss(read, batch, world.config)
    counted = read_frames(batch, world.config)
    return (losses * counted).sum() / counted.sum().clamp(min=1)


@torch.no_grad()
def drawn_tokens(trunk: StreamingObjective, batch: Batch) -> tuple[Tensor, Conditioning]:
    """Tokens (B, T, N, width) of the last pass that draws a frame, where a head reads in use; and
    what they were drawn with. Frames before are recorded or the model's
    own, by `batch.rounds`."""
    base, inputs = trunk.drawn_over(batch, trunk.conditioning(batch, batch.wanted))
    conditioning = trunk.conditioning(batch)
    base = base if conditioning.proxy is None else conditioning.proxy
    levels = torch.full_like(batch.levels, 1 / trunk.config.sampler.num_steps)
    levels[:, 0].zero_()  # a start's first frame is given
    level = levels[..., None, None, None]
    noisy = (1 - level) * (inputs - base) + level * batch.noise
    _, tokens = trunk.denoiser(noisy, base, levels, conditioning)
    return tokens, conditioning
