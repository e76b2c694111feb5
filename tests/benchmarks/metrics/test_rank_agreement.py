"""Agreement of orders against values worked out by hand, and against scipy's."""

import numpy as np
import pytest

from benchmarks.metrics.rank_agreement import (
    estimate_agreement,
    mean_maximum_rank_violation,
    mean_ranks,
    pearson,
    spearman,
)


def test_mmrv_worked_out_by_hand():
    # The world exchanges the first two: each of them is confused with one that is 0.2 away.
    real, sim = [0.1, 0.3, 0.9], [0.4, 0.2, 0.8]
    assert mean_maximum_rank_violation(real, sim) == pytest.approx((0.2 + 0.2 + 0) / 3)
    # The world takes the best for the worst: the violations are 0.8, 0.6 and the larger of the two.
    assert mean_maximum_rank_violation(real, [0.5, 0.6, 0.1]) == pytest.approx(
        (0.8 + 0.6 + 0.8) / 3
    )


def test_mmrv_is_nothing_where_the_order_is_kept_and_is_not_symmetric():
    real, sim = [0.0, 0.5, 1.0], [0.1, 0.2, 0.3]
    assert mean_maximum_rank_violation(real, sim) == 0
    exchanged = [0.2, 0.1, 0.3]
    assert mean_maximum_rank_violation(real, exchanged) == pytest.approx(1 / 3)
    assert mean_maximum_rank_violation(exchanged, real) == pytest.approx(0.2 / 3)


def test_mmrv_counts_a_tie_in_the_world_against_the_worse_policy_alone():
    # "<" is strict: only for the worse one does the world's answer (not below) differ.
    assert mean_maximum_rank_violation([0.2, 0.8], [0.5, 0.5]) == pytest.approx(0.6 / 2)
    assert mean_maximum_rank_violation([0.5, 0.5], [0.2, 0.8]) == 0


def test_correlations_are_scipys():
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(0)
    real = rng.integers(0, 6, (20, 9)) / 5  # with ties
    sim = real + rng.normal(0, 0.3, real.shape).round(1)
    for a, b, r, rho in zip(real, sim, pearson(real, sim), spearman(real, sim), strict=True):
        assert r == pytest.approx(stats.pearsonr(a, b).statistic)
        assert rho == pytest.approx(stats.spearmanr(a, b).statistic)


def test_ranks_share_their_mean_in_ties():
    np.testing.assert_array_equal(mean_ranks(np.array([3.0, 1.0, 3.0, 2.0])), [3.5, 1, 3.5, 2])


def test_no_correlation_with_equal_scores():
    assert np.isnan(pearson([0.1, 0.2, 0.3], [0.5, 0.5, 0.5]))
    assert np.isnan(spearman([0.1, 0.1, 0.1], [0.1, 0.2, 0.3]))


def outcomes(rates: list[float], count: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [(rng.uniform(size=count) < rate).astype(float) for rate in rates]


def test_intervals_hold_the_value_and_narrow_with_episodes():
    rates = [0.05, 0.3, 0.5, 0.7, 0.95]
    few, many = (
        estimate_agreement(outcomes(rates, n, 1), outcomes(rates, n, 2), seed=0) for n in (20, 500)
    )
    for name in ("pearson", "spearman", "mmrv"):
        for estimates in (few, many):
            assert estimates[name].low <= estimates[name].value <= estimates[name].high
        widths = [estimates[name].high - estimates[name].low for estimates in (few, many)]
        assert widths[1] < widths[0]
    assert many["pearson"].value > 0.98
    again = estimate_agreement(outcomes(rates, 20, 1), outcomes(rates, 20, 2), seed=0)
    assert again == few


def test_a_world_that_reverses_the_order_is_found_out():
    rates = [0.1, 0.3, 0.4, 0.6, 0.9]
    found = estimate_agreement(outcomes(rates, 200, 1), outcomes(rates[::-1], 200, 2), seed=0)
    assert found["pearson"].high < 0
    assert found["mmrv"].value > 0.3


def test_undecided_episodes_are_left_out():
    real = [[0, 1, 0], [1, 1, 1]]
    sim = [[0, np.nan, 0], [1, np.nan, np.nan]]
    kept = [[0, 0], [1]]
    for name, estimate in estimate_agreement(real, sim, seed=0).items():
        assert estimate.value == estimate_agreement(real, kept, seed=0)[name].value


def test_no_interval_where_there_is_no_correlation():
    found = estimate_agreement([[0, 0, 0], [1, 1, 1]], [[0, 1, 0], [0, 1, 0]], seed=0)["pearson"]
    assert np.isnan([found.value, found.low, found.high]).all()


@pytest.mark.parametrize(
    ("real", "sim", "message"),
    [
        ([[1, 0]], [[1, 0]], "at least 2"),
        ([[1], [0]], [[1], [0], [1]], "same policies"),
        ([[1], [0]], [[1], [np.nan]], "no decided episode"),
    ],
)
def test_what_cannot_be_compared_is_refused(real, sim, message):
    with pytest.raises(ValueError, match=message):
        estimate_agreement(real, sim, seed=0)


def test_an_interval_contains_its_estimate_where_percentiles_do_not():
    """Redrawn episodes agree less than those that were played, so percentiles lie below."""
    rates = [0.0, 0.0, 0.02, 0.1, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0]
    for seed in range(20):
        real, sim = outcomes(rates, 40, seed), outcomes(rates, 40, seed + 100)
        for name, estimate in estimate_agreement(real, sim, seed=0).items():
            assert estimate.low <= estimate.value <= estimate.high, (seed, name, estimate)


def test_intervals_of_correlations_are_fishers():
    stats = pytest.importorskip("scipy.stats")
    rates = [0.05, 0.3, 0.5, 0.7, 0.95]
    real, sim = outcomes(rates, 50, 1), outcomes(rates, 50, 2)
    found = estimate_agreement(real, sim, seed=0)["pearson"]
    theirs = stats.pearsonr(
        [one.mean() for one in real], [one.mean() for one in sim]
    ).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx(tuple(theirs))
    assert found.method == "Fisher's z"


def test_a_perfect_correlation_has_a_bound_from_redrawn_episodes():
    rates = [0.1, 0.4, 0.6, 0.9]
    found = estimate_agreement(outcomes(rates, 30, 1), outcomes(rates, 30, 1), seed=0)
    assert found["spearman"].value == found["spearman"].high == 1
    assert 0.5 < found["spearman"].low < 1
    assert found["spearman"].method == "redrawn episodes, one-sided"
    assert found["mmrv"].low == found["mmrv"].value == 0
    assert found["mmrv"].high > 0


def test_three_policies_tell_nothing_of_a_correlation():
    found = estimate_agreement([[0, 1], [1, 1], [0, 0]], [[0, 1], [1, 1], [1, 1]], seed=0)
    assert (found["pearson"].low, found["pearson"].high) == (-1, 1)
