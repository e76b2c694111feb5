"""Windows and whole episodes of published data, from frames or latents (see datasets.py)."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from training.data.episodes import read_json
from training.data.irasim.annotation import recorded, window_actions
from training.data.irasim.content import read_content
from training.data.irasim.datasets import DataConfig
from training.data.irasim.index import open_index


class Window(NamedTuple):
    """T frames and the actions between them; torch's default collation makes batches of it."""

    content: Tensor
    """Latents float32 (T, 4, h, w), already times the VAE's scaling factor, or frames uint8
    (T, H, W, 3)."""
    actions: Tensor
    """float32 (T - 1, A), scaled: actions[t] leads from frame t to frame t + 1."""
    episode_id: str
    begin: int
    """Number of its first frame in the episode."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PublishedEpisode:
    """A whole episode: N actions, N + 1 frames.

    Attributes:
        content: latents float32 (N + 1, 4, h, w) or frames uint8 (N + 1, H, W, 3).
        actions: float32 (N, A), scaled; accumulated ones are measured from the first state.
        fps: frames a second if the annotation says so.
        annotation_path, content_path: the files it was read from.
    """

    episode_id: str
    content: Tensor
    actions: Tensor
    fps: float | None
    annotation_path: Path
    content_path: Path


class WindowDataset(Dataset[Window]):
    """Windows of `num_frames` frames, one every `start_interval` frames of each episode.

    Episodes are sorted by id (the annotation's file name), windows by episode and beginning, as
    the reference counts them. For several cameras, `torch.utils.data.ConcatDataset` of one each.

    Raises:
        ValueError: Broken episodes (unless they are to be skipped), or no episode long enough.
    """

    def __init__(self, config: DataConfig):
        self.config = config
        self.index = open_index(config)
        self._numbers = {episode_id: i for i, episode_id in enumerate(self.index.ids)}
        usable = self.index.num_frames - (not config.count_last_frame)
        fitting = (usable - config.num_frames) // config.start_interval + 1
        self._ends = np.cumsum(np.maximum(fitting, 0))  # (E,): windows up to each episode's last
        if not len(self):
            raise ValueError(
                f"{config.root}: no {config.split} episode has {config.num_frames} frames for a "
                f"window, the longest has {usable.max()}; use shorter windows (num_frames)"
            )

    @property
    def episodes(self) -> list[str]:
        """Ids of the episodes, those too short for a window too."""
        return self.index.ids

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Window:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} asked for, there are {len(self)}")
        episode = int(np.searchsorted(self._ends, index, side="right"))
        first = int(self._ends[episode - 1]) if episode else 0
        begin = (index - first) * self.config.start_interval
        content, actions, _ = self._read(episode, begin, self.config.num_frames)
        return Window(content, actions, self.episodes[episode], begin)

    def read(self, episode_id: str) -> PublishedEpisode:
        """A whole episode by its id."""
        episode = self._numbers.get(episode_id)
        if episode is None:
            raise ValueError(f"{self.config.root}: no {self.config.split} episode {episode_id!r}")
        content, actions, fps = self._read(episode, 0, int(self.index.num_frames[episode]))
        return PublishedEpisode(
            episode_id=episode_id,
            content=content,
            actions=actions,
            fps=fps,
            annotation_path=self._annotation_path(episode),
            content_path=self._content_path(episode),
        )

    def _annotation_path(self, episode: int) -> Path:
        name = f"{self.episodes[episode]}.json"
        return Path(self.config.root) / "annotation" / self.config.split / name

    def _content_path(self, episode: int) -> Path:
        return Path(self.config.root) / self.index.contents[episode]

    def _read(
        self, episode: int, begin: int, num_frames: int
    ) -> tuple[Tensor, Tensor, float | None]:
        """Content, actions and fps of part of an episode."""
        config, path = self.config, self._annotation_path(episode)
        annotation = read_json(path)
        numbers = recorded(path, annotation, config.kind)
        actions = window_actions(numbers, config, begin, num_frames)
        if len(actions) != num_frames - 1:
            raise ValueError(
                f"{path}: has {len(numbers)} {'actions' if config.kind == 'direct' else 'states'}, "
                "fewer than when it was indexed; start again"
            )
        content = read_content(
            self._content_path(episode), config.source, begin, num_frames, config.size
        )
        fps = annotation.get("fps")
        return content, torch.from_numpy(actions), None if fps is None else float(fps)
