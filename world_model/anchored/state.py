"""What the future of an anchored world's environments depends on.

Dimensions: B environments, S components of all states, A action, L lags.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from world_model.state import WorldState

OWN = ("anchor", "anchor_states", "now", "before", "actions", "acted")


@dataclass(eq=False)
class AnchoredState(WorldState):
    """A state with the frame where its episode began, and the robot's last states and actions."""

    anchor: Tensor
    """(B, 3, H, W) in [-1, 1]."""
    anchor_states: Tensor
    """States that it shows, scaled to [-1, 1], (B, S)."""
    now: Tensor
    """States of the newest frame, (B, S)."""
    before: Tensor
    """Those of the frame before it, (B, S); an episode's first frame has its own."""
    actions: Tensor
    """The last actions, scaled, (B, L, A), the newest first; what lies before the first one that is
    known repeats it."""
    acted: Tensor
    """bool (B,): an action is known."""

    def select(self, rows: Sequence[int] | Tensor) -> "AnchoredState":
        """See `WorldState.select`."""
        rows = self.rows(rows)
        selected = super().select(rows)
        assert isinstance(selected, AnchoredState)
        return replace(selected, **{name: getattr(self, name)[rows] for name in OWN})

    def clone(self) -> "AnchoredState":
        """See `WorldState.clone`."""
        return self.select(torch.arange(len(self)))

    def put(self, rows: Sequence[int] | Tensor, other: "AnchoredState") -> None:
        """See `WorldState.put`."""
        rows = self.rows(rows)
        super().put(rows, other)
        for name in OWN:
            getattr(self, name)[rows] = getattr(other, name)

    @property
    def tensors(self) -> dict[str, Tensor]:
        """All that a step reads and overwrites, by name."""
        return {name: getattr(self, name) for name in ("latents", "seeds", "steps", *OWN)}

    def share(self, other: "AnchoredState") -> None:
        """Have the tensors of `other`, but for what is shown."""
        for name in self.tensors:
            setattr(self, name, getattr(other, name))
