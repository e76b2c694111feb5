"""States at a world's own starts, kept: an episode's begin there copies one of them and does not
run the network."""

from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

if TYPE_CHECKING:
    from world_model.state import WorldState
    from world_model.world import WorldModel

MOST_BYTES = 2**27


class KeptStarts:
    """The states that one world's episodes begin with: `MOST_BYTES` at most, the latest used."""

    def __init__(self) -> None:
        self._states: dict[int, WorldState] = {}  # the latest used last
        self._made_with: Any = None

    def begin(self, world: "WorldModel", start: int, seeds: Tensor) -> "WorldState":
        """See `WorldModel.begin`."""
        made_with = _ingredients(world)
        if made_with != self._made_with:
            self._states.clear()
            self._made_with = made_with
        state = self._states.pop(start, None)
        if state is None:
            clip = world.starts[start]
            state = world.start(clip.frames[None], clip.actions[None], np.zeros(1, np.int64))
        self._states[start] = state
        while sum(kept.num_bytes for kept in self._states.values()) > MOST_BYTES:
            del self._states[next(iter(self._states))]
        begun = state.select([0] * len(seeds))
        begun.seeds.copy_(seeds)
        return begun

    def __reduce__(self) -> tuple[type["KeptStarts"], tuple[()]]:
        """Of pickles and copies, which begin without any."""
        return KeptStarts, ()


def _ingredients(world: "WorldModel") -> Any:
    """What a start's state is made with; equal as long as nothing has changed."""
    weights = tuple(
        (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)
        for tensor in (*world.parameters(), *world.buffers())
    )
    return world.starts, world.config, world.precision, weights
