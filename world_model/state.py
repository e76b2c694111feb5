"""What a world hands out, and the state that it steps.

Dimensions: B environments, K candidates, H horizon, k actions of a chunk, C channels, h w latent
cells, n components of a state.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, is_dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class StepOutput:
    """What a step shows. Tensors of their own: later steps do not change them."""

    frame: Tensor
    """uint8 (B, H, W, 3)"""
    reward: Tensor
    """float32 (B,), 0 for a world without a reward head"""
    terminated: Tensor
    """bool (B,), False for a world without a reward head"""
    states: dict[str, Tensor]
    """Low-dimensional observations, and hidden states where the world predicts some, by name,
    float32 (B, n), in the environment's own units."""


@dataclass(frozen=True, eq=False)
class ChunkOutput:
    """What k actions, taken without an observation in between, lead to."""

    frames: Tensor
    """uint8 (B, k, H, W, 3)"""
    reward: Tensor
    """float32 (B, k)"""
    terminated: Tensor
    """bool (B, k)"""
    states: dict[str, Tensor]
    """float32 (B, k, n) each"""

    def __len__(self) -> int:
        return self.frames.shape[1]

    def at(self, index: int) -> StepOutput:
        """What action `index` of the chunk led to, a copy."""
        return StepOutput(
            self.frames[:, index].clone(),
            self.reward[:, index].clone(),
            self.terminated[:, index].clone(),
            {name: values[:, index].clone() for name, values in self.states.items()},
        )


@dataclass(frozen=True, eq=False)
class RolloutOutput:
    """What K candidate action sequences lead to. After an end, later entries mean nothing."""

    reward: Tensor
    """float32 (B, K, H)"""
    terminated: Tensor
    """bool (B, K, H)"""
    frames: Tensor | None = None
    """uint8 (B, K, H, height, width, 3), where asked for"""
    states: dict[str, Tensor] = field(default_factory=dict)
    """float32 (B, K, H, n) each, environment units; empty where the engine predicts none"""


@dataclass(eq=False)
class WorldState:
    """All that the future of B environments depends on; engines may add to it."""

    latents: Tensor  # (B, C, h, w) of the newest frame
    seeds: Tensor  # int64 (B,)
    steps: Tensor  # int64 (B,): frames predicted since the start
    output: StepOutput  # of the newest frame

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def num_bytes(self) -> int:
        """Memory of all its tensors."""
        return _num_bytes(self)

    def select(self, rows: Sequence[int] | Tensor) -> Self:
        """A copy that holds environments `rows` only, in that order (repeats allowed)."""
        rows = self.rows(rows)
        held = {one.name: _selected(getattr(self, one.name), rows) for one in fields(self)}
        return replace(self, **held)

    def clone(self) -> Self:
        """A copy that shares no memory."""
        return self.select(torch.arange(len(self)))

    def put(self, rows: Sequence[int] | Tensor, other: "WorldState") -> None:
        """Overwrite environments `rows` with those of `other`: a reset of some of a batch."""
        rows = self.rows(rows)
        for one in fields(self):
            _put(getattr(self, one.name), rows, getattr(other, one.name))

    def rows(self, rows: Sequence[int] | Tensor) -> Tensor:
        """Indices of environments as int64 on the state's device."""
        return torch.as_tensor(rows, dtype=torch.int64, device=self.seeds.device)


def _selected(held: Any, rows: Tensor) -> Any:
    """What is held of environments `rows`, int64."""
    if isinstance(held, Tensor):
        return held[rows]
    if isinstance(held, dict):
        return {name: _selected(value, rows) for name, value in held.items()}
    if hasattr(held, "select"):
        return held.select(rows)
    return replace(held, **{f.name: _selected(getattr(held, f.name), rows) for f in fields(held)})


def _put(held: Any, rows: Tensor, other: Any) -> None:
    """Overwrite what is held of environments `rows`, int64, by all that `other` holds."""
    if isinstance(held, Tensor):
        held[rows] = other
    elif isinstance(held, dict):
        for name, value in held.items():
            _put(value, rows, other[name])
    elif hasattr(held, "put"):
        held.put(rows, other)
    else:
        for one in fields(held):
            _put(getattr(held, one.name), rows, getattr(other, one.name))


def _num_bytes(held: Any) -> int:
    if isinstance(held, Tensor):
        return held.nbytes
    if is_dataclass(held):
        return sum(_num_bytes(getattr(held, field.name)) for field in fields(held))
    return sum(map(_num_bytes, held.values())) if isinstance(held, dict) else 0


def joined(rows: Sequence[Sequence[int]], parts: Sequence[WorldState]) -> WorldState:
    """One state of all that `parts` hold: row `rows[i][j]` of it is row j of part i."""
    if len(parts) == 1:
        return parts[0]
    whole = parts[0].select([0] * sum(map(len, parts)))
    for at, part in zip(rows, parts, strict=True):
        whole.put(at, part)
    return whole
