"""Against an incomplete truth: recall stands, precision is a bound, and an extra is an extra."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from catalog.truth import ARRIVAL_SCHEMA
from eval.comparison import compare
from eval.reviewed import CURVE_SCHEMA, REVIEWED_SCHEMA, curve, extras, found_on, score
from eval.strata import with_pick_snr
from eval.thresholds import Thresholds, picks_at

GOLDEN = Path(__file__).parents[2] / "../shared/data/golden/benchmark/matching_cases.json"
T0 = 1_644_105_600_000_000_000
UTC_NS = pa.timestamp("ns", tz="UTC")


def arrivals_of(*rows):
    """Rows (event, station, seconds after T0), all P."""
    events, stations, seconds = zip(*rows, strict=True) if rows else ((), (), ())
    n = len(rows)
    return pa.table(
        {
            "network": pa.repeat("XX", n),
            "station": pa.array(stations, pa.string()),
            "location": pa.repeat("", n),
            "phase": pa.repeat("P", n),
            "time": pa.array([T0 + round(s * 1e9) for s in seconds], UTC_NS),
            "event": pa.array(events, pa.string()),
        },
        ARRIVAL_SCHEMA,
    )


def picks_of(*rows, candidate="one"):
    """Rows (station, seconds after T0, probability, saddle)."""
    n = len(rows)
    stations, seconds, probability, saddle = zip(*rows, strict=True) if rows else ((),) * 4
    return pa.table(
        {
            "candidate": pa.repeat(candidate, n),
            "network": pa.repeat("XX", n),
            "station": pa.array(stations, pa.string()),
            "location": pa.repeat("", n),
            "phase": pa.repeat("P", n),
            "time": pa.array([T0 + round(s * 1e9) for s in seconds], UTC_NS),
            "offset_ns": pa.repeat(0, n).cast(pa.int32()),
            "probability": pa.array(probability, pa.float32()),
            "saddle": pa.array(saddle, pa.float32()),
        }
    )


def only(table, **where):
    for name, value in where.items():
        table = table.filter(pc.equal(table[name], value))
    [row] = table.to_pylist()
    return row


ARRIVALS = arrivals_of(
    *((f"e{e}", f"S{s}", 100.0 * e + s) for e in range(6) for s in range(4)),
)


def test_definitions_and_tolerances_by_hand():
    """Of 24 arrivals: 12 found 0.2 s late, 6 found 0.8 s early, 6 missed; 5 extras far away."""
    picks = picks_of(
        *((f"S{s}", 100.0 * e + s + (0.2 if e < 3 else -0.8), 0.5, 0.0)
          for e in range(6) for s in range(4) if e < 3 or s < 2),
        *((f"S{k % 4}", 5_000.0 + 10 * k, 0.4, 0.0) for k in range(5)),
    )  # fmt: skip
    scores = score(picks, ARRIVALS, strata=("all",), seed=0)
    assert scores.schema == REVIEWED_SCHEMA
    matched = {0.1: 0, 0.25: 12, 0.5: 12, 1.0: 18}
    for tolerance, tp in matched.items():
        find = {"phase": "P", "tolerance_s": tolerance}
        recall = only(scores, metric=f"recall_{tolerance:g}s", **find)
        bound = only(scores, metric=f"precision_lower_{tolerance:g}s", **find)
        f1 = only(scores, metric=f"f1_lower_{tolerance:g}s", **find)
        assert (recall["value"], recall["n"]) == (tp / 24, 24)
        assert (bound["value"], bound["n"], bound["extra"]) == (tp / 23, 23, 23 - tp)
        assert (f1["value"], f1["n"]) == (pytest.approx(2 * tp / 47), 47)
        assert recall["interval_over"] == "event+station"
        assert bound["interval_over"] == f1["interval_over"] == "event+station"
        assert recall["clusters"] == 4
    mae = only(scores, metric="mae_1s", phase="P")
    assert (mae["value"], mae["n"]) == (pytest.approx((12 * 0.2 + 6 * 0.8) / 18), 18)
    nothing = only(scores, metric="mae_0.1s", phase="P")
    assert (nothing["value"], nothing["low"], nothing["n"]) == (None, None, 0)
    no_s = only(scores, metric="recall_0.5s", phase="S")
    assert (no_s["value"], no_s["n"]) == (None, 0)


def test_per_station_and_signal_to_noise():
    picks = picks_of(("S0", 0.0, 0.9, 0.0), ("S1", 1.0, 0.9, 0.0), ("S1", 50.0, 0.9, 0.0))
    picks = picks.append_column("amplitude", pa.array([100.0, 10.0, 0.0]))
    picks = with_pick_snr(picks.append_column("noise_amplitude", pa.array([1.0, 1.0, 1.0])))
    assert picks["snr_db"].to_pylist() == [40.0, 20.0, None]
    arrivals = ARRIVALS.append_column("snr_db", pa.array([25.0] * 24))
    scores = score(picks, arrivals, (0.5,), ("station", "snr_bin"), seed=0)
    station = only(scores, bin="XX.S1", metric="recall_0.5s", phase="P")
    assert (station["value"], station["matched"], station["n"]) == (1 / 6, 1, 6)
    assert station["low"] is None, "one station is one cluster"
    bound = only(scores, bin="XX.S1", metric="precision_lower_0.5s", phase="P")
    assert (bound["value"], bound["extra"]) == (0.5, 1)
    snr = only(scores, bin=">=30 dB", metric="precision_lower_0.5s", phase="P")
    assert (snr["value"], snr["n"]) == (1.0, 1)
    assert only(scores, bin="20-30 dB", metric="recall_0.5s", phase="P")["n"] == 24


def test_a_silent_candidate_is_scored_and_has_no_precision():
    scores = score(picks_of(), ARRIVALS, (0.5,), ("all",), ("silent",), seed=0)
    recall = only(scores, metric="recall_0.5s", phase="P")
    assert (recall["value"], recall["n"]) == (0.0, 24)
    assert recall["high"] > 0.2
    assert only(scores, metric="precision_lower_0.5s", phase="P")["value"] is None


def test_extras_and_found_arrivals_partition_the_picks():
    picks = pa.concat_tables(
        [
            picks_of(("S0", 0.0, 0.9, 0.0), ("S0", 0.3, 0.8, 0.0), ("S3", 7.0, 0.5, 0.0)),
            picks_of(("S2", 2.1, 0.9, 0.0), candidate="two"),
        ]
    )
    left = extras(picks, ARRIVALS)
    assert left["probability"].to_pylist() == pytest.approx([0.8, 0.5])
    found = found_on(picks, ARRIVALS)
    hits = found.filter(found["found"]).select(["candidate", "event", "station"]).to_pylist()
    assert [tuple(hit.values()) for hit in hits] == [
        ("one", "e0", "XX.S0"),
        ("two", "e0", "XX.S2"),
    ]
    compared = compare(found, "two", seed=0).to_pylist()
    assert (compared[0]["only_candidate"], compared[0]["only_baseline"]) == (1, 1)
    twice = pa.concat_tables([ARRIVALS, ARRIVALS.slice(0, 1)])
    with pytest.raises(ValueError, match=r"P stands twice at XX\.S0"):
        found_on(picks, twice)


def test_picks_stand_by_the_rule_of_the_catalogue():
    """0.7 as a float32 reaches 0.7; a saddle at half the threshold joins."""
    picks = picks_of(("A", 0.0, 0.7, 0.0), ("A", 5.0, 0.9, 0.35), ("A", 9.0, 0.69999, 0.0))
    assert picks_at(picks, 0.7)["time"].to_pylist() == picks["time"].to_pylist()[:1]
    assert picks_at(picks, Thresholds({"one": {"P": 0.72, "S": 0.3}})).num_rows == 1
    assert picks_at(picks, 0.6).num_rows == 2


def test_the_curve_matches_anew_at_each_threshold():
    """A strong early pick takes the arrival from 0.6 on; below, the weak one may have it too."""
    picks = picks_of(("S0", 0.4, 0.9, 0.0), ("S0", 0.1, 0.5, 0.0), ("S0", 60.0, 0.7, 0.0))
    found = curve(picks, ARRIVALS, (0.3, 0.6, 0.8, 0.95))
    assert found.schema == CURVE_SCHEMA
    rows = [row for row in found.to_pylist() if row["phase"] == "P"]
    assert [(r["picks"], r["matched"], r["extra"]) for r in rows] == [
        (3, 1, 2),
        (2, 1, 1),
        (1, 1, 0),
        (0, 0, 0),
    ]
    assert rows[2]["precision_lower"] == 1.0
    assert rows[3]["precision_lower"] is None


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"no golden matching cases at {GOLDEN}")
def test_golden_matching_cases_in_every_count():
    cases = json.loads(GOLDEN.read_text())
    for case in cases:
        arrivals = arrivals_of(*((f"e{i}", "S", t + 10) for i, t in enumerate(case["labels"])))
        picks = picks_of(*(("S", t + 10, 0.9, 0.0) for t in case["picks"]))
        scores = score(picks, arrivals, (case["tol"],), ("all",), ("one",), seed=0)
        row = only(scores, metric="recall_0.5s", phase="P")
        counts = row["matched"], row["extra"], row["n"] - row["matched"]
        assert counts == (case["TP"], case["unmatched_picks"], case["FN"]), case["case"]
        mae = only(scores, metric="mae_0.5s", phase="P")["value"] or 0.0
        assert mae * case["TP"] == pytest.approx(case["sum_abs_dt"], abs=1e-8), case["case"]
    assert len(cases) == 8


def test_recall_intervals_cover_the_planted_truth():
    """Stations hear well or badly and events are large or small; the truth is 0.7."""
    rng = np.random.default_rng(3)
    held = 0
    for seed in range(60):
        hears, size = rng.normal(0, 0.5, 15), rng.normal(0, 0.5, 40)
        rows = [(e, s) for e in range(40) for s in range(15)]
        latent = np.array([hears[s] + size[e] for e, s in rows]) + rng.normal(0, 0.5**0.5, 600)
        found = latent > -0.5244  # the 0.3 quantile of the standard normal
        arrivals = arrivals_of(*((f"e{e}", f"S{s}", 100.0 * e) for e, s in rows))
        picks = picks_of(
            *(
                (f"S{s}", 100.0 * e, 0.9, 0.0)
                for (e, s), hit in zip(rows, found, strict=True)
                if hit
            )
        )
        row = only(score(picks, arrivals, (0.5,), ("all",), seed=seed), metric="recall_0.5s",
                   phase="P")  # fmt: skip
        held += row["low"] <= 0.7 <= row["high"]
    assert held >= 52
