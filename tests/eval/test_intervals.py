"""Clustered intervals cover the truth where others do not, and never shrink to a point."""

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eval import metrics
from eval.intervals import Clusters, Kind, cluster_sums, rate, ratios, resampled

KINDS = [Kind.PROPORTION, Kind.MEAN]
TRUTH = (0.8, 0.0)


def simulated(rng, events=40, stations=20, recorded=0.3):
    """Scores of standard normal rows with an event's (0.49) and a station's (0.25) share."""
    rows = np.argwhere(rng.random((events, stations)) < recorded)
    event, station = rows[:, 0], rows[:, 1]
    score = 0.7 * rng.normal(size=events)[event] + 0.5 * rng.normal(size=stations)[station]
    score += math.sqrt(1 - 0.49 - 0.25) * rng.normal(size=len(rows))
    return np.stack([score > -0.8416212, score], axis=1).astype(float), Clusters(event, station)


def coverage(simulations):
    """Share of intervals that hold the truth: [clustered, independent] x [proportion, mean]."""
    held = np.zeros((2, 2))
    rng = np.random.default_rng(20)
    for seed in range(simulations):
        rows, clusters = simulated(rng)
        found = ratios(rows, np.ones_like(rows), KINDS, clusters, seed=seed)
        independent = (
            metrics.proportion(int(rows[:, 0].sum()), len(rows)),
            metrics.mean(rows[:, 1]),
        )
        for kind, truth in enumerate(TRUTH):
            for way, estimate in enumerate((found[kind].estimate, independent[kind])):
                held[way, kind] += estimate.low <= truth <= estimate.high
    return held / simulations


def test_clustered_intervals_cover_and_independent_ones_fail_quick():
    clustered, independent = coverage(200)
    assert np.all((clustered > 0.91) & (clustered < 1.0)), clustered
    assert np.all(independent < 0.80), independent


@pytest.mark.slow
def test_clustered_intervals_cover_93_to_97_percent_and_independent_ones_fail():
    clustered, independent = coverage(2_000)
    assert np.all((clustered >= 0.93) & (clustered <= 0.97)), clustered
    assert np.all(independent < 0.70), independent


def test_two_way_variance_is_event_plus_station_minus_pair():
    """Against the formula with the analytic variances of a mean, many clusters."""
    rng = np.random.default_rng(3)
    rows, clusters = simulated(rng, events=300, stations=120, recorded=0.3)
    score = rows[:, 1:]
    [found] = ratios(score, np.ones_like(score), [Kind.MEAN], clusters, seed=1, replicates=4_000)
    rest = score[:, 0] - score.mean()

    def variance(codes):
        return np.square(np.bincount(codes, rest)).sum() / len(rest) ** 2

    pair = np.arange(len(rest))
    expected = variance(clusters.event) + variance(clusters.station) - variance(pair)
    assert found.error**2 == pytest.approx(expected, rel=0.1)
    assert found.freedom == 119


def test_the_same_seed_gives_the_same_interval_and_row_order_does_not_matter():
    rows, clusters = simulated(np.random.default_rng(5))
    ones = np.ones_like(rows)
    first = ratios(rows, ones, KINDS, clusters, seed=9)
    assert ratios(rows, ones, KINDS, clusters, seed=9) == first
    assert ratios(rows, ones, KINDS, clusters, seed=10) != first
    order = np.random.default_rng(0).permutation(len(rows))
    shuffled = ratios(rows[order], ones, KINDS, clusters.take(order), seed=9)
    for one, other in zip(first, shuffled, strict=True):
        assert other.estimate.low == pytest.approx(one.estimate.low, rel=1e-12)


def test_a_replicate_is_the_sum_of_the_clusters_drawn():
    sums = np.array(
        [[1.0], [10.0], [100.0], [1_000.0], [10_000.0]]
    )  # the decimal digits count how often each was drawn
    totals = resampled(sums, 2_000, np.random.default_rng(0))
    digits = np.array([[int(d) for d in f"{int(t[0]):05d}"] for t in totals])
    assert np.all(digits.sum(axis=1) == 5)
    assert digits.mean(axis=0) == pytest.approx(np.ones(5), abs=0.08)


CANCELLING = [
    *(
        (False, event, station)
        for event, station in zip([0, 0, 0, 0, 1, 2, 4, 5], [0, 2, 3, 4, 3, 2, 0, 4], strict=False)
    ),
    *(
        (True, event, station)
        for event, station in zip([0, 0, 0, 2, 2, 3, 5], [3, 4, 4, 0, 2, 2, 0], strict=False)
    ),
]
"""Seven hits of fifteen, of which variances by event, station and both leave next to nothing."""


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 6), st.integers(0, 4)), max_size=30))
@example(CANCELLING)
def test_a_proportion_lies_in_its_interval_and_the_interval_in_0_1(rows):
    hits = np.array([[float(hit)] for hit, _, _ in rows]).reshape(-1, 1)
    events = np.array([e for _, e, _ in rows], np.int64)
    stations = np.array([s for _, _, s in rows], np.int64)
    clusters = Clusters(events, stations)
    [found] = ratios(hits, np.ones_like(hits), [Kind.PROPORTION], clusters, seed=0)
    value, low, high = found.estimate.value, found.estimate.low, found.estimate.high
    if not rows:
        assert math.isnan(value) and found.rows == 0
    elif min(len(set(events)), len(set(stations))) < 2:
        assert value == hits.mean() and math.isnan(low)
    else:
        assert 0 <= low <= value <= high <= 1
        assert high - low > 0.1


