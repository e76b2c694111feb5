"""BCa intervals against scipy's, and where there are none."""

import math

import numpy as np
import pytest

from benchmarks.metrics.bca import bca_interval
from benchmarks.metrics.rank_agreement import pearson


def test_of_one_side_it_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).exponential(size=40)
    found = bca_interval([40], lambda rows: values[rows].mean(), seed=3)
    theirs = stats.bootstrap(
        [values], np.mean, n_resamples=2000, method="BCa", rng=np.random.default_rng(3)
    ).confidence_interval
    assert found == pytest.approx(tuple(theirs))
    assert found == bca_interval([40], lambda rows: values[rows].mean(), seed=3)


def test_it_holds_the_true_ratio_nineteen_times_in_twenty():
    """Of skewed measurements, runs and starts drawn each by itself."""
    rng, held = np.random.default_rng(0), 0
    for trial in range(100):
        above, below = rng.exponential(2.0, 40), rng.exponential(1.0, 30)
        low, high = bca_interval(
            [40, 30],
            lambda a, b, above=above, below=below: above[a].mean() / below[b].mean(),
            seed=trial,
            num_resamples=300,
        )
        held += low <= 2 <= high
    assert 85 <= held <= 99


def test_a_side_of_one_is_not_drawn():
    values = np.random.default_rng(1).normal(size=(1, 30))
    found = bca_interval([30, 1], lambda rows, runs: values[runs][:, rows].mean(), seed=0)
    assert found == bca_interval([30], lambda rows: values[0, rows].mean(), seed=0)
    assert all(map(math.isnan, bca_interval([1], lambda rows: 2.0, seed=0)))


def test_what_never_changes_has_no_width():
    assert bca_interval([9], lambda rows: 4.0, seed=0) == (4, 4)


def test_no_interval_rather_than_one_beside_the_estimate():
    """A correlation of 11 points nearly on a line, each measured anew with noise."""
    line = np.linspace(0, 1, 11)
    noise = np.random.default_rng(2).normal(0, 0.3, (11, 400))
    noise -= noise[:, :1]  # the first measurement of each is on the line

    def correlation(rows: np.ndarray) -> float:
        shown = line if len(rows) == 400 and (rows == np.arange(400)).all() else noise[:, rows[0]]
        return float(pearson(line, shown if shown is line else line + shown))

    assert all(map(math.isnan, bca_interval([400], correlation, seed=0, num_resamples=200)))


def test_no_interval_of_what_does_not_exist():
    assert all(map(math.isnan, bca_interval([5], lambda rows: math.nan, seed=0)))
    assert all(map(math.isnan, bca_interval([0], lambda rows: 1.0, seed=0)))
