"""Trains a student to draw in few passes what its teacher draws in many.

Dimensions: B clips.
"""

import time
from collections.abc import Sequence

from accelerate import Accelerator
from torch import Tensor

from training.data.clips import ClipStore
from training.distill.config import DistillConfig
from training.distill.objective import DistillationObjective, WalkBatch, make_walk_batch
from training.streaming.trainer import ClipTrainer
from world_model import StreamingWorld


class DistillationTrainer(ClipTrainer):
    """Trains a world's denoiser and head towards those of another."""

    def __init__(
        self,
        student: StreamingWorld,
        teacher: StreamingWorld,
        store: ClipStore,
        config: DistillConfig,
        accelerator: Accelerator,
    ):
        objective = DistillationObjective(student, teacher.requires_grad_(False))
        super().__init__(objective, store, config, accelerator)
        self.student, self.config = student, config

    def _begin(self, parts: Sequence[Tensor]) -> Tensor:
        """Frames inside of their episodes, less those that are given. None may be left."""
        config, samples = self.config, self._all_samples()
        drawn, given = (
            self.store.count_valid(config.seed, samples, frames)
            for frames in (config.clip_frames, config.start_frames)
        )
        return (drawn - given).clamp(min=1)

    def _batch(self, parts: Sequence[Tensor], part: int) -> WalkBatch:
        begin, config, samples = time.perf_counter(), self.config, parts[part]
        clips = self.store.sample(config.seed, samples, config.clip_frames)
        batch = make_walk_batch(self.student, clips, config.seed, samples, config.start_frames)
        self.progress.data_seconds += time.perf_counter() - begin
        return batch

    def _fall(self) -> float:
        return max(0.02, 1 - self.fraction())
