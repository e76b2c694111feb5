"""Model predictive path integral control (Williams et al., arXiv 1509.01149).

Dimensions: B environments, K candidates, H horizon, A action.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from policies.planning.objective import Objective, Rollout
from policies.planning.plan import Memory, Plan, Planner
from world_model.config_fields import check_least


@dataclass(frozen=True, kw_only=True)
class MPPIConfig:
    """How to search.

    Attributes:
        num_candidates: K.
        horizon: H, the number of actions planned ahead.
        num_iterations: how often the mean is moved in a decision.
        std: deviation of the candidates, a share of half the actions' range.
        noise_exponent: 0 is white noise; see `coloured`.
        temperature: how far below the best a candidate may score and still count, in deviations of
            the scores, so that one number serves rewards of any scale.
        objective: what is best.
    """

    num_candidates: int = 64
    horizon: int = 16
    num_iterations: int = 3
    std: float = 0.3
    noise_exponent: float = 2.0
    temperature: float = 0.3
    objective: Objective = field(default_factory=Objective)

    def __post_init__(self):
        check_least(self, num_candidates=1, horizon=1, num_iterations=1)
        if self.std <= 0 or self.temperature <= 0:
            raise ValueError(
                f"std is {self.std} and temperature {self.temperature}, expected both above 0"
            )


class MPPI(Planner[MPPIConfig]):
    """Moves a mean to the average of candidates, weighted by the exponential of their scores."""

    settings = MPPIConfig

    def __call__(self, rollout: Rollout, state: Any, memory: Memory) -> Plan:
        """See `Planner.__call__`; the mean is what is executed."""
        config = self.config
        mean = self.to_unit(memory.mean)  # (B, H, A)
        score = None
        for iteration in range(config.num_iterations):
            noise = self.noise(memory, config.num_candidates, iteration, config.noise_exponent)
            candidates = mean[:, None] + config.std * noise
            candidates[:, 0] = mean  # no search is worse than none
            candidates = candidates.clamp(-1, 1)
            actions = self.from_unit(candidates)
            score = self.score(rollout, state, actions)
            spread = score.std(1, correction=0, keepdim=True)
            highest = score.amax(1, keepdim=True)
            gap = (score - highest) / spread.clamp_min(1e-12)
            weights = torch.softmax(gap / config.temperature, dim=1)
            weighted = torch.einsum("bk,bkha->bha", weights, candidates)
            # Where all score the same there is nothing to choose by.
            differ = highest > score.amin(1, keepdim=True)
            mean = torch.where(differ[..., None], weighted, mean)
        assert score is not None
        chosen = self.from_unit(mean)
        return Plan(
            actions=chosen,
            lengths=torch.full_like(memory.seeds, config.horizon),
            score=score.amax(1),
            scores=score,
            memory=replace(memory, mean=chosen),
        )
