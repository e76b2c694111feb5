"""Recorded episodes in device memory, and batches of clips from them keyed by a sample's number.

Which clip sample n is, its noise and its noise levels are functions of (seed, n): the same for
any number of processes, any accumulation, and after a resume.

Dimensions: B clips, T frames, F frames of all episodes, E episodes, A action.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from training.data.episodes import Episode, annotation_path, list_episodes, read_episode
from training.data.missing_split import cure_for_missing
from world_model.progress import progress_bar
from world_model.runtime.counter_rng import counted_index

# Hidden states that change by more than this share of their range, within so many frames, move.
STILL, SOON = 1e-3, 6
# What differs by more grey levels from the frame before has changed.
CHANGED = 15
OFTENEST = 9


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
    """Low-dimensional observations and hidden states (B, T, n), environment units"""
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
        *,
        hidden: Sequence[str] = (),
        poses: Sequence[str] = (),
        symmetries: Sequence[int] = (),
    ):
        """Read `root`, then the datasets `more`, whose frames and actions are of the same kind.

        Args:
            root, split: Of the dataset.
            device: Where the episodes are kept.
            more: Further datasets.
            hidden: Hidden states that are wanted too.
            poses: Those of them that were recorded as x, y and an angle in rad.
            symmetries: Of each, how many times the angle is the state's direction (default: 1).
        """
        found = []
        for dataset in (root, *more):
            ids = list_episodes(dataset, split)
            if not ids:
                raise ValueError(
                    f"{dataset} has no {split} episodes (expected {dataset}/annotation/{split}/"
                    f"*.json); {cure_for_missing(dataset, split)}"
                )
            found += [(dataset, i) for i in ids]
        ids = [episode_id for _, episode_id in found]
        with ThreadPoolExecutor(2) as pool:
            read = pool.map(lambda where: read_episode(where[0], split, where[1]), found)
            episodes = list(
                progress_bar(read, f"reading {split} episodes", total=len(ids), leave=False)
            )
        lengths = [len(episode.frames) for episode in episodes]
        total = sum(lengths)
        self.episode_ids = ids
        self.offsets = np.concatenate([[0], np.cumsum(lengths)])  # (E + 1,)
        check_alike("frames of", [one.frames.shape[1:] for one in episodes], found, split)
        check_alike("actions of", [one.actions.shape[1:] for one in episodes], found, split)
        shape, first = episodes[0].frames.shape[1:], episodes[0].episode_id
        self.frames = torch.empty((total, *shape), dtype=torch.uint8)
        self.actions = torch.zeros(total, episodes[0].actions.shape[1])
        self.rewards = torch.full((total,), torch.nan)
        self.ended = torch.zeros(total, dtype=torch.bool)
        kinds = episode_states(episodes[0], hidden, poses, symmetries)
        self.states = {k: torch.zeros(total, v.shape[1]) for k, v in kinds.items()}
        known, labels = torch.ones(total, dtype=torch.bool), set(episodes[0].hidden)
        episodes.reverse()  # each is let go once it is copied, so that memory holds all but once
        for begin, end in pairwise(self.offsets):
            episode = episodes.pop()
            self.frames[begin:end] = torch.from_numpy(episode.frames)
            self.actions[begin + 1 : end] = torch.from_numpy(episode.actions)
            self.rewards[begin + 1 : end] = torch.from_numpy(episode.rewards)
            self.ended[begin + 1 : end] = torch.from_numpy(episode.terminated)
            states = episode_states(episode, hidden, poses, symmetries)
            described = {name: values.shape[1] for name, values in states.items()}
            if described != {name: values.shape[1] for name, values in self.states.items()}:
                raise ValueError(
                    f"episode {episode.episode_id} has states {described}, {first} has "
                    f"{ {name: values.shape[1] for name, values in self.states.items()} }: the "
                    "same in all of a dataset"
                )
            for name, values in self.states.items():
                values[begin:end] = torch.from_numpy(states[name])
            known[begin:end] = torch.from_numpy(labelled(episode, hidden))
        last = torch.from_numpy(np.repeat(self.offsets[1:] - 1, lengths))
        # A clip may begin at any frame but an episode's last, and where hidden states move soon it
        # does so three times as often, or else the oftener the more of the picture changes: of most
        # frames that is the smaller part, and the harder.
        begins = torch.nonzero((torch.arange(total) < last) & known & known.roll(-1))[:, 0]
        if not len(begins):
            raise ValueError(
                f"{root}: no two {split} frames in a row have {', '.join(hidden)} labelled, so "
                "nothing can be learned; look at labels/sheet.png, or train without --hidden"
            )
        times = 1 + 2 * self._moves(hidden, last) if hidden else self._picture_changes(last)
        again = [begins[times[begins] > count] for count in range(int(times.max()))]
        self.clip_starts = torch.cat(again).to(device)
        self.last = last.to(device)  # (F,): the last frame of each frame's episode
        # Those of `hidden` that were found in the video, see `irasim label`.
        self.found = tuple(n for n in hidden if f"{n}_labelled" in labels)
        self.known = known.to(device)  # bool (F,): all hidden states are, see `labelled`
        self.labelled = torch.nonzero(known)[:, 0].to(device)  # numbers of those frames
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

    def window(self, begins: Tensor, num_frames: int) -> tuple[Tensor, Tensor, Tensor]:
        """Flat numbers of the frames of clips that begin at `begins` (B,).

        Returns:
            Numbers (B, T), past an episode's end its last frame's; bool (B, T), which are not past
            it and have states that are known; and the number of the frame before each clip (B,), an
            episode's first its own.
        """
        wanted = begins[:, None] + torch.arange(num_frames, device=begins.device)  # (B, T)
        last = self.last[begins][:, None]
        # The frame before one that is an episode's last belongs to the next episode.
        before = (begins - 1).clamp(min=0)
        before = torch.where(self.last[before] == self.last[begins], before, begins)
        index = wanted.minimum(last)
        return index, (wanted <= last) & self.known[index], before

    def clips(self, begins: Tensor, num_frames: int) -> Clips:
        """Clips that begin at flat frame numbers `begins` (B,)."""
        index, valid, before = self.window(begins, num_frames)
        return Clips(
            frames=self.frames[index],
            actions=self.actions[index],
            valid=valid,
            rewards=self.rewards[index],
            ended=self.ended[index],
            states={name: values[index] for name, values in self.states.items()},
            first=before == begins,
            states_before={name: values[before] for name, values in self.states.items()},
        )

    def count_valid(self, seed: int, samples: Tensor, num_frames: int, given: int = 1) -> Tensor:
        """How many frames of a whole batch are supervised (a clip's first, `given`, never are)."""
        seeds = torch.full_like(samples, seed)
        begins = self.clip_starts[counted_index(seeds, samples, len(self.clip_starts), stream=0)]
        return self.window(begins, num_frames)[1][:, given:].sum()

    def _picture_changes(self, last: Tensor) -> Tensor:
        """How often clips begin at each frame by how much of the picture changes in the `SOON`
        frames after it, int64 (F,): thrice where it is twice as much as usual, up to `OFTENEST`."""
        counts = torch.zeros(len(last) + 1, dtype=torch.float64)  # of frame f at f + 1
        for begin in range(1, len(last), 4096):  # a whole dataset's differences are gigabytes
            end = min(begin + 4096, len(last))
            now, before = self.frames[begin:end].short(), self.frames[begin - 1 : end - 1].short()
            changed = (now - before).abs().amax(-1) > CHANGED
            counts[begin + 1 : end + 1] = changed.flatten(1).sum(1)
        counts[2:][last[1:] != last[:-1]] = 0  # from one episode to the next
        total, at = counts.cumsum(0), torch.arange(len(last))
        ends = (at + SOON).minimum(last)
        soon = (total[ends + 1] - total[at + 1]) / (ends - at).clamp(min=1)
        return (2 * (soon / soon.median().clamp(min=1)).floor() - 1).clamp(1, OFTENEST).long()

    def _moves(self, hidden: Sequence[str], last: Tensor) -> Tensor:
        """Whether a hidden state changes within the `SOON` frames after each, bool (F,)."""
        moved = torch.zeros(len(last))
        for name in hidden:
            values = self.states[name]
            change = (values[1:] - values[:-1]).abs() > STILL * (values.amax(0) - values.amin(0))
            moved[1:] += change.any(-1)
        moved[1:][last[1:] != last[:-1]] = 0  # from one episode to the next
        counts = moved.cumsum(0)
        ends = (torch.arange(len(last)) + SOON).minimum(last)
        return counts[ends] > counts


def check_alike(
    what: str, sizes: Sequence[tuple[int, ...]], places: Sequence[tuple[Path, str]], split: str
) -> None:
    """Raise ValueError, naming the files, if some of a split's episodes are of another size.

    Args:
        what: Has that size.
        sizes: Of each episode.
        places: Of each the dataset and the number.
        split: Theirs.
    """
    (usual, count), *others = Counter(sizes).most_common()
    if not others:
        return
    odd = [number for number, size in enumerate(sizes) if size != usual]
    path = annotation_path(places[odd[0]][0], split, places[odd[0]][1])
    more = f", and so are {len(odd) - 1} more" if len(odd) > 1 else ""
    raise ValueError(
        f"{path}: {what} {_by(sizes[odd[0]])}, where {count} of {len(sizes)} episodes have "
        f"{_by(usual)}{more}. One size a dataset: delete such episodes with their videos, or make "
        "them anew in that size"
    )


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))


