"""The training of a chunk model: steps on windows, and the loss of the validation set.

Dimensions: B windows.
"""

import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from training.chunk.batches import ChunkBatch, PartSampler, SampleOrder, load, make_batch
from training.chunk.config import ChunkTrainConfig
from training.chunk.denoisers import checkpoint_activations
from training.data.irasim.windows import WindowDataset
from training.run.directory import STATE
from training.run.resumable import ResumableTrainer
from world_model import IRASim, UNet3D, noise_prediction_loss


class ChunkObjective(nn.Module):
    """Loss of a batch of windows; `forward` is what data-parallel training wraps."""

    def __init__(self, denoiser: IRASim | UNet3D):
        super().__init__()
        self.denoiser = denoiser

    def forward(self, batch: ChunkBatch) -> Tensor:
        """Losses (B,)."""
        denoiser = partial(self.denoiser, dropped=batch.dropped)
        return noise_prediction_loss(
            denoiser, batch.latents, batch.time, batch.noise, batch.actions
        )


class ChunkTrainer(ResumableTrainer):
    """Trains a denoiser on windows of frames."""

    state_name = STATE

    def __init__(
        self,
        denoiser: IRASim | UNet3D,
        windows: WindowDataset,
        validation: WindowDataset,
        config: ChunkTrainConfig,
        accelerator: Accelerator,
    ):
        self.num_parts = config.num_parts(accelerator.num_processes)
        if config.activation_checkpointing:
            checkpoint_activations(denoiser)
        super().__init__(
            ChunkObjective(denoiser),
            accelerator,
            rate=config.rate,
            betas=(0.9, 0.999),
            clip_norm=config.clip_norm,
            ema=config.ema,
        )
        self.denoiser, self.config = denoiser, config
        self.windows, self.validation = windows, validation
        self._loaded: Iterator[dict[str, Any]] | None = None

    def train_step(self) -> dict[str, float]:
        """One optimizer step; the mean loss of its windows, over all processes."""
        begin = time.perf_counter()
        config, accelerator = self.config, self.accelerator
        self.denoiser.train()
        total = torch.zeros((), device=accelerator.device)
        for part in range(self.num_parts):
            batch = self._next_batch()
            with self.gradients_of_part(last=part == self.num_parts - 1):
                loss = self.objective(batch).sum() / config.batch
                # Data-parallel gradients are averaged over processes; this makes them a sum.
                accelerator.backward(loss * accelerator.num_processes)
            total += loss.detach()
        norm = self.apply_gradients()
        mean = accelerator.reduce(total, "sum")
        assert isinstance(mean, Tensor)
        figures = {"loss": mean.item(), "gradient_norm": float(norm)}
        return self.count_step(begin, config.batch * config.num_frames, figures)

    @torch.no_grad()
    def validation_loss(self) -> float:
        """Mean loss of every validation window under the weights as they are.

        The windows are spread over the processes. Their noise and times are the same in every
        validation: those of samples -1, -2 and so on, which training does not reach.
        """
        config, accelerator = self.config, self.accelerator
        self.denoiser.eval()
        mine = range(accelerator.process_index, len(self.validation), accelerator.num_processes)
        keys = [(-1 - index, index) for index in mine]
        size = config.local_batch
        batches = [keys[begin : begin + size] for begin in range(0, len(keys), size)]
        objective = ChunkObjective(self.denoiser)
        total = torch.zeros((), device=accelerator.device)
        device = accelerator.device
        for loaded in load(self.validation, batches, workers=config.workers, device=device):
            with accelerator.autocast():
                total += objective(make_batch(loaded, config.seed, 0.0, device)).sum()
        summed = accelerator.reduce(total, "sum")
        assert isinstance(summed, Tensor)
        return summed.item() / len(self.validation)

    def _next_batch(self) -> ChunkBatch:
        begin, config, device = time.perf_counter(), self.config, self.accelerator.device
        if self._loaded is None:
            order = SampleOrder(len(self.windows), config.seed)
            parts = PartSampler(order, self._parts_of_step, self.progress.step)
            self._loaded = iter(load(self.windows, parts, workers=config.workers, device=device))
        loaded = next(self._loaded)
        self.progress.data_seconds += time.perf_counter() - begin
        return make_batch(loaded, config.seed, config.condition_dropout, device)

    def _parts_of_step(self, step: int) -> tuple[Tensor, ...]:
        """This process's sample numbers of a step, in the parts that it works through."""
        accelerator = self.accelerator
        samples = torch.arange(step * self.config.batch, (step + 1) * self.config.batch)
        return samples[accelerator.process_index :: accelerator.num_processes].chunk(self.num_parts)
