"""stable-worldmodel's solvers over a learned world.

Its solvers (CEM, iCEM, MPPI, predictive sampling; checked with version 0.1.1) know a model by
`get_cost(info, candidates) -> costs`: info is a dictionary whose entries they repeat for each
candidate, candidates are (B, S, H, D) of any value, D the action's size times the solver's
`action_block`, and costs are (B, S), less is better. They plan for a part of the environments at a
time, so what the world needs is passed as row numbers within `info`.

Dimensions: B environments, S candidates, H horizon, A action, D action block.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from policies.planning.objective import Objective, Prediction
from world_model import WorldModel, WorldState

ROWS = "world_rows"


class WorldRollout(Protocol):
    """A rollout that knows its world, such as `LearnedRollout`."""

    @property
    def world(self) -> WorldModel:
        """Whose actions and states it takes."""
        ...

    def __call__(self, state: WorldState, actions: Tensor, /) -> Prediction:
        """See `objective.Rollout`."""
        ...


@dataclass(kw_only=True)
class WorldCost:
    """A learned world, as stable-worldmodel's solvers want it (`Costable`).

    Actions are in [-1, 1], as the solvers draw them around 0 (and some of them know no bounds: what
    lies beyond is cut, here and in `actions`).

    Attributes:
        rollout: the world.
        objective: what is best.
    """

    rollout: WorldRollout
    objective: Objective = field(default_factory=Objective)
    _state: WorldState | None = field(default=None, init=False)

    def info(self, state: WorldState) -> dict[str, Tensor]:
        """What to hand to `solver.solve`, to plan from a state of B environments."""
        self._state = state
        return {ROWS: torch.arange(len(state))}

    def get_cost(self, info_dict: dict[str, Any], action_candidates: Tensor) -> Tensor:
        """Costs (B, S): scores with their sign changed."""
        if self._state is None or ROWS not in info_dict:
            raise ValueError(
                f"info has {sorted(info_dict)}, expected {ROWS!r}: pass solver.solve what "
                "WorldCost.info(state) returns"
            )
        rows = torch.as_tensor(np.asarray(info_dict[ROWS]))
        rows = rows[:, 0] if rows.ndim > 1 else rows
        prediction = self.rollout(self._state.select(rows), self.actions(action_candidates))
        return -self.objective.score(prediction).to(action_candidates.device)

    def criterion(self, info_dict: dict[str, Any], action_candidates: Tensor) -> Tensor:
        """As `get_cost`."""
        return self.get_cost(info_dict, action_candidates)

    def actions(self, planned: Tensor) -> Tensor:
        """A solver's actions (..., H, D) as the environment takes them, (..., H * block, A)."""
        config = self.rollout.world.config
        blocks = planned.float().unflatten(-1, (-1, config.action_dim)).flatten(-3, -2)
        low = blocks.new_tensor(config.action_low)
        high = blocks.new_tensor(config.action_high)
        return (low + (blocks.clamp(-1, 1) + 1) / 2 * (high - low)).clamp(low, high)
