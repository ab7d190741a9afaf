"""A calibrated candidate has no error beyond chance; a confident one is caught."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.calibration import (
    CALIBRATION_SCHEMA,
    RELIABILITY_SCHEMA,
    calibration,
    equal_mass,
    reliability,
)


def judged_of(probability, right, stations=30):
    n = len(probability)
    return pa.table(
        {
            "candidate": pa.repeat("one", n),
            "network": pa.repeat("XX", n),
            "station": [f"S{k % stations}" for k in range(n)],
            "phase": pa.repeat("P", n),
            "probability": pa.array(probability, pa.float64()),
            "matched": pa.array(right, pa.bool_()),
        }
    )


def row_of(table, metric):
    [row] = table.filter((pc.field("metric") == metric) & (pc.field("phase") == "P")).to_pylist()
    return row


def test_definitions_by_hand():
    """Two bins of two: gaps |0.2 - 0.5| and |0.8 - 1|; Brier over four."""
    found = calibration(judged_of([0.1, 0.3, 0.7, 0.9], [False, True, True, True]), seed=0, bins=2)
    assert found.schema == CALIBRATION_SCHEMA
    assert row_of(found, "ece_2_equal_mass")["value"] == pytest.approx((0.6 + 0.4) / 4)
    assert row_of(found, "brier")["value"] == pytest.approx((0.01 + 0.49 + 0.09 + 0.01) / 4)
    points = reliability(judged_of([0.1, 0.3, 0.7, 0.9], [False, True, True, True]), seed=0, bins=2)
    assert points.schema == RELIABILITY_SCHEMA
    rows = [(r["bin"], r["mean_probability"], r["value"], r["n"]) for r in points.to_pylist()]
    assert rows == [(0, pytest.approx(0.2), 0.5, 2), (1, pytest.approx(0.8), 1.0, 2)]


def test_confidence_is_told_from_calibration():
    rng = np.random.default_rng(0)
    probability = rng.random(6_000)
    honest = judged_of(probability, rng.random(6_000) < probability)
    boastful = judged_of(probability, rng.random(6_000) < probability**2)
    at = "ece_15_equal_mass"
    true_error = float(np.mean(probability - probability**2))
    found = row_of(calibration(boastful, seed=0), at)
    assert found["value"] == pytest.approx(true_error, abs=0.02)
    assert found["low"] is None and found["high"] is None  # biased: no interval is honest
    assert row_of(calibration(honest, seed=0), at)["value"] < 0.03 < found["value"]
    points = reliability(honest, seed=0).to_pylist()
    assert len(points) == 15 and {p["n"] for p in points} == {400}
    covered = [p["low"] <= p["mean_probability"] <= p["high"] for p in points]
    assert sum(covered) >= 12


@settings(deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=40), st.randoms())
def test_bins_do_not_depend_on_the_order_and_ties_stay_together(eighths, random):
    values = np.array(eighths) / 8
    bins = equal_mass(values, 5)
    order = list(range(len(values)))
    random.shuffle(order)
    assert np.array_equal(equal_mass(values[order], 5), bins[order])
    assert np.all(np.diff(bins[np.argsort(values, kind="stable")]) >= 0)
    assert len(set(zip(values, bins, strict=True))) == len(set(values))
    assert sorted(set(bins)) == list(range(len(set(bins))))


def test_distinct_probabilities_are_split_equally():
    bins = equal_mass(np.linspace(0.1, 0.9, 32), 15)
    assert np.bincount(bins).tolist() == [3, 3] + [2] * 13


def test_nothing_is_undefined_not_perfect():
    found = calibration(judged_of([0.5], [True]), seed=0)
    [brier_s] = found.filter(
        (pc.field("metric") == "brier") & (pc.field("phase") == "S")
    ).to_pylist()
    assert (brier_s["value"], brier_s["n"]) == (None, 0)
    one = row_of(found, "ece_15_equal_mass")
    assert (one["value"], one["low"]) == (0.5, None)
    with pytest.raises(ValueError, match="no column 'matched'"):
        calibration(judged_of([0.5], [True]).drop_columns("matched"), seed=0)
