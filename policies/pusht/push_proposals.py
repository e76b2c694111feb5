"""Push-T's base policy (policies/pusht/proposals.py) as a planner's proposals.

Dimensions: B environments, K candidates, H horizon, A action.
"""

from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from policies.planning.best_of import Proposals
from policies.planning.plan import Memory
from policies.pusht.proposals import SKILL, SkillConfig, propose
from policies.pusht.push_planner import true_state


@dataclass(frozen=True, kw_only=True)
class Pushes:
    """Proposals of pushes from the true state of running Push-Ts.

    Attributes:
        envs: B simulators.
        skill: how good the pushes are.
    """

    envs: list[gym.Env]
    skill: SkillConfig = SKILL

    @property
    def horizon(self) -> int:
        """H, the length that proposals are padded to."""
        return self.skill.longest

    def __call__(self, state: Any, memory: Memory, count: int) -> Proposals:
        """See `best_of.Propose`; a proposal that is over holds its last target."""
        seeds, decisions = memory.seeds.tolist(), memory.decisions.tolist()
        horizon = self.horizon
        actions = np.empty((len(self.envs), count, horizon, 2), np.float32)
        lengths = np.empty((len(self.envs), count), np.int64)
        for b, env in enumerate(self.envs):
            proposals = propose(
                *true_state(env), count, seed=seeds[b], decision=decisions[b], skill=self.skill
            )
            for k, targets in enumerate(proposals):
                lengths[b, k] = len(targets)
                actions[b, k] = targets[np.minimum(np.arange(horizon), len(targets) - 1)]
        return Proposals(actions=torch.from_numpy(actions), lengths=torch.from_numpy(lengths))
