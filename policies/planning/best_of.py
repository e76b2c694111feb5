"""Best of K: a policy proposes, the model ranks (IRASim's planning experiment,
arXiv 2406.14540).

Dimensions: B environments, K candidates, H horizon, A action.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from policies.planning.objective import Objective, Rollout, Value
from policies.planning.plan import Memory, Plan, Planner, ranked, take
from world_model.config_fields import check_least


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposals:
    """What a policy would do, K times."""

    actions: Tensor
    """float32 (B, K, H, A), in the environment's own units; after its end a proposal is padded with
    what does nothing."""
    lengths: Tensor
    """int64 (B, K): actions of each before the padding, 1 to H."""


class Propose(Protocol):
    """A policy that can be asked for several plans."""

    def __call__(self, state: Any, memory: Memory, count: int, /) -> Proposals:
        """K = `count` proposals for B environments, a function of the memory's seeds and decisions.

        The first of many should be those of few, so that other K choose among the same.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class BestOfConfig:
    """How to search.

    Attributes:
        num_candidates: K; with 1 the policy acts alone and the model is not asked.
        horizon: H, the length that proposals are padded to.
        objective: what is best; of equals the first is taken.
    """

    num_candidates: int = 10
    horizon: int = 32
    objective: Objective = field(default_factory=lambda: Objective(kind="final"))

    def __post_init__(self):
        check_least(self, num_candidates=1, horizon=1)


class BestOf(Planner[BestOfConfig]):
    """Asks a policy for K proposals, and takes the one that the model likes best.

    Args:
        propose: The policy; the others are `Planner`'s.
    """

    settings = BestOfConfig

    def __init__(
        self,
        low: Sequence[float] | np.ndarray,
        high: Sequence[float] | np.ndarray,
        propose: Propose,
        config: BestOfConfig | None = None,
        *,
        value: Value | None = None,
        device: torch.device | str = "cpu",
    ):
        super().__init__(low, high, config, value=value, device=device)
        self.propose = propose

    def __call__(self, rollout: Rollout, state: Any, memory: Memory) -> Plan:
        """See `Planner.__call__`."""
        count = self.config.num_candidates
        proposals = self.propose(state, memory, count)
        actions = proposals.actions.to(self.low.device).clamp(self.low, self.high)
        expected = (len(memory.seeds), count, self.horizon, len(self.low))
        if tuple(actions.shape) != expected:
            raise ValueError(
                f"the policy proposes actions {tuple(actions.shape)}, expected (B, K, H, A), here "
                f"{expected}"
            )
        if count == 1:
            scores = actions.new_zeros(len(actions), 1)
        else:
            scores = self.score(rollout, state, actions)
        best = ranked(scores)[:, :1]  # (B, 1)
        chosen = take(actions, best)[:, 0]
        return Plan(
            actions=chosen,
            lengths=proposals.lengths.to(best.device).gather(1, best)[:, 0],
            score=scores.amax(1),
            scores=scores,
            memory=replace(memory, mean=chosen),
        )
