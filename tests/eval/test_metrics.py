"""Published values of the intervals, and the definitions behind the names."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eval import metrics


def rounded(estimate, digits):
    return tuple(round(x, digits) for x in (estimate.value, estimate.low, estimate.high))


def test_wilson_interval_as_published():
    """Newcombe 1998, table I, method 3."""
    assert rounded(metrics.proportion(81, 263), 4) == (0.3080, 0.2553, 0.3662)
    assert rounded(metrics.proportion(15, 148), 4) == (0.1014, 0.0624, 0.1605)
    assert rounded(metrics.proportion(0, 20), 4) == (0.0, 0.0, 0.1611)
    assert rounded(metrics.proportion(1, 29), 4) == (0.0345, 0.0061, 0.1718)


def test_garwood_interval_has_exact_poisson_tails():
    estimate = metrics.rate_per_hour(7, hours=2.0)
    assert estimate.value == 3.5
    assert stats.poisson.sf(6, 2 * estimate.low) == pytest.approx(0.025)
    assert stats.poisson.cdf(7, 2 * estimate.high) == pytest.approx(0.025)
    nothing = metrics.rate_per_hour(0, hours=10.0)
    assert (nothing.value, nothing.low) == (0.0, 0.0)
    assert nothing.high == pytest.approx(-math.log(0.025) / 10)


@given(st.integers(0, 500), st.integers(0, 500))
def test_a_proportion_lies_in_its_interval(successes, failures):
    estimate = metrics.proportion(successes, successes + failures)
    if successes + failures == 0:
        assert math.isnan(estimate.value)
    else:
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1


def test_f1_is_the_harmonic_mean_of_precision_and_recall():
    estimate = metrics.f1_score(matched=30, picks=40, arrivals=50)
    assert estimate.value == pytest.approx(stats.hmean([30 / 40, 30 / 50]))
    assert estimate.low < estimate.value < estimate.high < 1


def test_median_interval_leaves_out_what_the_binomial_allows():
    """At 20 values, 5 on either side: 1 - 2 P(B <= 5) = 0.9586, one more would be 0.8847."""
    values = np.arange(1.0, 21.0)[::-1].copy()
    assert metrics.median(values) == metrics.Estimate(10.5, 6.0, 15.0)
    assert metrics.median(values[:6]) == metrics.Estimate(17.5, 15.0, 20.0)
    assert math.isnan(metrics.median(values[:5]).low)


def test_residual_statistics_have_their_textbook_values():
    residuals = np.array([-0.3, -0.1, 0.0, 0.2, 0.4])
    mean = metrics.mean(residuals)
    half = 2.776445 * np.std(residuals, ddof=1) / math.sqrt(5)
    assert (mean.low, mean.high) == pytest.approx((0.04 - half, 0.04 + half))
    assert metrics.mean_absolute(residuals).value == pytest.approx(0.2)
    assert metrics.root_mean_square(residuals).value == pytest.approx(math.sqrt(0.06))
    assert metrics.root_mean_square(residuals).low >= 0


def test_score_names_its_definitions_and_counts():
    row = metrics.score_complete_truth(np.array([0.1, -0.1, 0.3]), 5, 4, 2.0, tolerance_s=0.5)
    counts = ("arrivals", "picks", "matched", "missed", "false_picks")
    assert [row[name] for name in counts] == [4, 5, 3, 1, 2]
    assert row["recall_0.5s"] == 0.75
    assert row["precision_0.5s"] == 0.6
    assert row["f1_0.5s"] == pytest.approx(2 / 3)
    assert row["false_picks_per_station_hour_0.5s"] == 1.0
    assert row["median_matched_s"] == pytest.approx(0.1)
    assert row["mae_matched_s"] == pytest.approx(0.5 / 3)
    assert {"recall_0.5s_low", "mae_matched_s_high"} <= row.keys()
    assert "recall_1s" in metrics.score_complete_truth(np.array([]), 0, 0, 1.0, tolerance_s=1.0)


def test_nothing_to_score_is_nan_not_zero():
    row = metrics.score_complete_truth(np.array([]), 0, 0, 1.0, tolerance_s=0.5)
    for name in ("recall_0.5s", "precision_0.5s", "f1_0.5s", "mae_matched_s", "rmse_matched_s"):
        assert math.isnan(row[name]), name
    assert row["false_picks_per_station_hour_0.5s"] == 0.0


@pytest.mark.parametrize("hours", [0.0, -1.0, math.nan, math.inf])
def test_a_rate_needs_hours(hours):
    with pytest.raises(ValueError, match="hours"):
        metrics.rate_per_hour(1, hours)


def test_more_pairs_than_picks_are_refused():
    with pytest.raises(ValueError, match="2 matched pairs of 1 picks"):
        metrics.score_complete_truth(np.zeros(2), 1, 3, 1.0, tolerance_s=0.5)
