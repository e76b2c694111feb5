"""Episodes in a device's memory, to which more are added while a captured step reads them.

A captured step reads where its tensors lay when it was captured, so these have their final size
from the beginning, and numbers on the device say how much of them is filled.

Dimensions: F frames that there is room for, B clips, T frames, A action.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.captured.recorders import Arrays, states_of
from training.data.clips import Clips, ClipStore
from world_model.runtime.counter_rng import counted_uniform

# Stream of the counted numbers that pick clips; those below are of streaming/objective.py.
PICK = 8
# Of how many candidates the hardest is taken, for half of the clips.
CANDIDATES = 4
# How quickly what is known of a clip's loss follows.
FOLLOWS = 0.3


@dataclass(frozen=True, kw_only=True)
class StoreShape:
    """What a store has room for."""

    frames: int
    height: int
    width: int
    action_dim: int
    states: dict[str, int]
    """Length of each low-dimensional observation."""

    @classmethod
    def of(cls, arrays: Arrays, frames: int) -> "StoreShape":
        """Room for so many frames of the kind of one episode."""
        _, height, width, _ = arrays["frames"].shape
        sizes = {name: values.shape[1] for name, values in states_of(arrays).items()}
        return cls(
            frames=frames,
            height=height,
            width=width,
            action_dim=arrays["actions"].shape[1],
            states=sizes,
        )

    @property
    def num_bytes(self) -> int:
        """Of frames alone, which take nearly all of it."""
        return self.frames * self.height * self.width * 3


class DeviceStore(ClipStore):
    """A `ClipStore` with room for more; `filled` is one of what is there now."""

    def __init__(self, shape: StoreShape, device: torch.device):
        # Not ClipStore's own beginning, which reads videos.
        size = shape.frames
        self.shape, self.num_frames, self.num_starts = shape, 0, 0
        self.episode_ids: list[str] = []
        self.offsets = np.zeros(1, np.int64)
        picture = (size, shape.height, shape.width, 3)
        self.frames = torch.empty(picture, dtype=torch.uint8, device=device)
        self.actions = torch.zeros(size, shape.action_dim, device=device)
        self.rewards = torch.full((size,), torch.nan, device=device)
        self.ended = torch.zeros(size, dtype=torch.bool, device=device)
        self.states = {k: torch.zeros(size, n, device=device) for k, n in shape.states.items()}
        self.last = torch.zeros(size, dtype=torch.int64, device=device)
        self.clip_starts = torch.zeros(size, dtype=torch.int64, device=device)
        self.known = torch.ones(size, dtype=torch.bool, device=device)
        # Of the clip that begins at each frame; infinite where it has never been seen.
        self.losses = torch.full((size,), torch.inf, device=device)
        self.starts_filled = torch.zeros((), dtype=torch.int64, device=device)

    def append(self, arrays: Arrays) -> bool:
        """Add an episode; False, and nothing happens, where there is no room for it."""
        frames = torch.from_numpy(arrays["frames"])
        begin, end = self.num_frames, self.num_frames + len(frames)
        if end > self.shape.frames:
            return False
        self.frames[begin:end].copy_(frames)
        self._put(self.actions, begin + 1, end, arrays["actions"])
        self._put(self.rewards, begin + 1, end, arrays["rewards"])
        self._put(self.ended, begin + 1, end, arrays["terminated"])
        for name, values in states_of(arrays).items():
            self._put(self.states[name], begin, end, values)
        self.last[begin:end] = end - 1
        first, after = self.num_starts, self.num_starts + len(frames) - 1
        device = self.frames.device
        self.clip_starts[first:after] = torch.arange(begin, end - 1, device=device)
        self.num_frames, self.num_starts = end, after
        self.offsets = np.append(self.offsets, end)
        self.episode_ids.append(f"{int(arrays['seed']):06d}")
        self.starts_filled.fill_(after)  # last: what it counts is there
        return True

    @staticmethod
    def _put(tensor: Tensor, begin: int, end: int, values: np.ndarray) -> None:
        tensor[begin:end].copy_(torch.from_numpy(np.ascontiguousarray(values)).to(tensor.dtype))

    def filled(self) -> ClipStore:
        """A store of what is there now, in the same memory."""
        store: Any = ClipStore.__new__(ClipStore)
        end = self.num_frames
        for name in ("frames", "actions", "rewards", "ended", "last", "known"):
            setattr(store, name, getattr(self, name)[:end])
        store.states = {name: values[:end] for name, values in self.states.items()}
        store.found = ()
        store.labelled = torch.arange(end, device=store.ended.device)
        store.clip_starts = self.clip_starts[: self.num_starts]
        store.episode_ids, store.offsets = list(self.episode_ids), self.offsets
        return store

    def pick(self, seeds: Tensor, samples: Tensor) -> Tensor:
        """Where the clips of sample numbers (B,) begin, int64 (B,); asks nothing of the host.

        Half of them uniformly, half the one of a few whose loss was largest when it was last seen
        (prioritised sampling: Schaul et al., arXiv 1511.05952; by tournament, which needs no sums).
        """
        share = counted_uniform(seeds, samples, (CANDIDATES,), stream=PICK)
        places = (share * self.starts_filled).long().minimum(self.starts_filled - 1)
        begins = self.clip_starts[places]  # (B, CANDIDATES)
        hardest = self.losses[begins].argmax(dim=1)
        chosen = torch.where(samples % 2 == 0, torch.zeros_like(hardest), hardest)
        return begins.gather(1, chosen[:, None])[:, 0]

    def note(self, begins: Tensor, losses: Tensor) -> None:
        """Keep in mind the losses (B,) of clips that begin at `begins`, in place."""
        before = self.losses[begins]
        after = torch.where(before.isinf(), losses, before.lerp(losses, FOLLOWS))
        self.losses.index_put_((begins,), after)

    def sample(self, seed: int, samples: Tensor, num_frames: int) -> Clips:
        """Clips of `num_frames` frames for sample numbers (B,)."""
        return self.clips(self.pick(torch.full_like(samples, seed), samples), num_frames)
