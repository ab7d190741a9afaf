"""Thresholds come from development, decisions from test, and the names keep the MCCs apart."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from eval.intervals import Clustered
from eval.metrics import Estimate
from eval.muenchmeyer import (
    DECISION_SCHEMA,
    ONSET_SCHEMA,
    TASK_SCHEMA,
    correlation,
    detection,
    matthews,
    onsets,
    phase_identification,
)


def windows_of(split, positive, scores):
    n = len(scores)
    return pa.table(
        {
            "weight": pa.repeat("one", n),
            "dataset": pa.repeat("set", n),
            "split": pa.repeat(split, n),
            "positive": [bool(p) for p in positive],
            "score": pa.array(scores, pa.float64()),
            "event_id": [f"{split}{k // 2}" if p else None for k, p in enumerate(positive)],
            "station": [f"S{k % 7}" for k in range(n)],
        },
        DECISION_SCHEMA,
    )


def only(table, metric, **where):
    table = table.filter(pc.field("metric") == metric)
    for name, value in where.items():
        table = table.filter(pc.field(name) == value)
    [row] = table.to_pylist()
    return row


def test_detection_by_hand():
    """Development says 0.6; at it the test has 3 hits, 2 alarms, 1 miss, 2 rejections."""
    development = windows_of("development", [1, 1, 0, 0], [0.9, 0.6, 0.5, 0.1])
    test = windows_of("test", [1, 1, 1, 1, 0, 0, 0, 0], [0.9, 0.8, 0.6, 0.55, 0.7, 0.65, 0.2, 0.1])
    found = detection(pa.concat_tables([development, test]), seed=0)
    assert found.schema == TASK_SCHEMA
    mcc = only(found, "mcc_detection")
    assert (mcc["threshold"], mcc["value"], mcc["n"]) == (0.6, pytest.approx(4 / 240**0.5), 8)
    assert mcc["low"] < mcc["value"] < mcc["high"]
    for name, value in (("f1", 6 / 9), ("precision", 3 / 5), ("recall", 3 / 4)):
        assert only(found, f"{name}_detection")["value"] == pytest.approx(value)
    assert (
        "mcc_phase_id_10s"
        in phase_identification(pa.concat_tables([development, test]), seed=0)["metric"].to_pylist()
    )


def test_matthews_is_a_correlation_and_undefined_where_nothing_varies():
    rng = np.random.default_rng(0)
    truth, said = rng.random(500) < 0.4, rng.random(500) < 0.5
    said |= truth & (rng.random(500) < 0.5)
    counts = [(said & truth).sum(), (said & ~truth).sum(), (~said & truth).sum()]
    counts.append(500 - sum(counts))
    expected = np.corrcoef(truth, said)[0, 1]
    assert float(matthews(np.array(counts, float))) == pytest.approx(expected)
    assert np.isnan(matthews(np.array([5.0, 5.0, 0.0, 0.0])))


def test_the_interval_of_mcc_covers_with_clustered_events():
    """Scores of one event rise and fall together; the truth is from a very large sample."""
    rng = np.random.default_rng(1)

    def sample(events, per_event=8):
        quality = np.repeat(rng.normal(0, 0.7, events), per_event)
        hits = 1 + quality + rng.normal(size=len(quality)) > 0.5
        alarms = rng.normal(size=len(quality)) > 0.5
        return hits, alarms

    hits, alarms = sample(200_000)
    n = len(hits)
    truth = float(matthews(np.array([hits.sum(), alarms.sum(), n - hits.sum(), n - alarms.sum()])))
    held = 0
    for seed in range(60):
        hits, alarms = sample(40)
        table = windows_of("test", [1] * 320 + [0] * 320, [*(1.0 * hits), *(1.0 * alarms)])
        events = [f"e{k // 8}" for k in range(320)] + [None] * 320
        at = table.column_names.index("event_id")
        table = table.set_column(at, "event_id", pa.array(events, pa.string()))
        at = table.column_names.index("station")
        table = table.set_column(at, "station", pa.nulls(640, pa.string()))
        fixed = windows_of("development", [1, 0], [1.0, 0.0])
        row = only(detection(pa.concat_tables([fixed, table]), seed=seed), "mcc_detection")
        held += row["low"] <= truth <= row["high"]
    assert row["interval_over"] == "event"
    assert held >= 52


def test_onsets_count_every_window_and_the_limit_is_the_datasets():
    table = pa.table(
        {
            "weight": ["one"] * 4,
            "dataset": ["near", "near", "far", "far"],
            "phase": ["P"] * 4,
            "residual_s": [0.5, -0.4, 0.5, -1.6],
            "event_id": ["a", "b", "c", "d"],
            "station": ["x", "y", "x", "y"],
        },
        ONSET_SCHEMA,
    )
    found = onsets(table, {"near": 0.45}, seed=0)
    assert only(found, "out_gt0.45s_10s", dataset="near", phase="P")["value"] == 0.5
    assert only(found, "out_gt1.5s_10s", dataset="far", phase="P")["value"] == 0.5
    assert only(found, "mae_10s", dataset="far", phase="P")["value"] == pytest.approx(1.05)
    empty = only(found, "mae_10s", dataset="far", phase="S")
    assert (empty["value"], empty["n"]) == (None, 0)


def test_a_development_split_of_one_kind_is_refused():
    with pytest.raises(ValueError, match="does not hold both kinds"):
        detection(windows_of("development", [1, 1], [0.5, 0.6]), seed=0)


def test_no_interval_leaves_what_its_figure_can_be():
    """Few clusters and nearly all right: Student's ends would lie beyond 1."""
    positive = np.arange(40) % 2
    dev, test = (windows_of(split, positive, 1.0 * positive) for split in ("development", "test"))
    wrong = pa.array([0.4, *test["score"].to_pylist()[1:-1], 0.4])
    test = test.set_column(test.column_names.index("score"), "score", wrong)
    found = {
        row["metric"]: row for row in detection(pa.concat_tables([dev, test]), seed=1).to_pylist()
    }
    assert 0.8 < found["mcc_detection"]["value"] < 1
    for name, row in found.items():
        least = -1 if "mcc" in name else 0
        assert least <= row["low"] < row["high"] <= 1 and row["low"] <= row["value"], name