def labelled(episode: Episode, hidden: Sequence[str]) -> np.ndarray:
    """In which frames hidden states are known, bool (N + 1,): those that `irasim label` wrote are
    interpolated where a body was not found (its column NAME_labelled is 0)."""
    known = np.ones(len(episode.frames), bool)
    for name in hidden:
        if (found := episode.hidden.get(f"{name}_labelled")) is not None:
            known &= found[:, 0] > 0
    return known


def episode_states(
    episode: Episode, hidden: Sequence[str], poses: Sequence[str], symmetries: Sequence[int] = ()
) -> dict[str, np.ndarray]:
    """An episode's low-dimensional observations and its wanted hidden states, (N + 1, n) each.

    Raises:
        ValueError: It was recorded without one of them, or a pose is not three numbers.
    """
    states = dict(episode.states)
    orders = dict(zip(poses, symmetries or (1,) * len(poses), strict=True))
    for name in hidden:
        if name not in episode.hidden:
            anew = f"record anew with `irasim collect --hidden {name}` into another directory, or "
            raise ValueError(
                f"episode {episode.episode_id} has no hidden {name!r} (it has "
                f"{', '.join(episode.hidden) or 'none'}): {anew if episode.env_id else ''}find "
                "it in the video with `irasim label`, or train a world without it"
            )
        if name in episode.states:
            raise ValueError(
                f"episode {episode.episode_id}: {name!r} is observed and hidden; do not name it as "
                "hidden"
            )
        values = episode.hidden[name]
        if name in poses:
            if values.shape[1] != 3:
                raise ValueError(
                    f"episode {episode.episode_id}: pose {name!r} has {values.shape[1]} numbers, "
                    "expected x, y and an angle in rad"
                )
            angle = orders[name] * values[:, 2:]
            values = np.concatenate((values[:, :2], np.cos(angle), np.sin(angle)), axis=1)
        states[name] = values
    return states
