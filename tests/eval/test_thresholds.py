"""Thresholds meet what they were solved for, there and at every higher threshold."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.thresholds import (
    Frozen,
    Thresholds,
    counts_at,
    equal_counts,
    f1_optimal,
    f1_timed,
    named,
    picks_at,
    threshold_for_count,
    threshold_for_rate,
)

sixteenths = st.integers(0, 16).map(lambda k: k / 16)
picks = st.lists(st.tuples(sixteenths, sixteenths), max_size=12)
GRID = np.arange(1, 65) / 64


def standing(some, threshold):
    """The rule of the catalogue, row by row."""
    return sum(p >= threshold and s < threshold / 2 for p, s in some)


def arrays(some):
    return np.array([p for p, _ in some]), np.array([s for _, s in some])


@settings(deadline=None)
@given(picks)
def test_counts_are_the_catalogues(some):
    probability, saddle = arrays(some)
    expected = [standing(some, t) for t in GRID]
    assert counts_at(probability, GRID, saddle).tolist() == expected


@settings(deadline=None)
@given(picks, st.integers(0, 6))
def test_a_threshold_for_a_count_holds_above_it_and_is_the_lowest(some, count):
    probability, saddle = arrays(some)
    if standing(some, 1.0) > count:
        with pytest.raises(ValueError, match="probability 1"):
            threshold_for_count(probability, count, saddle)
        return
    threshold = threshold_for_count(probability, count, saddle)
    assert all(standing(some, t) <= count for t in GRID if t >= threshold)
    below = [edge for p, s in some for edge in (p, 2 * s) if 2 * s < p and edge < threshold]
    lower = [t for t in GRID if t <= max(below, default=0.0)]
    assert all(any(standing(some, t) > count for t in GRID if t >= low) for low in lower)


def test_splitting_can_raise_the_count_with_the_threshold():
    """Two peaks joined at 0.2: one pick at 0.3, two at 0.5. At most one stands from 0.75 on."""
    probability, saddle = np.array([0.9, 0.7]), np.array([0.0, 0.2])
    assert counts_at(probability, np.array([0.3, 0.5, 0.8]), saddle).tolist() == [1, 2, 1]
    assert threshold_for_count(probability, 1, saddle) == pytest.approx(0.8)


def test_a_rate_counts_over_all_hours_and_does_not_fall_below_the_floor():
    probability = np.array([0.95, 0.8, 0.6, 0.4, 0.2])
    assert threshold_for_rate(probability, 4.0, 0.5) == pytest.approx(0.7)
    assert counts_at(probability, np.array([0.7]))[0] == 2
    assert threshold_for_rate(probability, 4.0, 10.0, floor=0.1) == 0.1
    with pytest.raises(ValueError, match="hours"):
        threshold_for_rate(probability, 0.0, 1.0)


def test_equal_counts_emit_equally():
    rng = np.random.default_rng(0)
    probability = np.concatenate([rng.random(500), rng.random(900) ** 3])
    columns = {
        "candidate": ["one"] * 500 + ["two"] * 900,
        "phase": ["P"] * 1_400,
        "probability": probability,
    }
    solved = equal_counts(pa.table(columns), {"P": 100})
    assert solved.at("one", "P") > solved.at("two", "P")
    for name, own in (("one", probability[:500]), ("two", probability[500:])):
        assert (own >= solved.at(name, "P")).sum() == 100

    picks = pa.table(columns | {"saddle": probability * rng.random(1_400)})
    standing = picks_at(picks, equal_counts(picks, {"P": 50}))
    for name in ("one", "two"):
        assert 49 <= standing["candidate"].to_pylist().count(name) <= 50


def test_f1_optimal_against_every_threshold():
    rng = np.random.default_rng(1)
    positive, negative = rng.normal(0.6, 0.2, 60), rng.normal(0.3, 0.2, 90)

    def f1(t):
        return 2 * (positive >= t).sum() / ((positive >= t).sum() + (negative >= t).sum() + 60)

    best = f1_optimal(positive, negative)
    assert f1(best) == max(f1(t) for t in np.concatenate([positive, negative]))
    assert f1_optimal(np.array([0.9, 0.8]), np.array([0.1])) == 0.8


def test_frozen_thresholds_survive_to_the_last_bit_and_never_come_from_the_test_split():
    thresholds = Thresholds({"one": {"P": 0.1 + 0.2, "S": 1 / 3}})
    frozen = Frozen.solved(thresholds, "1 false P an hour", "tuning", ["b", "a"])
    assert Frozen.from_json(frozen.to_json()) == frozen
    assert frozen == Frozen.solved(thresholds, "1 false P an hour", "tuning", ["a", "b"])
    assert frozen != Frozen.solved(thresholds, "1 false P an hour", "tuning", ["a", "c"])
    with pytest.raises(ValueError, match="test split"):
        Frozen.solved(thresholds, "1 false P an hour", "test", ["a"])
    strange = json.loads(frozen.to_json()) | {"thresholds": {"one": {"Pn": 0.3}}}
    with pytest.raises(ValueError, match=r"unknown phases \['Pn'\]"):
        Frozen.from_json(json.dumps(strange))


@pytest.mark.parametrize(("threshold", "name"), [(0.3, "t0.30"), (0.275, "t0.275"), (1.0, "t1.00")])
def test_names(threshold, name):
    assert named(threshold) == name


@pytest.mark.parametrize("threshold", [0.0, -0.1, 1.1])
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(ValueError, match=r"give \(0, 1\]"):
        Thresholds.of(threshold).at("one", "P")


def test_a_peak_far_from_its_label_costs_f1_twice_and_the_best_is_that_of_every_threshold():
    """Loud peaks beyond 0.5 s: the threshold of detection alone would take them all."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        score = rng.uniform(0.01, 1, 60).round(2)
        off = np.where(rng.uniform(size=60) < score, 0.5, 0.51) * rng.choice([-1, 1], 60)
        columns = {"candidate": ["one"] * 60, "phase": ["P"] * 60}
        peaks = pa.table(columns | {"probability": score, "residual_s": off})
        solved = f1_timed(peaks, 0.3)

        timely = np.abs(off) <= 0.5

        def f1(t, score=score, timely=timely):
            emitted = score >= t
            return 2 * (emitted & timely).sum() / (emitted.sum() + len(score))

        best = max(f1(t) for t in score)
        assert f1(solved.at("one", "P")) == best > f1(0.01)
        assert solved.at("one", "S") == 0.3  # nobody labelled it

    never = pa.table(columns | {"probability": score, "residual_s": np.full(60, 2.0)})
    assert f1_timed(never, 0.3).at("one", "P") == 1.0


def test_equal_counts_stay_at_the_floor_where_there_are_fewer_picks():
    """Half of a threshold below the floor would be under every saddle: no pick would stand."""
    picks = pa.table(
        {
            "candidate": pa.repeat("few", 4),
            "phase": pa.repeat("P", 4),
            "probability": pa.array([0.5, 0.4, 0.3, 0.2], pa.float32()),
            "saddle": pa.array([0.04, 0.02, 0.03, 0.001], pa.float32()),
        }
    )
    for count in (4, 10):
        solved = equal_counts(picks, {"P": count}, {"few": {"P": 0.1}})
        assert solved.at("few", "P") == 0.1
        assert picks_at(picks, solved).num_rows == 4
