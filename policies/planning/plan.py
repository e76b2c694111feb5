"""What planners share: their records, the action box, counted noise.

Dimensions: B environments, K candidates, H horizon, A action, E elites.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from policies.planning.objective import Objective, Rollout, Value
from world_model.runtime.counter_rng import counted_noise

# Streams of counted noise from here on are the planners'; worlds use the first ones.
FIRST_STREAM = 1 << 20
Config = TypeVar("Config")


@dataclass(frozen=True, kw_only=True, eq=False)
class Memory:
    """What goes from one decision to the next; with the state, all that a plan depends on."""

    seeds: Tensor
    """int64 (B,): each environment's stream of randomness."""
    decisions: Tensor
    """int64 (B,): decisions taken, the place in that stream."""
    mean: Tensor
    """float32 (B, H, A), the middle of the search, in the environment's own units."""
    elites: Tensor
    """float32 (B, E, H, A), candidates to try again; E is 0 for planners that keep none."""

    def shifted(self, executed: int) -> "Memory":
        """For the decision after `executed` actions: they go, the last one is repeated."""
        return replace(
            self,
            decisions=self.decisions + 1,
            mean=_shift(self.mean, executed),
            elites=_shift(self.elites, executed),
        )

    def select(self, rows: Sequence[int] | Tensor) -> "Memory":
        """A copy that holds environments `rows` only, in that order."""
        rows = torch.as_tensor(rows, device=self.seeds.device)
        return Memory(
            seeds=self.seeds[rows],
            decisions=self.decisions[rows],
            mean=self.mean[rows],
            elites=self.elites[rows],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Plan:
    """A decision for B environments."""

    actions: Tensor
    """float32 (B, H, A): what to do, in the environment's own units."""
    lengths: Tensor
    """int64 (B,): how many of them belong together; H, but for proposals that end by themselves."""
    score: Tensor
    """float32 (B,): of the best candidate."""
    scores: Tensor
    """float32 (B, K): of all candidates of the last iteration."""
    memory: Memory
    """For the next decision: `memory.shifted(n)` after n executed actions."""


class Planner(ABC, Generic[Config]):
    """Chooses actions by trying candidates in a model.

    Args:
        low: Lowest actions (A,), in the environment's own units.
        high: Highest actions (A,).
        config: How to search; default what `settings` has without arguments.
        value: What follows the horizon.
        device: Where candidates are made; best where the model runs.
    """

    settings: ClassVar[type[Any]]
    """Of the default config."""

    def __init__(
        self,
        low: Sequence[float] | np.ndarray,
        high: Sequence[float] | np.ndarray,
        config: Config | None = None,
        *,
        value: Value | None = None,
        device: torch.device | str = "cpu",
    ):
        self.config = self.settings() if config is None else config
        self.value = value
        chosen: Any = self.config
        self.horizon: int = chosen.horizon
        self.objective: Objective = chosen.objective
        self.low = torch.as_tensor(np.asarray(low, np.float32), device=device)
        self.high = torch.as_tensor(np.asarray(high, np.float32), device=device)
        if self.low.ndim != 1 or self.low.shape != self.high.shape:
            raise ValueError(
                f"action bounds have shapes {tuple(self.low.shape)} and {tuple(self.high.shape)}, "
                "expected (A,) twice"
            )
        if not ((self.high - self.low).isfinite().all() and (self.low < self.high).all()):
            raise ValueError(
                f"action bounds are {low} and {high}, expected finite ones, low under high"
            )

    def begin(
        self, seeds: Sequence[int] | np.ndarray, first: np.ndarray | Tensor | None = None
    ) -> Memory:
        """A memory for episodes that begin.

        Args:
            seeds: Ints (B,).
            first: Actions (B, A) or (B, H, A) to search around at first; the middle of their range
                otherwise. Where the robot is now is a good one for position targets.
        """
        device = self.low.device
        streams = torch.as_tensor(np.asarray(seeds, np.int64), device=device).reshape(-1)
        shape = (len(streams), self.horizon, len(self.low))
        if first is None:
            mean = ((self.low + self.high) / 2).expand(shape)
        else:
            mean = torch.as_tensor(first, dtype=torch.float32, device=device)
            if tuple(mean.shape) not in (shape, (shape[0], shape[2])):
                raise ValueError(
                    f"first actions have shape {tuple(mean.shape)}, expected (B, A) or (B, H, A), "
                    f"here {(shape[0], shape[2])} or {shape}"
                )
            mean = mean[:, None].expand(shape) if mean.ndim == 2 else mean
            mean = mean.clamp(self.low, self.high)
        return Memory(
            seeds=streams,
            decisions=torch.zeros_like(streams),
            mean=mean.clone(),
            elites=mean.new_zeros(shape[0], 0, *shape[1:]),
        )

    @abstractmethod
    def __call__(self, rollout: Rollout, state: Any, memory: Memory) -> Plan:
        """Decide for B environments at once; each one's plan is what it would be alone."""

    def score(self, rollout: Rollout, state: Any, actions: Tensor) -> Tensor:
        """How good candidates (B, K, H, A) are, as the model sees it, (B, K)."""
        scores = self.objective.score(rollout(state, actions), self.value)
        if tuple(scores.shape) != tuple(actions.shape[:2]):
            raise ValueError(
                f"the rollout of actions {tuple(actions.shape)} gives rewards for "
                f"{tuple(scores.shape)} candidates, expected (B, K, H)"
            )
        return scores.to(actions.device)

    def to_unit(self, actions: Tensor) -> Tensor:
        """Actions (..., A) from the environment's units to [-1, 1]."""
        return (2 * actions - self.high - self.low) / (self.high - self.low)

    def from_unit(self, actions: Tensor) -> Tensor:
        """Actions (..., A) from [-1, 1] to the environment's units, never out of bounds."""
        scaled = ((self.high - self.low) * actions + self.high + self.low) / 2
        return scaled.clamp(self.low, self.high)

    def noise(self, memory: Memory, count: int, iteration: int, exponent: float) -> Tensor:
        """Normal numbers (B, count, H, A), correlated in time; a function of seed and decision."""
        shape = (count, len(self.low), self.horizon)
        white = counted_noise(
            memory.seeds, memory.decisions, shape, stream=FIRST_STREAM + iteration
        )
        return coloured(white, exponent).transpose(-1, -2)


def coloured(white: Tensor, exponent: float) -> Tensor:
    """Noise (..., H) whose power falls with frequency f as f^-exponent, of deviation 1.

    Timmer and Koenig 1995, as iCEM takes it (Pinneri et al., arXiv 2008.06389, section 3.1). The
    constant part gets the power of the lowest frequency. Made of white noise by filtering, so it is
    a function of it; 0 leaves white noise as it is.
    """
    horizon = white.shape[-1]
    if exponent == 0 or horizon == 1:
        return white
    frequencies = torch.fft.rfftfreq(horizon, device=white.device)
    frequencies[0] = 1 / horizon
    gain = frequencies ** (-exponent / 2)
    # Every frequency but the first, and the last of an even length, stands for two.
    weights = torch.full_like(gain, 2.0)
    weights[0] = 1.0
    if horizon % 2 == 0:
        weights[-1] = 1.0
    gain = gain / ((weights * gain**2).sum() / horizon).sqrt()
    return torch.fft.irfft(torch.fft.rfft(white) * gain, n=horizon)


def take(candidates: Tensor, indices: Tensor) -> Tensor:
    """Candidates (B, E, H, A) at `indices` (B, E) of (B, K, H, A)."""
    return candidates.gather(1, indices[..., None, None].expand(-1, -1, *candidates.shape[2:]))


def ranked(scores: Tensor) -> Tensor:
    """Indices (B, K) from the best score to the worst; of equals the first comes first."""
    return scores.argsort(dim=1, descending=True, stable=True)


def _shift(actions: Tensor, executed: int) -> Tensor:
    """Actions (..., H, A) without the first `executed`, the last one repeated at the end."""
    horizon = actions.shape[-2]
    index = (torch.arange(horizon, device=actions.device) + executed).clamp(max=horizon - 1)
    return actions[..., index, :]
