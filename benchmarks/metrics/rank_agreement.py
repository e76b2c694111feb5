"""Whether a learned world orders policies as the real one does: pure functions, nothing of ours.

Scores are what policies reach in the real and in the learned world ("sim"): success rates or mean
returns. R bootstrap draws, P policies; functions take scores (..., P) and work over the last axis.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MIN_POLICIES = 2


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic with its bootstrap interval."""

    value: float
    """NaN where it does not exist, such as a correlation with equal scores."""
    low: float
    high: float
    undefined: float
    """Share of the bootstrap draws in which it does not exist; the interval is over the others."""


def pearson(real: Any, sim: Any) -> np.ndarray:
    """Pearson's correlation of scores (..., P); NaN where either side's are all equal."""
    real, sim = _scores(real, sim)
    x = real - real.mean(axis=-1, keepdims=True)
    y = sim - sim.mean(axis=-1, keepdims=True)
    # Equal scores may differ from their mean by rounding: compare them with each other.
    spread = (np.ptp(real, axis=-1) > 0) & (np.ptp(sim, axis=-1) > 0)
    scale = np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    out = np.full(spread.shape, np.nan)
    return np.divide((x * y).sum(axis=-1), scale, out=out, where=spread).clip(-1, 1)


def spearman(real: Any, sim: Any) -> np.ndarray:
    """Spearman's rank correlation of scores (..., P), ties at their mean rank."""
    real, sim = _scores(real, sim)
    return pearson(mean_ranks(real), mean_ranks(sim))


def mean_ranks(scores: np.ndarray) -> np.ndarray:
    """Ranks from 1 of scores (..., P); equal ones share the mean of their ranks."""
    below = (scores[..., None] > scores[..., None, :]).sum(axis=-1)
    equal = (scores[..., None] == scores[..., None, :]).sum(axis=-1)
    return below + (equal + 1) / 2


def mean_maximum_rank_violation(real: Any, sim: Any) -> np.ndarray:
    """MMRV of scores (..., P), from 0 (order kept), in the unit of the real scores.

    SIMPLER (Li et al., arXiv 2405.05941, section 4): mean over i of the maximum over j of
    |real_i - real_j| where (sim_i < sim_j) differs from (real_i < real_j). How much it costs to
    confuse two policies is told by the real scores alone, so the arguments cannot be exchanged.
    """
    real, sim = _scores(real, sim)
    gap = np.abs(real[..., :, None] - real[..., None, :])
    violated = (sim[..., :, None] < sim[..., None, :]) != (real[..., :, None] < real[..., None, :])
    return (gap * violated).max(axis=-1).mean(axis=-1)


STATISTICS: dict[str, Callable[[Any, Any], np.ndarray]] = {
    "pearson": pearson,
    "spearman": spearman,
    "mmrv": mean_maximum_rank_violation,
}


def estimate_agreement(
    real: Sequence[Any],
    sim: Sequence[Any],
    *,
    seed: int,
    confidence: float = 0.95,
    num_resamples: int = 2000,
) -> dict[str, Estimate]:
    """Every statistic of STATISTICS with its percentile bootstrap interval.

    A draw takes each policy's episodes anew, with replacement, in both worlds: the policies stay
    the same, since the claim is about them.

    Args:
        real: For each of P policies its episodes' outcomes (n_i,), success as 0 or 1, or returns;
            NaN (nothing decided) is left out.
        sim: The same in the learned world; the numbers of episodes may differ.
        seed: Of the resampling.
        confidence: Share of intervals that hold the true value.
        num_resamples: How many times to draw, R.

    Raises:
        ValueError: fewer than two policies, not the same number of them on both sides, or one
            without an outcome.
    """
    if len(real) != len(sim) or len(real) < MIN_POLICIES:
        raise ValueError(
            f"outcomes of {len(real)} policies in the real world and {len(sim)} in the learned "
            f"one: expected those of the same policies, at least {MIN_POLICIES}"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a share between 0 and 1: .95")
    rng = np.random.default_rng(seed)
    sides = [[_outcomes(policy) for policy in side] for side in (real, sim)]
    scores = [np.array([policy.mean() for policy in side]) for side in sides]
    draws = [
        np.stack(
            [rng.choice(policy, (num_resamples, policy.size)).mean(axis=1) for policy in side],
            axis=1,
        )  # (R, P)
        for side in sides
    ]
    tail = (1 - confidence) / 2
    estimates = {}
    for name, statistic in STATISTICS.items():
        values = statistic(*draws)  # (R,)
        defined = values[~np.isnan(values)]
        low, high = np.quantile(defined, [tail, 1 - tail]) if defined.size else (np.nan, np.nan)
        estimates[name] = Estimate(
            value=float(statistic(*scores)),
            low=float(low),
            high=float(high),
            undefined=1 - defined.size / num_resamples,
        )
    return estimates


def _scores(real: Any, sim: Any) -> tuple[np.ndarray, np.ndarray]:
    real, sim = np.asarray(real, np.float64), np.asarray(sim, np.float64)
    if real.shape != sim.shape or real.ndim < 1 or real.shape[-1] < MIN_POLICIES:
        raise ValueError(
            f"real scores have shape {real.shape} and learned ones {sim.shape}: expected the same "
            f"shape (..., policies) with at least {MIN_POLICIES} policies"
        )
    return real, sim


def _outcomes(values: Any) -> np.ndarray:
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if values.ndim != 1 or not values.size:
        raise ValueError("a policy has no decided episode, expected at least one outcome each")
    return values
