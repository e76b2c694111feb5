"""Bias-corrected and accelerated bootstrap intervals, by scipy: for ratios and correlations."""

import math
import warnings
from collections.abc import Callable, Sequence

import numpy as np


def bca_interval(
    units: Sequence[int],
    statistic: Callable[..., float],
    seed: int,
    confidence: float = 0.95,
    *,
    num_resamples: int = 2000,
) -> tuple[float, float]:
    """BCa bootstrap interval of a statistic (Efron 1987), as scipy computes it.

    A ratio or a correlation of resampled measurements is biased, so that percentiles of its draws
    may leave out the estimate itself; BCa corrects for the bias, as far as it can be estimated.

    Args:
        units: How many independent things were measured on each side, such as episodes, or runs
            and starts. Each side is drawn anew by itself; a side of one is not drawn.
        statistic: Of an array of indices for each side, (n_i,) or shorter, the figure.
        seed: Of the resampling.
        confidence: Share of intervals that hold the true value.
        num_resamples: How many times to draw.

    Returns:
        (low, high), which hold the estimate; twice the estimate where every draw gives the same.
        Both NaN where there is no interval: the statistic does not exist, on the whole or in a
        draw, or nearly all draws lie on one side of it, which is more bias than can be corrected.
    """
    from scipy.stats import bootstrap

    sides = [np.arange(count) for count in units]
    value = float(statistic(*sides)) if all(units) else math.nan
    drawn = [index for index, count in enumerate(units) if count > 1]
    if math.isnan(value) or not drawn:
        return math.nan, math.nan

    def of_drawn(*rows: np.ndarray) -> float:
        chosen = list(sides)
        for index, one in zip(drawn, rows, strict=True):
            chosen[index] = one
        return float(statistic(*chosen))

    with warnings.catch_warnings(), np.errstate(divide="ignore", invalid="ignore"):
        warnings.simplefilter("ignore")  # scipy warns of what NaN says here
        found = bootstrap(
            [sides[index] for index in drawn],
            of_drawn,
            n_resamples=num_resamples,
            vectorized=False,
            confidence_level=confidence,
            method="BCa",
            rng=np.random.default_rng(seed),
        )
    draws = found.bootstrap_distribution
    if np.ptp(draws) == 0:
        return value, value
    low, high = map(float, found.confidence_interval)
    return (low, high) if low <= value <= high else (math.nan, math.nan)
