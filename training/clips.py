"""Recorded episodes in device memory, and batches of clips from them keyed by a sample's number.

Which clip sample n is, its noise and its noise levels are functions of (seed, n): the same for
any number of processes, any accumulation, and after a resume.

Dimensions: B clips, T frames, F frames of all episodes, E episodes, A action.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from training.episodes import list_episodes, read_episode
from world_model.noise import counted_index


@dataclass(frozen=True, eq=False)
class Clips:
    """A batch of clips. Past its episode's end a clip repeats the last frame, not `valid`."""

    frames: Tensor
    """uint8 (B, T, H, W, 3)"""
    actions: Tensor
    """float32 (B, T, A): the action that led to each frame, environment units; zeros where none did
    (an episode's first frame)"""
    valid: Tensor
    """bool (B, T)"""
    rewards: Tensor
    """float32 (B, T): of the transition that led to each frame; NaN where unknown"""
    ended: Tensor
    """bool (B, T): the frame is terminal"""
    states: dict[str, Tensor]
    """Low-dimensional observations (B, T, n), environment units"""
    first: Tensor
    """bool (B,): the clip's first frame is its episode's"""
    states_before: dict[str, Tensor]
    """Those one frame before the clip (B, n); an episode's first frame has its own"""


class ClipStore:
    """All episodes of one split as flat tensors on a device."""

    def __init__(
        self,
        root: str | Path,
        split: str,
        device: torch.device | str = "cpu",
        more: Sequence[str | Path] = (),
    ):
        """Read `root`, then the datasets `more`, whose frames and actions are of the same kind."""
        found = []
        for dataset in (root, *more):
            ids = list_episodes(dataset, split)
            if not ids:
                raise ValueError(
                    f"{dataset} has no {split} episodes (expected {dataset}/annotation/{split}/"
                    "*.json); record some with `irasim collect` or convert yours"
                )
            found += [(dataset, i) for i in ids]
        ids = [episode_id for _, episode_id in found]
        with ThreadPoolExecutor(2) as pool:
            read = pool.map(lambda where: read_episode(where[0], split, where[1]), found)
            episodes = list(
                tqdm(read, f"reading {split} episodes", len(ids), leave=False, disable=None)
            )
        lengths = [len(episode.frames) for episode in episodes]
        total = sum(lengths)
        self.episode_ids = ids
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])  # (E + 1,)
        first = episodes[0]
        action_dim = first.actions.shape[1]
        self.frames = torch.empty((total, *first.frames.shape[1:]), dtype=torch.uint8)
        self.actions = torch.zeros(total, action_dim)
        self.rewards = torch.full((total,), torch.nan)
        self.ended = torch.zeros(total, dtype=torch.bool)
        self.states = {k: torch.zeros(total, v.shape[1]) for k, v in first.states.items()}
        for episode, begin, end in zip(episodes, self.offsets[:-1], self.offsets[1:], strict=True):
            if episode.frames.shape[1:] != first.frames.shape[1:]:
                raise ValueError(
                    f"episode {episode.episode_id} has frames {episode.frames.shape[1:]}, "
                    f"{first.episode_id} has {first.frames.shape[1:]}: one size a dataset"
                )
            self.frames[begin:end] = torch.from_numpy(episode.frames)
            self.actions[begin + 1 : end] = torch.from_numpy(episode.actions)
            self.rewards[begin + 1 : end] = torch.from_numpy(episode.rewards)
            self.ended[begin + 1 : end] = torch.from_numpy(episode.terminated)
            for name, values in self.states.items():
                values[begin:end] = torch.from_numpy(episode.states[name])
        last = torch.from_numpy(np.repeat(self.offsets[1:] - 1, lengths))
        # A clip may begin at any frame but an episode's last.
        self.clip_starts = torch.nonzero(torch.arange(total) < last)[:, 0].to(device)
        self.last = last.to(device)  # (F,): the last frame of each frame's episode
        self.frames, self.actions = self.frames.to(device), self.actions.to(device)
        self.rewards, self.ended = self.rewards.to(device), self.ended.to(device)
        self.states = {name: values.to(device) for name, values in self.states.items()}

    @property
    def num_episodes(self) -> int:
        return len(self.episode_ids)

    def sample(self, seed: int, samples: Tensor, num_frames: int) -> Clips:
        """Clips of `num_frames` frames for sample numbers (B,)."""
        seeds = torch.full_like(samples, seed)
        pick = counted_index(seeds, samples, len(self.clip_starts), stream=0)
        return self.clips(self.clip_starts[pick], num_frames)

    def clips(self, begins: Tensor, num_frames: int) -> Clips:
        """Clips that begin at flat frame numbers `begins` (B,)."""
        wanted = begins[:, None] + torch.arange(num_frames, device=begins.device)  # (B, T)
        last = self.last[begins][:, None]
        index = wanted.minimum(last)
        # The frame before one that is an episode's last belongs to the next episode.
        before = (begins - 1).clamp(min=0)
        before = torch.where(self.last[before] == self.last[begins], before, begins)
        return Clips(
            frames=self.frames[index],
            actions=self.actions[index],
            valid=wanted <= last,
            rewards=self.rewards[index],
            ended=self.ended[index],
            states={name: values[index] for name, values in self.states.items()},
            first=before == begins,
            states_before={name: values[before] for name, values in self.states.items()},
        )

    def count_valid(self, seed: int, samples: Tensor, num_frames: int) -> Tensor:
        """How many frames of a whole batch are supervised (a clip's first never is)."""
        seeds = torch.full_like(samples, seed)
        begins = self.clip_starts[counted_index(seeds, samples, len(self.clip_starts), stream=0)]
        return (self.last[begins] - begins).clamp(max=num_frames - 1).sum()
