"""The cross-entropy method, plain and improved (iCEM).

Plain: Rubinstein 1999. Improved: Pinneri et al., arXiv 2008.06389, Algorithm 1: noise correlated in
time, elites kept between iterations and shifted between decisions, fewer candidates in later
iterations, the mean among the last ones, the best candidate executed.

Dimensions: B environments, K candidates, H horizon, A action, E elites.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from policies.planning.objective import Objective, Rollout
from policies.planning.plan import Memory, Plan, Planner, ranked, take
from world_model.config_fields import check_least


@dataclass(frozen=True, kw_only=True)
class CEMConfig:
    """How to search.

    Attributes:
        num_candidates: K of the first iteration.
        horizon: H, the number of actions planned ahead.
        num_iterations: rounds of trying and narrowing.
        num_elites: best candidates that the next round is drawn around.
        std: deviation of the first round, a share of half the actions' range.
        min_std: deviation that no round falls below.
        momentum: share of the last mean and deviation that stays.
        noise_exponent: 0 is white noise; see `coloured`.
        num_kept: elites tried again in the next round and, shifted, in the next decision.
        decay: each iteration has this many times fewer candidates, at least twice the elites.
        execute_mean: execute the last mean instead of the best candidate found.
        objective: what is best.
    """

    num_candidates: int = 64
    horizon: int = 16
    num_iterations: int = 4
    num_elites: int = 8
    std: float = 0.5
    min_std: float = 0.02
    momentum: float = 0.1
    noise_exponent: float = 0.0
    num_kept: int = 0
    decay: float = 1.0
    execute_mean: bool = False
    objective: Objective = field(default_factory=Objective)

    def __post_init__(self):
        check_least(self, num_candidates=1, horizon=1, num_iterations=1, num_elites=1)
        if self.num_elites > self.num_candidates:
            raise ValueError(
                f"num_elites is {self.num_elites} of {self.num_candidates} candidates; lower it, "
                "to about an eighth of them"
            )
        if not 0 <= self.num_kept <= self.num_elites:
            raise ValueError(f"num_kept is {self.num_kept}, expected 0 to {self.num_elites}")
        if self.std <= 0 or self.min_std < 0 or self.decay < 1 or not 0 <= self.momentum < 1:
            raise ValueError(
                f"std {self.std}, min_std {self.min_std}, decay {self.decay}, momentum "
                f"{self.momentum}: expected above 0, at least 0, at least 1, in [0, 1)"
            )

    def count(self, iteration: int) -> int:
        """Candidates of an iteration."""
        fewest = min(2 * self.num_elites, self.num_candidates)
        return max(int(self.num_candidates / self.decay**iteration), fewest)


def icem_config(**changes: Any) -> CEMConfig:
    """The improved method's settings, with changes."""
    settings = {"noise_exponent": 2.0, "num_kept": 2, "decay": 1.25}
    return CEMConfig(**{**settings, **changes})


class CEM(Planner[CEMConfig]):
    """Draws candidates around a mean, and moves it to the best of them; `icem_config()` makes it
    iCEM."""

    settings = CEMConfig

    def __call__(self, rollout: Rollout, state: Any, memory: Memory) -> Plan:
        """See `Planner.__call__`."""
        config = self.config
        mean = self.to_unit(memory.mean)  # (B, H, A)
        std = torch.full_like(mean, config.std)
        kept = self.to_unit(memory.elites)
        best = best_score = score = None
        for iteration in range(config.num_iterations):
            count = config.count(iteration)
            noise = self.noise(memory, count, iteration, config.noise_exponent)
            drawn = mean[:, None] + std[:, None] * noise
            # The mean takes part, so that a plan which is good already is not lost.
            candidates = torch.cat([mean[:, None], kept, drawn], dim=1)[:, :count].clamp(-1, 1)
            actions = self.from_unit(candidates)
            score = self.score(rollout, state, actions)
            elites = take(candidates, ranked(score)[:, : config.num_elites])  # (B, E, H, A)
            mean = torch.lerp(elites.mean(1), mean, config.momentum)
            spread = torch.lerp(elites.std(1, correction=0), std, config.momentum)
            std = spread.clamp_min(config.min_std)
            kept = elites[:, : config.num_kept]
            highest = score.amax(1)
            if best is None or best_score is None:
                best, best_score = elites[:, 0], highest
            else:
                better = highest > best_score
                best = torch.where(better[:, None, None], elites[:, 0], best)
                best_score = torch.where(better, highest, best_score)
        assert best is not None and best_score is not None and score is not None
        chosen = self.from_unit(mean.clamp(-1, 1) if config.execute_mean else best)
        return Plan(
            actions=chosen,
            lengths=torch.full_like(memory.seeds, config.horizon),
            score=best_score,
            scores=score,
            memory=replace(
                memory, mean=self.from_unit(mean.clamp(-1, 1)), elites=self.from_unit(kept)
            ),
        )
