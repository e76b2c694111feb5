"""The training of a streaming world: its phases, and a step on clips.

Dimensions: B clips.
"""

import time

import torch
from accelerate import Accelerator
from torch import Tensor

from training.clips import ClipStore
from training.objective import Batch, StreamingObjective, make_batch
from training.presets import TrainConfig, seconds
from training.resumable import ResumableTrainer, check_division
from world_model import StreamingWorld


class Trainer(ResumableTrainer):
    """Trains a world's denoiser and head on clips from a store."""

    def __init__(
        self, world: StreamingWorld, store: ClipStore, config: TrainConfig, accelerator: Accelerator
    ):
        check_division(config.batch_clips, accelerator.num_processes, config.accumulation)
        super().__init__(
            StreamingObjective(world, edge_weight=config.edge_weight),
            accelerator,
            rate=config.rate,
            betas=(0.9, 0.98),
            clip_norm=config.clip_norm,
            ema=config.ema,
        )
        self.world, self.store, self.config = world, store, config

    def fraction(self) -> float:
        """See `ResumableTrainer.share_done`."""
        return self.share_done(self.config.max_steps, seconds(self.config.budget))

    def train_step(self) -> dict[str, float]:
        """One optimizer step; the mean losses of its frames, over all processes."""
        begin = time.perf_counter()
        config, accelerator = self.config, self.accelerator
        self._set_rate()
        first = self.progress.step * config.batch_clips
        device = accelerator.device
        samples = torch.arange(first, first + config.batch_clips, device=device)
        count = self.store.count_valid(config.seed, samples, config.clip_frames)
        mine = samples[accelerator.process_index :: accelerator.num_processes]
        sums = torch.zeros(2, device=device)
        for part, chosen in enumerate(mine.chunk(config.accumulation)):
            batch = self._batch(chosen)
            with self.gradients_of_part(last=part == config.accumulation - 1):
                losses = self.objective(batch)
                # Data-parallel gradients are averaged over processes; this makes them a sum.
                share = losses.total * accelerator.num_processes / count
                accelerator.backward(share)
            sums += torch.stack((losses.dynamics, losses.head)).detach()
        norm = self.apply_gradients()
        total = accelerator.reduce(sums, "sum")
        assert isinstance(total, Tensor)
        dynamics, head = (total / count).tolist()
        self.count_step(begin, config.batch_clips * config.clip_frames)
        return {
            "loss/dynamics": dynamics,
            "loss/head": head,
            "gradient_norm": norm,
            "rate": self.optimizer.param_groups[0]["lr"],
        }

    def _batch(self, samples: Tensor) -> Batch:
        begin, config = time.perf_counter(), self.config
        clips = self.store.sample(config.seed, samples, config.clip_frames)
        rolling = self.fraction() >= config.rollout_from
        rounds = config.rollout_rounds if rolling else 0
        batch = make_batch(self.world, clips, config.seed, samples, rounds, smeared=rolling)
        self.progress.data_seconds += time.perf_counter() - begin
        return batch

    def _set_rate(self) -> None:
        config, fraction = self.config, self.fraction()
        rise = min(1.0, (self.progress.step + 1) / max(1, config.warmup))
        span = max(config.heads_from - config.decay_from, 1e-9)
        fall = min(1.0, max(0.02, (config.heads_from - fraction) / span))
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate * rise * fall
