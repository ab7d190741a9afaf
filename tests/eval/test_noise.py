"""Rates on verified noise: counted inside the windows only, and as uncertain as stations differ."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from scipy import stats

from eval.comparison import compare_rates
from eval.noise import COUNT_SCHEMA, RATE_SCHEMA, rates, station_rates, thresholds_at, window_counts
from eval.thresholds import picks_at

T0 = 1_644_105_600_000_000_000
HOUR = 3_600_000_000_000
UTC_NS = pa.timestamp("ns", tz="UTC")


def noise_of(*rows):
    """Rows (station, first hour, last hour)."""
    stations, starts, ends = zip(*rows, strict=True)
    n = len(rows)
    return pa.table(
        {
            "network": pa.repeat("XX", n),
            "station": list(stations),
            "location": pa.repeat("", n),
            "start": pa.array([T0 + round(h * HOUR) for h in starts], UTC_NS),
            "end": pa.array([T0 + round(h * HOUR) for h in ends], UTC_NS),
        }
    )


def picks_of(*rows):
    """Rows (candidate, station, hour, probability, saddle), all P."""
    candidates, stations, hours, probability, saddle = zip(*rows, strict=True)
    n = len(rows)
    return pa.table(
        {
            "candidate": list(candidates),
            "network": pa.repeat("XX", n),
            "station": list(stations),
            "location": pa.repeat("", n),
            "phase": pa.repeat("P", n),
            "time": pa.array([T0 + round(h * HOUR) for h in hours], UTC_NS),
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


NOISE = noise_of(("A", 0, 2), ("A", 3, 4), ("B", 0, 3), ("C", 10, 14))
PICKS = picks_of(
    ("one", "A", 0, 0.9, 0.0),  # the start is inside
    ("one", "A", 2, 0.9, 0.0),  # the end is not
    ("one", "A", 2.5, 0.9, 0.0),
    ("one", "A", 3.5, 0.6, 0.0),
    ("one", "B", 1, 0.4, 0.0),
    ("one", "B", 1.1, 0.8, 0.3),  # joined to the one before up to 0.6
    ("one", "C", 1, 0.9, 0.0),
    ("one", "D", 1, 0.9, 0.0),
    ("two", "C", 12, 0.35, 0.0),
)


def test_rates_by_hand():
    found = rates(PICKS, NOISE, (0.3, 0.5, 0.7), ("silent",), seed=0)
    assert found.schema == RATE_SCHEMA
    counts = {t: only(found, candidate="one", phase="P", threshold=t) for t in (0.3, 0.5, 0.7)}
    assert [row["count"] for row in counts.values()] == [3, 2, 2]
    row = counts[0.3]
    assert (row["hours"], row["windows"], row["value"], row["clusters"]) == (10.0, 4, 0.3, 3)
    assert row["garwood_low"] == pytest.approx(stats.chi2.ppf(0.025, 6) / 20)
    assert row["garwood_high"] == pytest.approx(stats.chi2.ppf(0.975, 8) / 20)
    silent = only(found, candidate="silent", phase="P", threshold=0.3)
    assert (silent["value"], silent["low"]) == (0.0, 0.0)
    assert silent["high"] == silent["garwood_high"] == pytest.approx(stats.chi2.ppf(0.975, 2) / 20)


def test_stations_and_windows_sum_to_the_rate():
    per_station = station_rates(PICKS, NOISE, (0.3,))
    own = per_station.filter(
        (pc.field("candidate") == "one") & (pc.field("phase") == "P")
    ).to_pylist()
    assert [(r["station"], r["count"], r["hours"]) for r in own] == [
        ("XX.A", 2, 3.0),
        ("XX.B", 1, 3.0),
        ("XX.C", 0, 4.0),
    ]
    windows = window_counts(PICKS, NOISE, 0.3)
    assert windows.schema == COUNT_SCHEMA
    one = windows.filter((pc.field("candidate") == "one") & (pc.field("phase") == "P"))
    assert one["count"].to_pylist() == [1, 1, 1, 0]
    [p, *_] = compare_rates(windows, "two", seed=0, margin=1.0).to_pylist()
    assert (p["value"], p["baseline_value"], p["n"]) == (0.3, 0.1, 4)
    assert p["clusters"] == 3


def test_the_threshold_for_a_rate_meets_it():
    rng = np.random.default_rng(0)
    rows = [
        ("one", "ABC"[k % 3], 0.5 + k % 2 if k % 3 < 2 else 11, p, p * s)
        for k, (p, s) in enumerate(zip(rng.random(200), rng.random(200) ** 3, strict=True))
    ]
    picks = picks_of(*rows)
    solved = thresholds_at(picks, NOISE, {"P": 2.0, "S": 1.0}, floor=0.05)
    count = only(rates(picks, NOISE, solved, seed=0), phase="P")["count"]
    assert 18 <= count <= 20
    assert solved.at("one", "S") == 0.05, "nothing was picked: all that is stored may stand"
    for higher in np.linspace(solved.at("one", "P"), 1.0, 50):
        assert only(rates(picks, NOISE, (higher,), seed=0), phase="P")["count"] <= 20
    assert picks_at(picks, solved).num_rows >= count


def test_one_noisy_station_widens_the_interval_beyond_garwood():
    noise = noise_of(*((f"S{k}", 0, 10) for k in range(12)))
    picks = picks_of(*(("one", "S3", k / 10, 0.9, 0.0) for k in range(60)))
    row = only(rates(picks, noise, (0.5,), seed=0), phase="P")
    assert row["value"] == 0.5
    assert row["high"] > 1.5 * row["garwood_high"]


def test_stations_that_agree_are_not_surer_than_chance():
    noise = noise_of(("A", 0, 2), ("B", 0, 2))
    picks = picks_of(("one", "A", 1, 0.9, 0.0), ("one", "B", 1, 0.9, 0.0))
    row = only(rates(picks, noise, (0.5,), seed=0), phase="P")
    assert (row["low"], row["high"]) == (row["garwood_low"], row["garwood_high"])


@pytest.mark.parametrize(
    ("noise", "message"),
    [
        (noise_of(("A", 0, 2), ("A", 1, 3)), "overlaps the next"),
        (noise_of(("A", 2, 2)), "ends before it starts"),
        (NOISE.slice(0, 0), "there are no windows"),
        (NOISE.drop_columns("end"), "column 'end' lacks"),
    ],
)
def test_noise_that_cannot_be_counted_is_refused(noise, message):
    with pytest.raises(ValueError, match=message):
        rates(PICKS, noise, (0.3,), seed=0)
