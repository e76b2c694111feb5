"""The training of a streaming world: its phases, and a step on clips.

Dimensions: B clips.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.data.clips import ClipStore
from training.run.config import ClipRunConfig, seconds
from training.run.directory import STATE
from training.run.resumable import ResumableTrainer, check_division
from training.streaming.config import TrainConfig
from training.streaming.in_turn import GIVEN, InTurnObjective
from training.streaming.objective import Batch, StreamingObjective, make_batch
from training.streaming.self_rollout import SelfRollout
from training.streaming.turned import num_ways, turned
from world_model import StreamingWorld
from world_model.runtime.counter_rng import counted_index

# The stream of a sample's counted numbers that says which way a plain world's clips are turned
# (objective.py has the others).
WAY = 8


class ClipTrainer(ResumableTrainer, ABC):
    """Trains on clips from a store, each step's in parts."""

    state_name = STATE

    def __init__(
        self,
        objective: nn.Module,
        store: ClipStore,
        config: ClipRunConfig,
        accelerator: Accelerator,
    ):
        """Begin at step 0; `objective` gives the losses of a batch, sums by name and in `total`."""
        check_division(config.batch_clips, accelerator.num_processes, config.accumulation)
        super().__init__(
            objective,
            accelerator,
            rate=config.rate,
            betas=(0.9, 0.98),
            clip_norm=config.clip_norm,
            ema=config.ema,
        )
        self.store, self.run = store, config

    def fraction(self) -> float:
        """See `ResumableTrainer.share_done`."""
        return self.share_done(self.run.max_steps, seconds(self.run.budget))

    def train_step(self) -> dict[str, float]:
        """One optimizer step; the mean losses of its frames, over all processes."""
        begin = time.perf_counter()
        config, accelerator = self.run, self.accelerator
        rise = min(1.0, (self.progress.step + 1) / max(1, config.warmup))
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate * rise * self._fall()
        parts = self._samples().chunk(config.accumulation)
        count = self._begin(parts)
        sums: dict[str, Tensor] = {}
        for part in range(config.accumulation):
            batch = self._batch(parts, part)
            with self.gradients_of_part(last=part == config.accumulation - 1):
                losses = self.objective(batch)
                # Data-parallel gradients are averaged over processes; this makes them a sum.
                accelerator.backward(losses.total * accelerator.num_processes / count)
            for name, loss in vars(losses).items():
                sums[f"loss/{name}"] = loss.detach() + sums.get(f"loss/{name}", 0)
        norm = self.apply_gradients()
        total = accelerator.reduce(torch.stack(list(sums.values())), "sum")
        assert isinstance(total, Tensor)
        figures = dict(zip(sums, (total / count).tolist(), strict=True))
        figures |= {"gradient_norm": float(norm), "rate": self.optimizer.param_groups[0]["lr"]}
        return self.count_step(begin, config.batch_clips * self._num_frames(), figures)

    def _samples(self) -> Tensor:
        """This process's sample numbers of the step to come."""
        accelerator = self.accelerator
        return self._all_samples()[accelerator.process_index :: accelerator.num_processes]

    def _all_samples(self) -> Tensor:
        """Those of all processes."""
        total = self.run.batch_clips
        first = self.progress.step * total
        return torch.arange(first, first + total, device=self.accelerator.device)

    def _num_frames(self) -> int:
        """Of the clips of the step to come."""
        return self.run.clip_frames

    @abstractmethod
    def _begin(self, parts: Sequence[Tensor]) -> Tensor:
        """How many frames of a step are supervised, over all processes."""

    @abstractmethod
    def _batch(self, parts: Sequence[Tensor], part: int) -> Any:
        """The batch of a part's sample numbers."""

    @abstractmethod
    def _fall(self) -> float:
        """The share of the learning rate that is left."""


