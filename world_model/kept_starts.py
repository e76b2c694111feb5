"""The states that a world's own starts lead to, kept: an episode that begins there copies one and
does not run the network.

Dimensions: B episodes.
"""

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from world_model.given_states import known_states
from world_model.state import WorldState, joined

if TYPE_CHECKING:
    from world_model.world import WorldModel

# A start that finds no room is computed whenever it is asked for.
MOST_BYTES = {"cpu": 2**28, "cuda": 2**30, "mps": 2**28}


class KeptStarts:
    """One world's: the state of each start as it comes of that start alone, whatever begins beside
    it. Changes of the world are seen, but for pictures of its starts that are changed in place."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._states: dict[int, WorldState] = {}
        self._num_bytes = 0
        self._settings: Any = None
        self._sums: Tensor | None = None

    def begin(self, world: "WorldModel", starts: list[int], seeds: Tensor) -> WorldState:
        """Episodes at starts (B,), with seeds int64 (B,): see `WorldModel.begin`."""
        with self._lock:
            self._check(world)
            states = {start: self._state(world, start) for start in sorted(set(starts))}
        rows = {start: [i for i, its in enumerate(starts) if its == start] for start in states}
        parts = [states[start].select([0] * len(alike)) for start, alike in rows.items()]
        begun = joined(list(rows.values()), parts)
        begun.seeds.copy_(seeds)
        return begun

    def _check(self, world: "WorldModel") -> None:
        """Forget all if they would come out otherwise now.

        Sums of the weights tell whether these have changed: a tensor's version does not, after a
        fused optimizer's step.
        """
        backends: Any = torch.backends
        settings = (
            *(world.starts, world.config, world.precision, torch.get_num_threads()),
            *(kind.matmul.fp32_precision for kind in (backends.cuda, backends.mkldnn)),
        )
        weights = (x for x in (*world.parameters(), *world.buffers()) if x.is_floating_point())
        sums = torch.stack([tensor.sum(dtype=torch.float32) for tensor in weights])
        before = self._sums
        same = before is not None and before.device == sums.device and torch.equal(before, sums)
        if settings != self._settings or not same:
            self._states, self._num_bytes = {}, 0
            self._settings, self._sums = settings, sums

    def _state(self, world: "WorldModel", start: int) -> WorldState:
        """Of one episode, not to be changed."""
        if start in self._states:
            return self._states[start]
        clip = world.starts[start]
        known = known_states(world.config, clip.states)
        state = world.start(
            clip.frames[None],
            clip.actions[None],
            np.zeros(1, np.int64),
            {name: values[None] for name, values in known.items()},
        )
        if self._num_bytes + state.num_bytes <= MOST_BYTES[world.device.type]:
            self._states[start] = state
            self._num_bytes += state.num_bytes
        return state

    def __reduce__(self) -> tuple[type["KeptStarts"], tuple[()]]:
        """Of pickles and copies, which begin without any."""
        return KeptStarts, ()
