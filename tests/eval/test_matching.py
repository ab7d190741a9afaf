"""The matching is one-to-one and optimal, and exact at the tolerance."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from eval.matching import match, tolerance_ns

GOLDEN = Path(__file__).parents[2] / "../shared/data/golden/benchmark/matching_cases.json"
EPOCH_2022 = 1_644_105_600_000_000_000


def pairs_of(arrivals, picks, tolerance):
    return list(
        zip(
            *match(np.array(arrivals, np.int64), np.array(picks, np.int64), tolerance),
            strict=True,
        )
    )


def count_and_sum(arrivals, picks, pairs):
    return len(pairs), sum(abs(picks[p] - arrivals[a]) for a, p in pairs)


def optimum(arrivals, picks, tolerance):
    """Most pairs, then least sum of |dt|, by the assignment algorithm."""
    dt = np.abs(np.subtract.outer(np.array(arrivals), np.array(picks)))
    dt = dt.reshape(len(arrivals), len(picks))
    reward = 1 + tolerance * max(dt.shape, default=0)
    rows, columns = linear_sum_assignment(np.where(dt <= tolerance, dt - reward, 0))
    inside = dt[rows, columns] <= tolerance
    return int(inside.sum()), int(dt[rows, columns][inside].sum())


times = st.lists(st.integers(0, 60), max_size=12)


@given(times, times, st.integers(0, 25))
def test_matching_is_one_to_one_within_the_tolerance_and_optimal(arrivals, picks, tolerance):
    pairs = pairs_of(arrivals, picks, tolerance)
    assert all(abs(picks[p] - arrivals[a]) <= tolerance for a, p in pairs)
    assert len({a for a, _ in pairs}) == len({p for _, p in pairs}) == len(pairs)
    assert count_and_sum(arrivals, picks, pairs) == optimum(arrivals, picks, tolerance)


@given(times, times, st.integers(0, 25), st.randoms())
def test_order_of_rows_does_not_matter(arrivals, picks, tolerance, random):
    def matched_times(a, p):
        return [(a[i], p[j]) for i, j in pairs_of(a, p, tolerance)]

    before = matched_times(arrivals, picks)
    random.shuffle(arrivals)
    random.shuffle(picks)
    assert matched_times(arrivals, picks) == before


@pytest.mark.parametrize(
    ("arrivals", "picks", "pairs"),
    [
        pytest.param([0, 30], [25, 62], [(0, 0), (1, 1)], id="nearest first strands an arrival"),
        pytest.param([100, 130], [65, 105], [(0, 0), (1, 1)], id="in turn strands an arrival"),
        pytest.param([50], [20, 48, 55], [(0, 1)], id="an arrival takes one pick"),
        pytest.param([50, 54], [51], [(0, 0)], id="a pick takes one arrival"),
        pytest.param([0, 0], [0, 0, 0], [(0, 0), (1, 1)], id="equal times"),
        pytest.param([], [5], [], id="no arrival"),
        pytest.param([5], [], [], id="no pick"),
    ],
)
def test_traps(arrivals, picks, pairs):
    assert pairs_of(arrivals, picks, 40) == pairs


def test_tolerance_includes_its_limit_to_the_nanosecond():
    limit = tolerance_ns(0.5)
    for late in (limit, -limit):
        assert pairs_of([EPOCH_2022], [EPOCH_2022 + late], limit) == [(0, 0)]
    for late in (limit + 1, -limit - 1):
        assert pairs_of([EPOCH_2022], [EPOCH_2022 + late], limit) == []


def test_a_swarm_with_thousands_of_picks_is_one_cluster_and_still_exact():
    """A pick and an arrival every 0.1 s for an hour: nothing splits it into small problems."""
    step = 100_000_000
    arrivals = EPOCH_2022 + step * np.arange(36_000)
    picks = arrivals + np.where(np.arange(36_000) % 2, 30_000_000, -20_000_000)
    first, second = match(arrivals, picks, tolerance_ns(0.5))
    assert np.array_equal(first, np.arange(36_000))
    assert np.array_equal(second, np.arange(36_000))


@pytest.mark.parametrize("seconds", [-0.1, float("nan"), float("inf")])
def test_tolerance_is_a_number_of_seconds(seconds):
    with pytest.raises(ValueError, match="tolerance"):
        tolerance_ns(seconds)


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"no golden matching cases at {GOLDEN}")
def test_golden_cases():
    for case in json.loads(GOLDEN.read_text()):
        arrivals = [round(t * 1e9) for t in case["labels"]]
        picks = [round(t * 1e9) for t in case["picks"]]
        pairs = pairs_of(arrivals, picks, tolerance_ns(case["tol"]))
        assert pairs == [tuple(pair) for pair in case["pairs"]], case["case"]
        count, total = count_and_sum(arrivals, picks, pairs)
        assert (count, len(picks) - count, len(arrivals) - count) == (
            case["TP"],
            case["unmatched_picks"],
            case["FN"],
        )
        assert total == round(case["sum_abs_dt"] * 1e9), case["case"]
