"""Discrete actions: choices, which a world sees as one-hot vectors one after the other.

Dimensions: D choices that make up an action, A components of their one-hot vectors together.
"""

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class ChoicesConfig:
    """What a discrete action is."""

    space: Literal["discrete", "multi_discrete", "multi_binary"]
    """Gymnasium's space of the environment's own actions."""
    counts: tuple[int, ...]
    """How many there are to choose from, of each choice (D)."""
    first: tuple[int, ...]
    """The number of each one's first, mostly 0 (D)."""

    def __post_init__(self) -> None:
        if not self.counts or len(self.first) != len(self.counts):
            raise ValueError(
                f"choices have counts {self.counts} and first {self.first}, expected as many of "
                "both, at least one"
            )
        if self.space == "discrete" and len(self.counts) != 1:
            raise ValueError(f"a discrete action is one choice, not {len(self.counts)}")
        for count in self.counts:
            if count < 1:
                raise ValueError(f"a choice has {count} possibilities, expected at least 1")

    @property
    def size(self) -> int:
        """A"""
        return sum(self.counts)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an action in the environment's own form: () or (D,)."""
        return () if self.space == "discrete" else (len(self.counts),)

    def describe(self) -> str:
        """What is expected, in words."""
        ends = [first + count - 1 for first, count in zip(self.first, self.counts, strict=True)]
        spans = [f"{first} to {end}" for first, end in zip(self.first, ends, strict=True)]
        if self.space == "discrete":
            return f"an integer from {spans[0]}"
        return f"{len(spans)} integers: {', '.join(spans)}"

    def one_hot(self, numbers: "np.ndarray") -> "np.ndarray":
        """Choices in the environment's own form, integers (..., D) or (...), as float32 (..., A).

        Raises:
            ValueError: A number is none of those to choose from.
        """
        import numpy as np

        numbers = np.asarray(numbers, np.int64)
        numbers = numbers[..., None] if self.space == "discrete" else numbers
        parts = []
        for i, (first, count) in enumerate(zip(self.first, self.counts, strict=True)):
            chosen = numbers[..., i] - first
            if ((chosen < 0) | (chosen >= count)).any():
                raise ValueError(f"action {numbers.tolist()}, expected {self.describe()}")
            parts.append(np.eye(count, dtype=np.float32)[chosen])
        return np.concatenate(parts, axis=-1)

    def numbers(self, vectors: "np.ndarray") -> "np.ndarray":
        """The choices that vectors (..., A) weigh most, int64 in the environment's own form."""
        import numpy as np

        chosen = [part.argmax(-1) for part in np.split(vectors, self._ends, axis=-1)]
        numbers = np.stack(chosen, axis=-1) + np.array(self.first)
        return numbers[..., 0] if self.space == "discrete" else numbers

    def settled(self, vectors: "np.ndarray | Tensor") -> Any:
        """Vectors (..., A), such as a planner tries, as the one-hot ones that are nearest."""
        import numpy as np
        import torch

        if isinstance(vectors, np.ndarray):
            return self.one_hot(self.numbers(vectors))
        parts = vectors.tensor_split(self._ends, dim=-1)
        hot = [torch.nn.functional.one_hot(x.argmax(-1), x.shape[-1]) for x in parts]
        return torch.cat(hot, dim=-1).to(vectors.dtype)

    @property
    def _ends(self) -> list[int]:
        """Where the one-hot vectors of all but the last end."""
        return list(itertools.accumulate(self.counts))[:-1]
