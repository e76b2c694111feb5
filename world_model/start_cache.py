"""The states that a world's own starts lead to, computed once: an episode that begins at a start
copies its state and does not run the network.

Dimensions: B episodes.
"""

import threading
from collections.abc import Callable
from typing import Any

from torch import Tensor

from world_model.state import WorldState, joined


class StartCache:
    """The state of each start as it comes of that start alone, whatever begins beside it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[int, WorldState] = {}
        self._num_bytes = 0
        self._key: Any = None

    def begin(
        self,
        compute: Callable[[int], WorldState],
        starts: list[int],
        seeds: Tensor,
        *,
        key: Any,
        room: int,
    ) -> WorldState:
        """Episodes at `starts` (B,), copies of their states, with `seeds` int64 (B,).

        Args:
            compute: The state of one episode at a start; what it returns is not changed.
            starts: Their indices.
            seeds: Of the episodes' noise.
            key: All that a state depends on beside its start; under another key than the last
                call's, everything is computed anew.
            room: Bytes that may be held; a start that finds none is computed whenever it is asked
                for.
        """
        with self._lock:
            if key != self._key:
                self._states, self._num_bytes, self._key = {}, 0, key
            states = {start: self._state(compute, start, room) for start in sorted(set(starts))}
        rows = {start: [i for i, its in enumerate(starts) if its == start] for start in states}
        parts = [states[start].select([0] * len(alike)) for start, alike in rows.items()]
        begun = joined(list(rows.values()), parts)
        begun.seeds.copy_(seeds)
        return begun

    def _state(self, compute: Callable[[int], WorldState], start: int, room: int) -> WorldState:
        if start in self._states:
            return self._states[start]
        state = compute(start)
        if self._num_bytes + state.num_bytes <= room:
            self._states[start] = state
            self._num_bytes += state.num_bytes
        return state

    def __reduce__(self) -> tuple[type["StartCache"], tuple[()]]:
        """Of pickles and copies, which begin empty."""
        return StartCache, ()
