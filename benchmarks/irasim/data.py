"""What is evaluated on: windows or whole episodes, as the model sees them and as they truly are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from benchmarks.irasim.config import EvaluationConfig, ShortConfig
from benchmarks.irasim.layout import Protocol
from benchmarks.irasim.model import ChunkModel
from training.data.irasim.content import resize_frames
from training.data.irasim.windows import WindowDataset


@dataclass(frozen=True, kw_only=True)
class Item:
    """One window or one episode."""

    name: str
    """Of its files."""
    episode_id: str
    begin: int
    """Number of its first frame in the episode."""


class EvaluationData:
    """The items of a split."""

    def __init__(self, config: EvaluationConfig, model: ChunkModel):
        self.protocol: Protocol = "short" if isinstance(config, ShortConfig) else "long"
        source = "video" if model.on_pixels else config.source
        if source == "video" and model.codec is None and not model.on_pixels:
            raise ValueError("source 'video' has to be encoded for this model: give --vae")
        self.given = _open(config, model, source, config.pixel_size if model.on_pixels else None)
        self.has_frames = model.on_pixels or model.codec is not None
        same = source == "video" and (config.pixel_size is None or not model.on_pixels)
        self.truth: WindowDataset | None = None
        if self.has_frames:
            self.truth = self.given if same else _open(config, model, "video", None)
        self._windows = self._positions(self.given, config)
        self._true_windows = self._positions(self.truth, config) if self.truth else {}
        self.items = self._items(config)

    def read(self, item: Item) -> tuple[Tensor, Tensor]:
        """What the model is given: latents float32 or frames uint8, and scaled actions (N, A)."""
        if self.protocol == "long":
            episode = self.given.read(item.episode_id)
            return episode.content, episode.actions
        window = self.given[self._windows[item.name]]
        return window.content, window.actions

    def true_frames(self, item: Item) -> np.ndarray:
        """The recorded frames, uint8 (T, H, W, 3), resized as they are compared."""
        assert self.truth is not None, "without an autoencoder there are no frames to compare"
        if self.protocol == "long":
            return self.truth.read(item.episode_id).content.numpy()
        return self.truth[self._true_windows[item.name]].content.numpy()

    def true_file(self, item: Item) -> tuple[Path, int]:
        """An episode's own video, and how many of its frames belong to the episode."""
        assert self.truth is not None, "without an autoencoder there are no frames to compare"
        episode = self.truth.read(item.episode_id)
        return episode.content_path, len(episode.content)

    def _items(self, config: EvaluationConfig) -> list[Item]:
        names = sorted(self._windows, key=self._windows.__getitem__)
        absent = [name for name in names if self.truth and name not in self._true_windows]
        if absent and config.broken == "error":
            raise ValueError(
                f"{config.data}: {absent[0]} and {len(absent) - 1} more have latents but no whole "
                "video; restore the videos, or leave them out with --broken skip"
            )
        names = [name for name in names if name not in absent][: config.limit]
        if not names:
            raise ValueError(f"{config.data}: nothing of the split {config.split} can be evaluated")
        return [self._item(name) for name in names]

    def _item(self, name: str) -> Item:
        if self.protocol == "long":
            return Item(name=name, episode_id=name, begin=0)
        episode_id, _, begin = name.rsplit("_", 2)
        return Item(name=name, episode_id=episode_id, begin=int(begin))

    def _positions(self, dataset: WindowDataset, config: EvaluationConfig) -> dict[str, int]:
        """Each item's file name, and where the dataset has it."""
        if self.protocol == "long":
            return {episode: index for index, episode in enumerate(dataset.episodes)}
        settings = dataset.config
        names = []
        for episode, length in zip(dataset.episodes, dataset.index.num_frames, strict=True):
            last = int(length) - (not settings.count_last_frame) - settings.num_frames
            for begin in range(0, last + 1, settings.start_interval):
                names.append(f"{episode}_{config.camera}_{begin}")
        assert len(names) == len(dataset), "windows are counted otherwise than they are read"
        return {name: index for index, name in enumerate(names)}


def _open(
    config: EvaluationConfig,
    model: ChunkModel,
    source: Literal["latents", "video"],
    size: tuple[int, int] | None,
) -> WindowDataset:
    # Episodes shorter than a chunk are evaluated too, so windows are kept out of it.
    fields: dict[str, Any] = {"source": source, "num_frames": 2}
    if isinstance(config, ShortConfig):
        fields = {
            "source": source,
            "num_frames": model.num_frames,
            "start_interval": config.interval,
        }
    if size is not None:
        fields["height"], fields["width"] = size
    return WindowDataset(config.data_config(**fields))


def resized(frames: Tensor | np.ndarray, size: tuple[int, int]) -> Tensor:
    """uint8 (T, H, W, 3) at another size, as the reference resizes."""
    return resize_frames(torch.as_tensor(frames), size)
