"""Batches of windows for chunk models, keyed by a sample's number.

Which window sample n is, its noise, time and condition dropout are functions of (seed, n): the
same for any number of processes, any accumulation, and after a resume. The windows are shuffled
anew in every epoch.

B batch, T frames, A action, C channels, h w latent size (or pixels).
"""

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from training.data.irasim.windows import WindowDataset
from world_model.chunk.diffusion import NUM_TRAIN_STEPS
from world_model.frames import frames_to_pixels
from world_model.runtime.counter_rng import counted_index, counted_noise, counted_uniform

# Streams of the counted numbers of one sample, and that of an epoch's shuffling.
NOISE, TIME, DROPPED, SHUFFLE = 1, 2, 3, 4
# Batches that each worker holds ready.
PREFETCH = 4


@dataclass(frozen=True, eq=False)
class ChunkBatch:
    """Windows made ready for the loss."""

    latents: Tensor
    """float32 (B, T, C, h, w): latents, or pixels in [-1, 1]"""
    actions: Tensor
    """float32 (B, T - 1, A), scaled"""
    time: Tensor
    """int64 (B,)"""
    noise: Tensor
    """float32 (B, T - 1, C, h, w)"""
    dropped: Tensor
    """bool (B,): trained without its actions"""


class SampleOrder:
    """Which window each sample of an endless run is."""

    def __init__(self, num_windows: int, seed: int):
        self.num_windows = num_windows
        self.seed = torch.tensor([seed])
        self._shuffled = lru_cache(2)(self._shuffle)

    def window(self, sample: int) -> int:
        """The window of sample number `sample`."""
        epoch, position = divmod(sample, self.num_windows)
        return int(self._shuffled(epoch)[position])

    def _shuffle(self, epoch: int) -> Tensor:
        key = counted_index(self.seed, torch.tensor([epoch]), 2**62, stream=SHUFFLE)
        generator = torch.Generator().manual_seed(int(key))
        return torch.randperm(self.num_windows, generator=generator)


class PartSampler(Sampler[list[tuple[int, int]]]):
    """Sample numbers and their windows, for one process: an endless list of parts of steps."""

    def __init__(
        self, order: SampleOrder, parts_of_step: Callable[[int], Sequence[Tensor]], first_step: int
    ):
        self.order, self.parts_of_step, self.first_step = order, parts_of_step, first_step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for step in itertools.count(self.first_step):
            for part in self.parts_of_step(step):
                yield [(sample, self.order.window(sample)) for sample in part.tolist()]


class KeyedWindows(Dataset[dict[str, Any]]):
    """Windows with the number of the sample that they are read for."""

    def __init__(self, windows: WindowDataset):
        self.windows = windows

    def __getitem__(self, key: tuple[int, int]) -> dict[str, Any]:
        sample, index = key
        window = self.windows[index]
        return {"content": window.content, "actions": window.actions, "sample": sample}


def load(
    windows: WindowDataset,
    batches: Sampler[list[tuple[int, int]]] | Sequence[list[tuple[int, int]]],
    *,
    workers: int,
    device: torch.device,
) -> DataLoader[dict[str, Any]]:
    """Batches read ahead by worker processes, no more than there are cores."""
    workers = min(workers, os.cpu_count() or 1)
    return DataLoader(
        KeyedWindows(windows),
        batch_sampler=batches,
        num_workers=workers,
        prefetch_factor=PREFETCH if workers else None,
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_stopping_to_the_run,
    )


def leave_stopping_to_the_run(worker: int) -> None:
    """Ignore Ctrl-C in a worker process: the run still needs its batch to end a step."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def make_batch(
    loaded: dict[str, Any], seed: int, condition_dropout: float, device: torch.device
) -> ChunkBatch:
    """Draw the numbers of loaded samples on a device."""
    latents = to_latents(loaded["content"].to(device, non_blocking=True))
    samples = loaded["sample"].to(device, non_blocking=True)
    seeds = torch.full_like(samples, seed)
    return ChunkBatch(
        latents=latents,
        actions=loaded["actions"].to(device, non_blocking=True),
        time=counted_index(seeds, samples, NUM_TRAIN_STEPS, stream=TIME),
        noise=counted_noise(seeds, samples, tuple(latents[0, 1:].shape), stream=NOISE),
        dropped=counted_uniform(seeds, samples, (), stream=DROPPED) < condition_dropout,
    )


def to_latents(content: Tensor) -> Tensor:
    """What a chunk model sees of windows: latents as they are, frames as pixels (..., 3, H, W)."""
    return frames_to_pixels(content) if content.dtype == torch.uint8 else content
