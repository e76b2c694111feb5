"""Trains a student to draw in few passes what its teacher draws in many.

Dimensions: B clips.
"""

import time

import torch
from accelerate import Accelerator
from torch import Tensor

from training.data.clips import ClipStore
from training.distill.config import DistillConfig
from training.distill.objective import DistillationObjective, WalkBatch, make_walk_batch
from training.run.directory import STATE
from training.run.resumable import ResumableTrainer, check_division
from training.streaming.config import seconds
from world_model import StreamingWorld


class DistillationTrainer(ResumableTrainer):
    """Trains a world's denoiser and head towards those of another."""

    state_name = STATE

    def __init__(
        self,
        student: StreamingWorld,
        teacher: StreamingWorld,
        store: ClipStore,
        config: DistillConfig,
        accelerator: Accelerator,
    ):
        check_division(config.batch_clips, accelerator.num_processes, config.accumulation)
        super().__init__(
            DistillationObjective(student, teacher.requires_grad_(False)),
            accelerator,
            rate=config.rate,
            betas=(0.9, 0.98),
            clip_norm=config.clip_norm,
            ema=config.ema,
        )
        self.student, self.store, self.config = student, store, config

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
        # Frames inside of their episodes, less those that are given. None may be left.
        counts = [
            self.store.count_valid(config.seed, samples, frames)
            for frames in (config.clip_frames, config.start_frames)
        ]
        count = (counts[0] - counts[1]).clamp(min=1)
        mine = samples[accelerator.process_index :: accelerator.num_processes]
        sums = torch.zeros(2, device=device)
        for part, chosen in enumerate(mine.chunk(config.accumulation)):
            batch = self._batch(chosen)
            with self.gradients_of_part(last=part == config.accumulation - 1):
                losses = self.objective(batch)
                # Data-parallel gradients are averaged over processes; this makes them a sum.
                accelerator.backward(losses.total * accelerator.num_processes / count)
            sums += torch.stack((losses.change, losses.reading)).detach()
        norm = self.apply_gradients()
        total = accelerator.reduce(sums, "sum")
        assert isinstance(total, Tensor)
        change, reading = (total / count).tolist()
        figures = {
            "loss/change": change,
            "loss/reading": reading,
            "gradient_norm": float(norm),
            "rate": self.optimizer.param_groups[0]["lr"],
        }
        return self.count_step(begin, config.batch_clips * config.clip_frames, figures)

    def _batch(self, samples: Tensor) -> WalkBatch:
        begin, config = time.perf_counter(), self.config
        clips = self.store.sample(config.seed, samples, config.clip_frames)
        batch = make_walk_batch(self.student, clips, config.seed, samples, config.start_frames)
        self.progress.data_seconds += time.perf_counter() - begin
        return batch

    def _set_rate(self) -> None:
        rise = min(1.0, (self.progress.step + 1) / max(1, self.config.warmup))
        fall = max(0.02, 1 - self.fraction())
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate * rise * fall