def test_all_right_is_no_proof_of_always_right():
    perfect = Clustered(Estimate(1.0, 1.0, 1.0), 0.0, 5, 20)
    assert math.isnan(correlation(perfect).estimate.low)
    alike = Clustered(Estimate(0.5, 0.5, 0.5), 0.0, 5, 20)  # each cluster right as often
    assert math.isnan(correlation(alike).estimate.low) and math.isnan(
        correlation(alike).estimate.high
    )


def replaced(table, name, values):
    return table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))


def test_noise_varies_where_no_station_is_known():
    """Every window stands alone, so that naming the events must not make the interval narrower."""
    positive = np.repeat([1, 0], 200)
    scores = np.concatenate([np.arange(200) % 20 > 0, np.arange(200) % 2]).astype(float)
    test = replaced(windows_of("test", positive, scores), "station", [None] * 400)
    alone = [f"e{k}" if p else None for k, p in enumerate(positive)]
    fixed = windows_of("development", [1, 0], [1.0, 0.0])
    widths = {}
    for events in (alone, [None] * 400):
        windows = pa.concat_tables([fixed, replaced(test, "event_id", events)])
        for metric in ("mcc_detection", "precision_detection"):
            row = only(detection(windows, seed=0), metric)
            widths[metric, row["interval_over"]] = row["high"] - row["low"]
    for metric in ("mcc_detection", "precision_detection"):
        assert widths[metric, "event"] == pytest.approx(widths[metric, "row"], rel=0.1)


def test_s_windows_are_no_noise():
    """Of no known event, each is a cluster of its own: of 10 P and 40 S windows none is still."""
    positive = np.repeat([1, 0], [10, 40])
    test = windows_of("test", positive, np.arange(50) % 3 > 0)
    test = replaced(test, "event_id", [f"e{k}" if p else None for k, p in enumerate(positive)])
    test = replaced(test, "station", [f"S{k}" for k in range(50)])
    fixed = windows_of("development", [1, 0], [1.0, 0.0])
    found = phase_identification(pa.concat_tables([fixed, test]), seed=0)
    assert only(found, "mcc_phase_id_10s")["clusters"] == 50
