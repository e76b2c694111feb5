"""The states that a world's own starts lead to, kept: an episode that begins there copies one and
does not run the network.

Dimensions: B episodes.
"""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from world_model.state import WorldState

# On each kind of device; a start that finds no room is computed whenever it is asked for.
MOST_BYTES = {"cpu": 2**28, "cuda": 2**30}


class KeptStarts:
    """The state of each start as it comes of that start alone, whatever else begins beside it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[int, WorldState] = {}
        self._num_bytes = 0
        self._weights: Tensor | None = None
        self._settings: Any = None

    def states(
        self,
        starts: set[int],
        compute: Callable[[int], WorldState],
        weights: list[Tensor],
        settings: Any,
    ) -> dict[int, WorldState]:
        """The states of some starts, of one episode each; they are not to be changed.

        Args:
            starts: Which.
            compute: Makes the state of one.
            weights: All that it is computed with. Their sums tell whether they have changed, as a
                tensor's version does not after a fused optimizer's step.
            settings: What else it depends on.
        """
        settings = (settings, torch.get_float32_matmul_precision(), torch.get_num_threads())
        sums = torch.stack([tensor.sum(dtype=torch.float32) for tensor in weights])
        with self._lock:
            if settings != self._settings or not _equal(sums, self._weights):
                self._states, self._num_bytes = {}, 0
                self._settings, self._weights = settings, sums
            found = {start: self._states.get(start) or compute(start) for start in sorted(starts)}
            for start in found.keys() - self._states.keys():
                size = found[start].num_bytes
                if self._num_bytes + size <= MOST_BYTES[sums.device.type]:
                    self._states[start] = found[start]
                    self._num_bytes += size
            return found

    def __reduce__(self) -> tuple[type["KeptStarts"], tuple[()]]:
        """Of pickles and copies, which begin without any."""
        return KeptStarts, ()


def _equal(sums: Tensor, before: Tensor | None) -> bool:
    return before is not None and sums.device == before.device and torch.equal(sums, before)
