"""The training of a streaming world: its phases, and a step on clips.

Dimensions: B clips.
"""

import time
from collections.abc import Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from training.data.clips import ClipStore
from training.run.directory import STATE
from training.run.resumable import ResumableTrainer, check_division
from training.streaming.config import TrainConfig, seconds
from training.streaming.objective import Batch, StreamingObjective, make_batch
from training.streaming.self_rollout import OwnPast
from world_model import StreamingWorld


class Trainer(ResumableTrainer):
    """Trains a world's denoiser and head on clips from a store."""

    state_name = STATE

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
        parts = self._samples().chunk(config.accumulation)
        count = self._begin(parts)
        sums = torch.zeros(2, device=accelerator.device)
        for part in range(config.accumulation):
            batch = self._batch(parts, part)
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
        figures = {
            "loss/dynamics": dynamics,
            "loss/head": head,
            "gradient_norm": float(norm),
            "rate": self.optimizer.param_groups[0]["lr"],
        }
        return self.count_step(begin, config.batch_clips * config.clip_frames, figures)

    def _samples(self) -> Tensor:
        """This process's sample numbers of the step to come."""
        accelerator, total = self.accelerator, self.config.batch_clips
        first = self.progress.step * total
        samples = torch.arange(first, first + total, device=accelerator.device)
        return samples[accelerator.process_index :: accelerator.num_processes]

    def _begin(self, parts: Sequence[Tensor]) -> Tensor:
        """How many frames of a step are supervised, over all processes."""
        begin, config = time.perf_counter(), self.config
        if self.fraction() < config.own_past_from:
            counts = [self.store.count_valid(config.seed, s, config.clip_frames) for s in parts]
        else:
            self.own_past = self.own_past or self._begin_own_past(parts)
            for walked in self.own_past:
                walked.begin_anew()
            counts = [walked.left(config.clip_frames - 1) for walked in self.own_past]
        self.progress.data_seconds += time.perf_counter() - begin
        count = self.accelerator.reduce(torch.stack(counts).sum(), "sum")
        assert isinstance(count, Tensor)
        return count

    def _batch(self, parts: Sequence[Tensor], part: int) -> Batch:
        begin, config = time.perf_counter(), self.config
        samples, made, rounds = parts[part], None, 0
        rolling = self.fraction() >= config.rollout_from
        if self.fraction() >= config.own_past_from:
            clips, made = self.own_past[part].walk(config.clip_frames)
        else:
            clips = self.store.sample(config.seed, samples, config.clip_frames)
            rounds = config.rollout_rounds if rolling else 0
        smeared = rolling or made is not None
        batch = make_batch(
            self.world, clips, config.seed, samples, rounds, smeared=smeared, made=made
        )
        self.progress.data_seconds += time.perf_counter() - begin
        return batch

    def _begin_own_past(self, parts: Sequence[Tensor]) -> list[OwnPast]:
        """Rows whose numbers are the same in every step."""
        config, total = self.config, self.config.batch_clips
        autocast = self.accelerator.autocast
        return [
            OwnPast(self.world, self.store, config.seed, part % total, total, autocast)
            for part in parts
        ]

    def _more_state(self) -> dict[str, Tensor]:
        """The rows of all processes: see `OwnPast.tensors`."""
        mine = [walked.tensors() for walked in self.own_past]
        state = {}
        for name in mine[0] if mine else ():
            gathered = self.accelerator.gather(torch.cat([tensors[name] for tensors in mine]))
            assert isinstance(gathered, Tensor)
            state[name] = gathered.cpu()
        return state

    def _load_more_state(self, tensors: dict[str, Tensor]) -> None:
        total = self.config.batch_clips
        if not tensors:
            return
        self.own_past = self._begin_own_past(self._samples().chunk(self.config.accumulation))
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
