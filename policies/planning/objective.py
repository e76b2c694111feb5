"""What a planner asks of a model, and how it scores the answer.

Dimensions: B environments, K candidates, H horizon, A action.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor


class Prediction(Protocol):
    """What K candidate action sequences lead to, such as `world_model.RolloutOutput`."""

    @property
    def reward(self) -> Tensor:
        """float (B, K, H); what stands after an end is not read."""
        ...

    @property
    def terminated(self) -> Tensor:
        """bool (B, K, H)"""
        ...


class Rollout(Protocol):
    """A model, as planners see it: they know nothing else of it."""

    def __call__(self, state: Any, actions: Tensor, /) -> Prediction:
        """Try actions (B, K, H, A), in the environment's own units, from a state of B."""
        ...


Value = Callable[[Prediction], Tensor]
"""What is to be expected after the horizon, (B, K), of what a rollout returned."""


@dataclass(frozen=True, kw_only=True)
class Objective:
    """How the rewards of a candidate become its score; more is better.

    Attributes:
        kind: their sum, the last one, or the highest.
        after_end: what is earned in each step after a predicted end. "hold" keeps the reward of
            the end, for tasks that end in success (where reaching the goal sooner must not
            score less); "zero" is for tasks that end in failure.
    """

    kind: Literal["sum", "final", "max"] = "sum"
    after_end: Literal["hold", "zero"] = "hold"

    def score(self, prediction: Prediction, value: Value | None = None) -> Tensor:
        """Scores (B, K), float32.

        Args:
            prediction: What the model says.
            value: What follows the horizon, added for candidates that have not ended in it.

        Raises:
            ValueError: The model predicts a reward that is no number.
        """
        terminated = prediction.terminated.bool()
        reward = until_end(prediction.reward.float(), terminated, self.after_end)
        if self.kind == "sum":
            score = reward.sum(-1)
        elif self.kind == "final":
            score = reward[..., -1]
        else:
            score = reward.amax(-1)
        if value is not None:
            score = score + torch.where(terminated.any(-1), 0, value(prediction).to(score))
        if not score.isfinite().all():
            raise ValueError(
                "the model predicts rewards or values that are not finite, so candidates cannot "
                "be compared; check what its rollout returns"
            )
        return score


def until_end(
    reward: Tensor, terminated: Tensor, after_end: Literal["hold", "zero"] = "hold"
) -> Tensor:
    """Rewards (..., H) with those after the first end replaced by the end's own, or by zero."""
    ends = terminated.long()
    after = ends.cumsum(-1) - ends > 0
    held = reward.gather(-1, ends.argmax(-1, keepdim=True))
    return torch.where(after, held if after_end == "hold" else torch.zeros_like(held), reward)
