"""The training of a streaming world: its phases, and a step on clips.

Dimensions: B clips.
"""

import time

import torch
from accelerate import Accelerator
from torch import Tensor

from training.clips import ClipStore
from training.objective import Batch, StreamingObjective, make_batch
from training.own_past import OwnPast
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
            StreamingObjective(
                world, edge_weight=config.edge_weight, absolute_weight=config.absolute_weight
            ),
            accelerator,
            rate=config.rate,
            betas=(0.9, 0.98),
            clip_norm=config.clip_norm,
            ema=config.ema,
        )
        self.world, self.store, self.config = world, store, config
        self.own_past: list[OwnPast] = []  # one a part, from config.own_past_from on

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
        mine = samples[accelerator.process_index :: accelerator.num_processes]
        batches = self._batches(mine)
        valid = torch.stack([batch.supervised.sum() for batch in batches]).sum()
        count = accelerator.reduce(valid, "sum")
        assert isinstance(count, Tensor)
        sums = torch.zeros(2, device=device)
        for part, batch in enumerate(batches):
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

    def _batches(self, samples: Tensor) -> list[Batch]:
        """Those of a step's parts, of this process's samples."""
        begin, config = time.perf_counter(), self.config
        parts = samples.chunk(config.accumulation)
        if self.fraction() >= config.own_past_from:
            self.own_past = self.own_past or self._begin_own_past(samples)
            batches = [
                self._own_past_batch(part, walked)
                for part, walked in zip(parts, self.own_past, strict=True)
            ]
        else:
            batches = [self._batch(part) for part in parts]
        self.progress.data_seconds += time.perf_counter() - begin
        return batches

    def _batch(self, samples: Tensor) -> Batch:
        config = self.config
        clips = self.store.sample(config.seed, samples, config.clip_frames)
        rolling = self.fraction() >= config.rollout_from
        rounds = config.rollout_rounds if rolling else 0
        return make_batch(self.world, clips, config.seed, samples, rounds, smeared=rolling)

    def _begin_own_past(self, samples: Tensor) -> list[OwnPast]:
        config = self.config
        rows = samples % config.batch_clips  # the same in every step
        return [
            OwnPast(self.world, self.store, config.seed, part, config.batch_clips)
            for part in rows.chunk(config.accumulation)
        ]

    def _own_past_batch(self, samples: Tensor, walked: OwnPast) -> Batch:
        with self.accelerator.autocast():
            clips, made = walked.walk(self.config.clip_frames)
        return make_batch(self.world, clips, self.config.seed, samples, 0, smeared=True, made=made)

    def _more_state(self) -> dict[str, Tensor]:
        """The rows of all processes: see `OwnPast.tensors`."""
        mine = [walked.tensors() for walked in self.own_past]
        if not mine:
            return {}
        joined = {name: torch.cat([tensors[name] for tensors in mine]) for name in mine[0]}
        gathered = {name: self.accelerator.gather(tensor) for name, tensor in joined.items()}
        return {name: tensor for name, tensor in gathered.items() if isinstance(tensor, Tensor)}

    def _load_more_state(self, tensors: dict[str, Tensor]) -> None:
        accelerator, total = self.accelerator, self.config.batch_clips
        if not tensors:
            return
        first = self.progress.step * total
        samples = torch.arange(first, first + total, device=accelerator.device)
        mine = samples[accelerator.process_index :: accelerator.num_processes]
        self.own_past = self._begin_own_past(mine)
        at = (tensors["samples"] % total).argsort()  # rows by number
        for walked in self.own_past:
            rows = at[walked.samples.cpu() % total]
            walked.load({name: tensor[rows] for name, tensor in tensors.items()})

    def _set_rate(self) -> None:
        config, fraction = self.config, self.fraction()
        rise = min(1.0, (self.progress.step + 1) / max(1, config.warmup))
        span = max(config.heads_from - config.decay_from, 1e-9)
        fall = min(1.0, max(0.02, (config.heads_from - fraction) / span))
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate * rise * fall
