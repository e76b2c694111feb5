"""Whether a learned world orders policies as the real one does: pure functions, nothing of ours.

Scores are what policies reach in the real and in the learned world ("sim"): success rates or mean
returns. R draws, P policies; functions take scores (..., P) and work over the last axis.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

MIN_POLICIES = 2


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A statistic with an interval that contains it."""

    value: float
    """NaN where it does not exist, such as a correlation with equal scores; so are its bounds."""
    low: float
    high: float
    method: Literal["Fisher's z", "redrawn episodes, one-sided"]
    """Where the interval comes from: see `estimate_agreement`."""


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
    confuse two policies is decided by the real scores alone, so the arguments cannot be exchanged.
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
# Of Fisher's z of a correlation over P policies.
STANDARD_ERRORS: dict[str, Callable[[float, int], float]] = {
    "pearson": lambda _, policies: 1 / math.sqrt(policies - 3),
    "spearman": lambda rho, policies: math.sqrt((1 + rho**2 / 2) / (policies - 3)),
}


def estimate_agreement(
    real: Sequence[Any],
    sim: Sequence[Any],
    *,
    seed: int,
    confidence: float = 0.95,
    num_resamples: int = 2000,
) -> dict[str, Estimate]:
    """Every statistic of STATISTICS with an interval that contains it.

    Correlations: Fisher's z, with the policies as the sample. Its standard error is
    1 / sqrt(P - 3) for Pearson's (scipy) and sqrt((1 + rho^2 / 2) / (P - 3)) for Spearman's
    (Bonett and Wright, Psychometrika 65, 2000); of three policies or fewer nothing is known, which
    is [-1, 1].

    MMRV, and a correlation of exactly 1 or -1, where Fisher's z does not exist: each policy's
    episodes are drawn anew, with replacement, in both places, and the interval reaches from the
    perfect value (0 of MMRV, else the correlation itself) to the percentile of the draws.
    Redrawing adds noise, which makes agreement look worse, so that such a bound is on the safe
    side, while two percentiles around an estimate often leave it out.

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
        raise ValueError(f"confidence is {confidence}, expected a share between 0 and 1: 0.95")
    sides = [[_outcomes(policy) for policy in side] for side in (real, sim)]
    scores = [np.array([policy.mean() for policy in side]) for side in sides]
    rng = np.random.default_rng(seed)
    draws = [
        np.stack(
            [rng.choice(policy, (num_resamples, policy.size)).mean(axis=1) for policy in side],
            axis=1,
        )  # (R, P)
        for side in sides
    ]
    estimates = {}
    for name, statistic in STATISTICS.items():
        value = float(statistic(*scores))
        if name in STANDARD_ERRORS and abs(value) < 1:
            low, high = _fisher_interval(name, value, len(real), confidence)
            estimates[name] = Estimate(value=value, low=low, high=high, method="Fisher's z")
        else:
            low, high = _one_sided(value, statistic(*draws), confidence)
            method = "redrawn episodes, one-sided"
            estimates[name] = Estimate(value=value, low=low, high=high, method=method)
    return estimates


def _fisher_interval(
    name: str, value: float, num_policies: int, confidence: float
) -> tuple[float, float]:
    from scipy.special import ndtri

    if num_policies <= 3:
        return -1.0, 1.0
    half = ndtri((1 + confidence) / 2) * STANDARD_ERRORS[name](value, num_policies)
    z = np.arctanh(value)
    return float(np.tanh(z - half)), float(np.tanh(z + half))


def _one_sided(value: float, draws: np.ndarray, confidence: float) -> tuple[float, float]:
    """Bounds from a perfect value to the percentile of the draws on the other side of it."""
    defined = draws[~np.isnan(draws)]
    if math.isnan(value) or not defined.size:
        return math.nan, math.nan
    if value == 1:
        return min(value, float(np.quantile(defined, 1 - confidence))), value
    bound = max(value, float(np.quantile(defined, confidence)))
    return (value if value == -1 else 0.0), bound


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
