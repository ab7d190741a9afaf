"""The known traps of signal-to-noise ratios: ours falls into none."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from eval.intervals import Clusters
from eval.snr.average import averaging
from eval.snr.decisions import by_size, decision, decision_accuracy
from eval.snr.ratio import degenerate, ratio, relative_noise, relative_signal, signal_to_noise
from eval.snr.scores import Measure, Scores
from eval.snr.table import Families, judged, table
from eval.snr.training import Course, courses

NAMES = ("a", "b", "c", "d")


def measure_of(of, names, clusters=None, less=False, name="recall"):
    """Rows [n, k] of a share."""
    of = np.asarray(of, np.float64)
    rows = np.arange(len(of)) if clusters is None else clusters
    return Measure(name, "P", tuple(names), of, np.ones_like(of), Clusters(rows, None), less, 0.03)


def row_of(measure, candidates=None, families=None, days=None):
    [row] = judged(
        [measure], candidates or measure.candidates, families or Families(), days, seed=0
    )
    return row


def exactly(values, less=False):
    k = len(values)
    return Scores(NAMES[:k], np.array(values, float), np.zeros((k, k)), 10_000, less)


scores = arrays(np.float64, st.integers(2, 8), elements=st.floats(0.05, 1))


@given(scores, arrays(np.float64, 5, elements=st.floats(-1, 1)), st.floats(0.001, 0.02))
def test_signal_never_enters_the_noise(means, shifts, size):
    """Families far apart have the noise that each has, however far apart they are."""
    shifts = shifts - shifts.mean()
    near = [np.full(5, 0.5) + size * shifts for _ in means]
    far = [np.full(5, mean) + size * shifts for mean in means]
    one, other = (relative_noise(each) * np.mean(each) for each in (near, far))
    assert one == pytest.approx(other, rel=1e-6, abs=1e-9)


def test_pooled_noise_would_hide_a_tenth_of_the_noise_and_ours_shows_it():
    rng = np.random.default_rng(0)
    means = np.linspace(0.5, 0.9, 6)
    wobble = rng.normal(0, 0.004, (6, 5))
    wobble -= wobble.mean(axis=1, keepdims=True)
    for size in (1.0, 0.1):
        families = list(means[:, None] + size * wobble)
        pooled = signal_to_noise(means, np.ravel(families))
        ours = ratio(relative_signal(means), relative_noise(families))
        assert pooled is not None and pooled < 3.1
        assert ours is not None and ours > 60 / size


ranks = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=7)


@given(ranks, st.permutations(range(7)))
def test_ties_are_half_whatever_the_order(pairs, order):
    first, second = np.array(pairs, float).T
    turned = [k for k in order if k < len(pairs)]
    value = decision_accuracy(first, second)
    assert decision_accuracy(first[turned], second[turned]) == pytest.approx(value)
    by_hand = []
    for i in range(len(pairs)):
        for j in range(i):
            one, other = (np.sign(side[i] - side[j]) for side in (first, second))
            by_hand.append(1.0 if one == other else 0.5 if one * other == 0 else 0.0)
    assert value == pytest.approx(np.mean(by_hand))


def test_a_benchmark_on_which_all_tie_decides_nothing():
    of = np.ones((40, 3))
    row = row_of(measure_of(of, NAMES[:3]), days=exactly([0.9, 0.8, 0.7]))
    assert row["decision_accuracy"] == 0.5
    assert row["gap"] == 0 and row["best"] is None and row["worst"] is None
    assert row["verdict"] != "separates" and row["pairs_separated"] == 0
    assert row["snr_sampling"] is None and "sampling: no noise" in row["undefined"]


@given(scores, st.integers(0, 7))
def test_a_score_that_is_nan_raises_and_never_ranks(values, at):
    broken = values.copy()
    broken[at % len(values)] = np.nan
    for first, second in ((broken, values), (values, broken)):
        with pytest.raises(ValueError, match="none NaN"):
            decision_accuracy(first, second)
    for wrong in (lambda: relative_signal(broken), lambda: relative_noise([broken])):
        with pytest.raises(ValueError, match="NaN"):
            wrong()


def test_a_model_without_a_score_leaves_the_bin_undefined_and_not_perfect():
    of = np.column_stack([np.ones(20), np.zeros(20), np.ones(20)])
    measure = measure_of(of, NAMES[:3])
    over = measure.over.copy()
    over[:, 1] = 0
    blind = Measure("recall", "P", NAMES[:3], of, over, measure.clusters, False, 0.03)
    row = row_of(blind, days=exactly([0.9, 0.8, 0.7]))
    assert row["undefined"] == "a model has no score here" and row["verdict"] == "too small"
    assert "gap" not in row and "decision_accuracy" not in row and "snr_sampling" not in row


@given(st.floats(0.01, 1), st.integers(2, 6), st.floats(1e-18, 1e-16))
def test_noise_of_zero_or_of_rounding_is_undefined_and_not_infinite(score, members, rounding):
    same = np.full(members, score)
    assert signal_to_noise([0.5, 0.6], same) is None
    assert signal_to_noise([0.5, 0.6], same + rounding * score) is None
    sums = np.full(members, score / 3) + score / 3 + score / 3
    assert signal_to_noise([0.5, 0.6], sums) is None


def test_equal_checkpoints_have_no_noise_and_their_average_no_gain():
    rng = np.random.default_rng(1)
    found = rng.random((60, 1)) < 0.7
    other = rng.random((60, 1)) < 0.9
    of = np.column_stack([found, found, found, found, other])
    names = ("e1", "e2", "e3", "mean", "other")
    measure = measure_of(of, names)
    families = Families(checkpoints={"e": ("e1", "e2", "e3")})
    row = row_of(measure, ("mean", "other"), families)
    assert row["snr_checkpoints"] is None and "checkpoints: no noise" in row["undefined"]
    [gain] = averaging([measure], "mean", ("e1", "e2", "e3"), seed=0).to_pylist()
    assert gain["gain"] == 0 and gain["low"] is None and gain["high"] is None


@settings(max_examples=50)
@given(st.integers(3, 7), st.floats(0.0, 0.3), st.booleans())
def test_a_broken_model_is_listed_however_few_the_others_are(others, broken, less):
    """It would lift the ratio tenfold."""
    sound = {f"m{k}": 0.80 + 0.01 * k for k in range(others)}
    values = sound | {"broken": 3.0 - broken if less else broken}
    assert degenerate(values, less_is_better=less) == ["broken"]
    with_it = relative_signal(list(values.values()))
    without = relative_signal(list(sound.values()))
    assert with_it > 5 * without


def test_a_broken_model_lifts_no_ratio_of_the_table():
    rng = np.random.default_rng(2)
    luck = rng.random(400)
    recalls = {"a": 0.85, "b": 0.83, "c": 0.81, "d": 0.80}

    def traces(recalls):
        parts = []
        for name, recall in recalls.items():
            found = luck < recall
            parts.append(
                pa.table(
                    {
                        "weight": [name] * 400,
                        "trace_name": [f"t{k}" for k in range(400)],
                        "event_id": [f"e{k // 2}" for k in range(400)],
                        "p_in_window": np.full(400, 500),
                        "s_in_window": np.full(400, -1),
                        "p_prob": np.where(found, 0.8, 0.1),
                        "p_residual_s": np.full(400, 0.05),
                        "s_prob": pa.nulls(400, pa.float64()),
                        "s_residual_s": pa.nulls(400, pa.float64()),
                    }
                )
            )
        return pa.concat_tables(parts)

    four = table(traces(recalls), tuple(recalls), 0.3, seed=0)
    more = recalls | {"broken": 0.02}
    five = table(traces(more), tuple(more), 0.3, seed=0)
    for one, other in zip(four.to_pylist(), five.to_pylist(), strict=True):
        assert other["excluded"] == "broken" and one["excluded"] == ""
        del one["excluded"], other["excluded"]
        assert one == other, "the rest of the row is as if it had not been there"


def test_days_of_one_cluster_give_no_interval_and_few_clusters_a_wide_one():
    """Truth is held against what was seen of it: two stations say little of all stations."""
    bench = Scores(NAMES, np.array([0.9, 0.8, 0.7, 0.6]), np.eye(4) * 1e-8, 200, False)

    def days(freedom):
        covariance = np.eye(4) * 0.03**2
        return Scores(NAMES, np.array([0.9, 0.8, 0.7, 0.6]), covariance, freedom, False)

    alone = decision(bench, days(0), seed=0)
    assert alone.value == 1.0 and np.isnan(alone.low) and np.isnan(alone.high)
    low = [decision(bench, days(freedom), seed=0).low for freedom in (1, 10, 1000)]
    assert low[0] < low[1] <= low[2]
    assert decision(bench, exactly([0.9, 0.8, 0.7, 0.6]), seed=0).low == 1.0


@pytest.mark.parametrize("swapped", [False, True])
def test_the_interval_of_decision_accuracy_holds_the_truth(swapped):
    """Benchmarks and days of known recalls: the true share of pairs ranked alike is inside."""
    bench = np.array([0.85, 0.75, 0.65, 0.5])
    days = bench[[1, 0, 2, 3]] if swapped else bench
    truth = decision_accuracy(bench, days)
    inside = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        one, other = (
            measure_of(rng.random((n, 4)) < recalls, NAMES).scores(seed=0)
            for n, recalls in ((150, bench), (60, days))
        )
        found = decision(one, other, seed=0, draws=500)
        inside.append(found.low <= truth <= found.high)
    assert np.mean(inside) >= 0.93, np.mean(inside)


def test_the_band_over_sizes_does_not_close_at_the_benchmark_s_own_size():
    """All of it once is not certainty: other events would have been another benchmark."""
    rng = np.random.default_rng(3)
    measure = measure_of(rng.random((30, 4)) < [0.60, 0.57, 0.54, 0.51], NAMES)
    *_, whole = by_size(measure, exactly([0.6, 0.57, 0.54, 0.51]), (5, 30), seed=0).to_pylist()
    assert whole["clusters"] == 30 and whole["low"] < whole["high"]


def test_two_stations_far_apart_are_too_few_and_not_inconclusive():
    """A gap beyond the margin that two clusters cannot tell asks for more."""
    of = np.array([[2.0, 9.9], [4.0, 9.1]])
    measure = replace(measure_of(of, ("a", "b"), less=True), margin=5.0)
    row = row_of(measure)
    assert row["gap"] > measure.margin and row["pairs_separated"] == 0
    assert row["traces_needed"] <= 2, "by power alone there would be enough"
    assert row["verdict"] == "too small"


def test_checkpoints_that_still_improve_are_told_from_those_that_waver():
    """The deviation of a course is signal of the training; it must not pass as noise unseen."""
    assert Course.of([0.1, 0.1, 0.2]).monotonicity == 1.0
    assert Course.of([0.2, 0.1, 0.2, 0.1, 0.2]).monotonicity == 0.0
    assert Course.of([0.2, 0.2]).monotonicity == Course.of([0.2, 0.2]).relative_variation == 0.0
    of = np.array([[0.3, 0.2, 0.1], [0.5, 0.4, 0.3]])
    family = Families(checkpoints={"e": ("a", "b", "c")})
    for less, way in ((True, 1.0), (False, -1.0)):
        [row] = courses([measure_of(of, NAMES[:3], less=less)], family).to_pylist()
        assert (row["first"], row["last"]) == pytest.approx((0.4, 0.2))
        assert row["monotonicity"] == way and row["improvement"] == pytest.approx(way * 0.2 / 3)
    with pytest.raises(ValueError, match="none NaN"):
        Course.of([0.1, np.nan])