def test_one_event_has_a_value_and_no_interval():
    [found] = ratios(
        np.ones((9, 1)),
        np.ones((9, 1)),
        [Kind.PROPORTION],
        Clusters(np.zeros(9, np.int64), np.arange(9)),
        seed=0,
    )
    assert found.estimate.value == 1.0
    assert math.isnan(found.estimate.low)


def test_a_root_is_the_root_of_the_mean_square():
    squares = np.array([[1.0], [4.0], [9.0], [16.0]])
    clusters = Clusters(np.arange(4), None)
    [found] = ratios(squares, np.ones((4, 1)), [Kind.ROOT], clusters, seed=0)
    assert found.estimate.value == pytest.approx(math.sqrt(7.5))


def test_sizes_need_eight_clusters_and_their_upper_end_is_the_farther():
    sizes = np.arange(1.0, 9.0)[:, None] ** 2
    kinds = [Kind.MAGNITUDE, Kind.ROOT, Kind.MEAN]
    for n, known in ((7, False), (8, True)):
        rows = np.repeat(sizes[:n], 3, axis=1)
        found = ratios(rows, np.ones_like(rows), kinds, Clusters(np.arange(n), None), seed=0)
        assert [not math.isnan(one.estimate.low) for one in found] == [known, known, True]
        assert found[0].freedom == n - 1
    mean, root, _ = (one.estimate for one in found)
    assert 0 < mean.low < mean.value < mean.high - (mean.value - mean.low)
    assert root.value == pytest.approx(math.sqrt(mean.value))
    assert root.low == pytest.approx(root.value / math.sqrt(mean.value / mean.low), rel=1e-9)


def test_rows_in_no_event_stay_while_events_are_drawn():
    """Precision: 40 events of 5 matched picks each beside 100 extras, a station each."""
    matched = np.repeat([1.0, 0.0], [200, 100])[:, None]
    events = np.append(np.repeat(np.arange(40), 5), np.full(100, -1))
    stations = np.arange(300)
    arguments = matched, np.ones_like(matched), [Kind.PROPORTION]
    [alone] = ratios(*arguments, Clusters(None, stations), seed=0)
    [both] = ratios(*arguments, Clusters(events, stations), seed=0)
    assert both.error == pytest.approx(alone.error, rel=0.05)  # every event has as many
    assert (alone.freedom, both.freedom) == (299, 39)
    strangers = np.append(events[:200], 40 + np.arange(100))  # each extra an event of its own
    [wide] = ratios(*arguments, Clusters(strangers, stations), seed=0)
    assert wide.error > 1.3 * both.error
    [none] = ratios(*arguments, Clusters(np.full(300, -1), stations), seed=0)
    assert none.freedom == 299


def test_rows_with_denominator_zero_do_not_count():
    rows = np.array([[1.0], [0.0], [1.0], [0.0]])
    counted = np.array([[1.0], [1.0], [0.0], [0.0]])
    clusters = Clusters(np.arange(4), None)
    [found] = ratios(rows * counted, counted, [Kind.PROPORTION], clusters, seed=0)
    assert (found.estimate.value, found.rows, found.freedom) == (0.5, 2, 1)


def test_a_bad_station_widens_the_rate_and_none_at_all_is_garwood():
    """Fifty false picks, all at one station of ten: independent events would say 3.7 to 6.6."""
    counts, hours = np.zeros(10), np.ones(10)
    counts[3] = 50
    stations = Clusters(None, np.arange(10))
    garwood, clustered = rate(counts, hours, stations, seed=0)
    assert garwood.value == clustered.estimate.value == 5.0
    assert 0.0 < clustered.estimate.low < 1.0
    assert clustered.estimate.high > 2 * garwood.high
    nothing, same = rate(np.zeros(10), hours, stations, seed=0)
    assert same.estimate == nothing
    assert nothing.high == pytest.approx(-math.log(0.025) / 10)


def test_too_few_replicates_are_refused():
    with pytest.raises(ValueError, match="at least 2000"):
        ratios(np.ones((2, 1)), np.ones((2, 1)), KINDS[:1], Clusters(None, None), seed=0,
               replicates=100)  # fmt: skip


def test_cluster_sums_of_single_rows_are_the_rows():
    rows = np.arange(8.0).reshape(4, 2)
    assert np.array_equal(cluster_sums(rows, np.array([2, 0, 1, 3])), rows[[1, 2, 0, 3]])