class Trainer(ClipTrainer):
    """Trains a world's denoiser and head on clips from a store."""

    def __init__(
        self, world: StreamingWorld, store: ClipStore, config: TrainConfig, accelerator: Accelerator
    ):
        weights = {"edge_weight": config.edge_weight, "absolute_weight": config.absolute_weight}
        if world.config.denoiser.network == "unet":
            objective = InTurnObjective(world, motion_weight=config.motion_weight, **weights)
        else:
            objective = StreamingObjective(world, **weights)
        super().__init__(objective, store, config, accelerator)
        self.world, self.config = world, config
        plain = config.symmetric and world.config.states is None
        self.ways = num_ways(world.config) if plain else 1
        self.self_rollouts: list[SelfRollout] = []  # one a part, from config.self_rollout_from on

    def _begin(self, parts: Sequence[Tensor]) -> Tensor:
        """How many frames of a step are supervised, over all processes."""
        begin, config = time.perf_counter(), self.config
        if self.fraction() < config.self_rollout_from:
            counts = [self.store.count_valid(config.seed, s, *self._clip()) for s in parts]
        else:
            self.self_rollouts = self.self_rollouts or self._begin_self_rollouts(parts)
            for walked in self.self_rollouts:
                walked.begin_anew()
            counts = [walked.left(config.clip_frames - 1) for walked in self.self_rollouts]
        self.progress.data_seconds += time.perf_counter() - begin
        count = self.accelerator.reduce(torch.stack(counts).sum(), "sum")
        assert isinstance(count, Tensor)
        return count.clamp(min=1)

    def _batch(self, parts: Sequence[Tensor], part: int) -> Batch:
        begin, config = time.perf_counter(), self.config
        samples, made, rounds = parts[part], None, 0
        rolling = self.fraction() >= config.rollout_from
        if self.fraction() >= config.self_rollout_from:
            clips, made = self.self_rollouts[part].walk(config.clip_frames)
        else:
            clips = self.store.sample(config.seed, samples, self._clip()[0])
            rounds = config.rollout_rounds if rolling else 0
        if self.ways > 1:  # a part's clips all in one way
            seed = torch.full_like(samples[:1], config.seed)
            way = counted_index(seed, samples[:1], self.ways, stream=WAY)
            clips = turned(clips, int(way), self.world.config)
        smeared = (rolling or made is not None) and self.world.config.denoiser.network != "unet"
        batch = make_batch(
            self.world, clips, config.seed, samples, rounds, smeared=smeared, made=made
        )
        self.progress.data_seconds += time.perf_counter() - begin
        return batch

    def _clip(self) -> tuple[int, int]:
        """How many frames clips have now, and how many of them are given."""
        config = self.config
        if self.world.config.denoiser.network != "unet":
            return config.clip_frames, 1
        span = max(config.heads_from - config.rollout_from, 1e-9)
        grown = min(1.0, max(0.0, (self.fraction() - config.rollout_from) / span))
        return min(config.clip_frames, GIVEN + 1 + int(grown * (config.clip_frames - GIVEN))), GIVEN

    def _num_frames(self) -> int:
        return self._clip()[0]

    def _begin_self_rollouts(self, parts: Sequence[Tensor]) -> list[SelfRollout]:
        """Rows whose numbers are the same in every step."""
        config, total = self.config, self.config.batch_clips
        autocast = self.accelerator.autocast
        return [
            SelfRollout(self.world, self.store, config.seed, part % total, total, autocast)
            for part in parts
        ]

    def _more_state(self) -> dict[str, Tensor]:
        """The rows of all processes: see `SelfRollout.tensors`."""
        mine = [walked.tensors() for walked in self.self_rollouts]
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
        self.self_rollouts = self._begin_self_rollouts(
            self._samples().chunk(self.config.accumulation)
        )
        at = (tensors["samples"] % total).argsort()  # rows by number
        for walked in self.self_rollouts:
            rows = at[walked.samples.cpu() % total]
            walked.load({name: tensor[rows] for name, tensor in tensors.items()})

    def _fall(self) -> float:
        return rate_left(self.config, self.fraction())


def rate_left(config: TrainConfig, fraction: float) -> float:
    """The share of the learning rate that is left when a share of the run is done."""
    span = max(config.heads_from - config.decay_from, 1e-9)
    return min(1.0, max(0.02, (config.heads_from - fraction) / span))
