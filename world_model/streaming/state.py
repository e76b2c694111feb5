"""What the future of a streaming world's environments depends on.

Dimensions: B environments, C channels, h w latent cells, U control, S components of all states.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from world_model.state import WorldState
from world_model.streaming.kv_ring import Ring

# What a state holds of the past besides its ring: tensors that begin with (B,).
REMEMBERED = ("before", "controls", "acted", "past")


@dataclass(eq=False)
class StreamingState(WorldState):
    """A state with the keys and values of its past frames.

    Where steps are captured graphs, the tensors of a state that is stepped are the graph's buffers.
    Copy it with `clone` or `select`: a shallow copy (`dataclasses.replace`, `copy.copy`) shares the
    buffers, and is lost when another state moves in, which only the stepped one is saved from.
    """

    ring: Ring
    before: Tensor
    """The frame before the newest, (B, C, h, w); an episode's first has itself."""
    controls: Tensor
    """What led from that to the newest, (B, U): see `conditioning.join_controls`."""
    acted: Tensor
    """Whether anything did, bool (B,)."""
    past: Tensor
    """States of the last two frames, the older first, scaled to [-1, 1], float32 (B, 2, S)."""

    def select(self, rows: Sequence[int] | Tensor) -> "StreamingState":
        """See `WorldState.select`."""
        rows = self.rows(rows)
        selected = super().select(rows)
        assert isinstance(selected, StreamingState)
        return replace(
            selected,
            ring=self.ring.select(rows),
            **{name: getattr(self, name)[rows] for name in REMEMBERED},
        )

    def clone(self) -> "StreamingState":
        """See `WorldState.clone`."""
        return self.select(torch.arange(len(self)))

    def put(self, rows: Sequence[int] | Tensor, other: "StreamingState") -> None:
        """See `WorldState.put`."""
        rows = self.rows(rows)
        super().put(rows, other)
        self.ring.put(rows, other.ring)
        for name in REMEMBERED:
            getattr(self, name)[rows] = getattr(other, name)
