"""The cache of the past: a ring of keys and values with one write position per environment.

Dimensions: L blocks, B environments, N tokens a frame, S slots, G heads, D width of a head.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class Ring:
    """Keys and values of the last S - 1 frames, and a slot for the present one.

    The present frame writes slot `index` in every denoising pass; `advance` makes it past.
    Positions are ages (0 the present), so nothing in the ring depends on an absolute step. What an
    environment writes into one block lies in one piece, so that a write is one short copy.
    """

    keys: Tensor  # (L, B, S, N, G, D)
    values: Tensor  # (L, B, S, N, G, D)
    index: Tensor  # int64 (B,): the slot of the present frame
    filled: Tensor  # int64 (B,): how many past frames the ring holds, at most S - 1

    @classmethod
    def empty(cls, shape: tuple[int, int, int, int, int, int], like: Tensor) -> "Ring":
        """A ring of `shape` (L, B, S, N, G, D), of the type and on the device of `like`."""
        counts = torch.zeros(shape[1], dtype=torch.int64, device=like.device)
        return cls(like.new_zeros(shape), like.new_zeros(shape), counts, counts.clone())

    @property
    def num_slots(self) -> int:
        return self.keys.shape[2]

    def ages(self) -> Tensor:
        """Age of each slot's frame, int64 (B, S); S where the slot is empty."""
        slots = torch.arange(self.num_slots, device=self.index.device)
        ages = (self.index[:, None] - slots) % self.num_slots
        return torch.where(ages <= self.filled[:, None], ages, self.num_slots)

    def write(
        self, layer: int, rows: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Put the present frame's keys and values (B, N, G, D) into its slot of one block.

        Args:
            layer: Which block.
            rows: int64 (B,): 0, 1, ..., the same for all blocks.
            keys: (B, N, G, D)
            values: (B, N, G, D)

        Returns:
            All keys and all values of that block, (B, S, N, G, D) each.
        """
        at = (rows, self.index)
        self.keys[layer].index_put_(at, keys.to(self.keys.dtype))
        self.values[layer].index_put_(at, values.to(self.values.dtype))
        return self.keys[layer], self.values[layer]

    def advance(self) -> None:
        """Make the present frame the newest of the past."""
        self.index.add_(1).remainder_(self.num_slots)
        self.filled.add_(1).clamp_(max=self.num_slots - 1)

    def select(self, rows: Tensor) -> "Ring":
        """A copy that holds environments `rows` (int64) only, in that order."""
        return Ring(self.keys[:, rows], self.values[:, rows], self.index[rows], self.filled[rows])

    def put(self, rows: Tensor, other: "Ring") -> None:
        """Overwrite environments `rows` with those of `other`, in place."""
        self.keys[:, rows] = other.keys
        self.values[:, rows] = other.values
        self.index[rows] = other.index
        self.filled[rows] = other.filled
