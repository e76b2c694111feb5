"""The training loop: phases, averaged weights, a state that resumes exactly.

Dimensions: B clips.
"""

import dataclasses
import os
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.clips import ClipStore
from training.objective import Batch, StreamingObjective, make_batch
from training.presets import TrainConfig, seconds
from world_model import WorldModel


@dataclass
class Progress:
    """How far a run is; saved and resumed."""

    step: int = 0
    elapsed: float = 0.0
    """Seconds spent in optimizer steps."""
    frames: int = 0
    """Frames trained on, over all processes."""
    data_seconds: float = 0.0
    """Seconds spent on making batches, noise included."""


class Trainer:
    """Trains a world's denoiser and head on clips from a store."""

    def __init__(
        self, world: WorldModel, store: ClipStore, config: TrainConfig, accelerator: Accelerator
    ):
        if config.batch_clips % (accelerator.num_processes * config.accumulation):
            raise ValueError(
                f"batch_clips {config.batch_clips} does not divide over "
                f"{accelerator.num_processes} processes and {config.accumulation} parts"
            )
        self.world, self.store, self.config = world, store, config
        self.accelerator = accelerator
        objective = StreamingObjective(world)
        self.parameters = list(objective.parameters())
        self.average = [parameter.detach().clone() for parameter in self.parameters]
        optimizer = torch.optim.AdamW(
            self.parameters, lr=config.rate, weight_decay=0.0, betas=(0.9, 0.98)
        )
        self.objective, self.optimizer = accelerator.prepare(objective, optimizer)
        self.progress = Progress()

    def fraction(self) -> float:
        """Share of the run that is done, in steps if their number is given, else in time."""
        if self.config.max_steps is not None:
            return self.progress.step / self.config.max_steps
        return self.progress.elapsed / seconds(self.config.budget)

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
            last = part == config.accumulation - 1
            with _sync(accelerator, self.objective, last):
                losses = self.objective(batch)
                # Data-parallel gradients are averaged over processes; this makes them a sum.
                share = losses.total * accelerator.num_processes / count
                accelerator.backward(share)
            sums += torch.stack((losses.dynamics, losses.head)).detach()
        norm = accelerator.clip_grad_norm_(self.parameters, config.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self._update_average()
        total = accelerator.reduce(sums, "sum")
        assert isinstance(total, Tensor)
        dynamics, head = (total / count).tolist()
        progress = self.progress
        progress.step += 1
        progress.frames += config.batch_clips * config.clip_frames
        progress.elapsed += time.perf_counter() - begin
        return {
            "loss/dynamics": dynamics,
            "loss/head": head,
            "gradient_norm": float(norm if norm is not None else torch.nan),
            "rate": self.optimizer.param_groups[0]["lr"],
        }

    def throughput(self) -> dict[str, float]:
        """Frames a second over the whole run, and the share of time spent on making batches."""
        elapsed = max(self.progress.elapsed, 1e-9)
        return {
            "frames_per_second": self.progress.frames / elapsed,
            "data_share": self.progress.data_seconds / elapsed,
        }

    def swap_average(self) -> None:
        """Exchange the weights and their average; twice is as before."""
        with torch.no_grad():
            for parameter, average in zip(self.parameters, self.average, strict=True):
                kept = parameter.detach().clone()
                parameter.copy_(average)
                average.copy_(kept)

    def save_state(self, path: Path) -> None:
        """Write all that a resume needs; whole or not at all."""
        state = {
            "weights": [parameter.detach() for parameter in self.parameters],
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "progress": dataclasses.asdict(self.progress),
        }
        temporary = path.with_suffix(".part")
        torch.save(state, temporary)
        os.replace(temporary, path)

    def load_state(self, path: Path) -> None:
        """Continue where `save_state` was called.

        Raises:
            ValueError: The file is damaged, or of a run with another model.
        """
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
        except (RuntimeError, EOFError, ValueError, OSError) as error:
            raise ValueError(f"{path} is damaged ({error}); delete it to start anew") from error
        shapes = [tuple(weight.shape) for weight in state["weights"]]
        if shapes != [tuple(parameter.shape) for parameter in self.parameters]:
            raise ValueError(
                f"{path} is of a run with another model; choose another --out, or delete it"
            )
        with torch.no_grad():
            for mine, theirs in (
                (self.parameters, state["weights"]),
                (self.average, state["average"]),
            ):
                for a, b in zip(mine, theirs, strict=True):
                    a.copy_(b)
        self.optimizer.load_state_dict(state["optimizer"])
        self.progress = Progress(**state["progress"])

    def _batch(self, samples: Tensor) -> Batch:
        begin, config = time.perf_counter(), self.config
        clips = self.store.sample(config.seed, samples, config.clip_frames)
        rolling = self.fraction() >= config.rollout_from
        rounds = config.rollout_rounds if rolling else 0
        batch = make_batch(self.world, clips, config.seed, samples, rounds)
        self.progress.data_seconds += time.perf_counter() - begin
        return batch

    def _set_rate(self) -> None:
        config, fraction = self.config, self.fraction()
        rise = min(1.0, (self.progress.step + 1) / max(1, config.warmup))
        span = max(config.heads_from - config.decay_from, 1e-9)
        fall = min(1.0, max(0.02, (config.heads_from - fraction) / span))
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate * rise * fall

    @torch.no_grad()
    def _update_average(self) -> None:
        # A young average follows quickly: its decay rises with the step.
        decay = min(self.config.ema, (1 + self.progress.step) / (10 + self.progress.step))
        for average, parameter in zip(self.average, self.parameters, strict=True):
            average.lerp_(parameter, 1 - decay)


def _sync(accelerator: Accelerator, module: nn.Module, last: bool) -> AbstractContextManager[None]:
    """Gradients of several processes meet in a step's last part only."""
    return nullcontext() if last else accelerator.no_sync(module)
