"""The cache of the past: a ring of keys and values with one write position per environment.

Dimensions: L blocks, B environments, T frames that go through the blocks together, N tokens a
frame, S slots, G heads, D width of a head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

# Rows of environments (B, 1) and slots (B, T), both int64.
Places = tuple[Tensor, Tensor]


@dataclass
class Ring:
    """Keys and values of the newest frame, of the S - 2 before it, and a slot for the next.

    The newest frame's slot is `index`, and what goes through the blocks with it, one frame ahead,
    has the slot after; a frame may be written again and again, until `advance` makes the next one
    the newest. Positions are ages (0 a frame's own), so nothing in the ring depends on an absolute
    step.
    """

    keys: Tensor  # (L, B, S, N, G, D)
    values: Tensor  # (L, B, S, N, G, D)
    index: Tensor  # int64 (B,): the slot of the newest frame
    filled: Tensor  # int64 (B,): how many frames before that the ring holds, at most S - 2

    @classmethod
    def empty(cls, shape: tuple[int, int, int, int, int, int], like: Tensor) -> "Ring":
        """A ring of `shape` (L, B, S, N, G, D), of the type and on the device of `like`."""
        counts = torch.zeros(shape[1], dtype=torch.int64, device=like.device)
        return cls(like.new_zeros(shape), like.new_zeros(shape), counts, counts.clone())

    @property
    def num_slots(self) -> int:
        return self.keys.shape[2]

    def places(self, num_frames: int) -> tuple[Places, Tensor]:
        """Where the newest frame and those after it are, T in all.

        Returns:
            Their places, and the age that each slot's frame has for each of them, int64 (B, T, S);
            S - 1 where the slot is empty or the frame too old.
        """
        device, size = self.index.device, self.num_slots
        ahead = torch.arange(num_frames, device=device)
        slots = (self.index[:, None] + ahead) % size  # (B, T)
        ages = (slots[..., None] - torch.arange(size, device=device)) % size
        known = (self.filled[:, None] + ahead).clamp(max=size - 2)
        ages = torch.where(ages <= known[..., None], ages, size - 1)
        return (torch.arange(len(slots), device=device)[:, None], slots), ages

    def write(self, layer: int, at: Places, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put the keys and values (B, T, N, G, D) of frames into their slots of one block.

        Args:
            layer: Which block.
            at: Of `places`, the same for all blocks.
            keys: (B, T, N, G, D)
            values: (B, T, N, G, D)

        Returns:
            All keys and all values of that block, (B, S, N, G, D) each.
        """
        self.keys[layer].index_put_(at, keys.to(self.keys.dtype))
        self.values[layer].index_put_(at, values.to(self.values.dtype))
        return self.keys[layer], self.values[layer]

    def advance(self) -> None:
        """Make the next frame the newest."""
        self.index.add_(1).remainder_(self.num_slots)
        self.filled.add_(1).clamp_(max=self.num_slots - 2)

    def select(self, rows: Tensor) -> "Ring":
        """A copy that holds environments `rows` (int64) only, in that order."""
        return Ring(self.keys[:, rows], self.values[:, rows], self.index[rows], self.filled[rows])

    def put(self, rows: Tensor, other: "Ring") -> None:
        """Overwrite environments `rows` with those of `other`, in place."""
        self.keys[:, rows] = other.keys
        self.values[:, rows] = other.values
        self.index[rows] = other.index
        self.filled[rows] = other.filled
