"""The simulator itself as a planner's model: what a perfect world would allow.

Dimensions: B environments, K candidates, H horizon, A action.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from policies.planning.branching import BranchingSimulator, Experience
from world_model import RolloutOutput


@dataclass(frozen=True, kw_only=True)
class SimulatorRollout:
    """Tries candidates in copies of a real simulator.

    The state that it plans from is a sequence of B `Experience`s: seed and actions since the reset,
    whose replay is the only exact way to a moment.

    Attributes:
        simulator: the simulator.
    """

    simulator: BranchingSimulator

    def __call__(self, state: Sequence[Experience], actions: Tensor) -> RolloutOutput:
        """Rewards and ends (B, K, H) of actions (B, K, H, A)."""
        if actions.ndim != 4 or len(actions) != len(state):
            raise ValueError(
                f"actions have shape {tuple(actions.shape)} for {len(state)} experiences, expected "
                "(B, K, H, A)"
            )
        rewards, ends = self.simulator.try_actions(list(state), actions.cpu().numpy())
        return RolloutOutput(
            reward=torch.from_numpy(rewards).float(), terminated=torch.from_numpy(ends)
        )
