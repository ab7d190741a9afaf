"""Extras in events: found where stations agree, undefined where nobody can say."""

import importlib.util

import numpy as np
import pyarrow as pa
import pytest

from catalog.truth import SITE_SCHEMA
from service.evaluate.days.association import P_SPEED, S_SPEED, support

T0 = 1_700_000_000
PLACES = [(45.0 + 0.1 * (k % 3), -122.0 + 0.15 * (k // 3)) for k in range(9)]
SITES = pa.Table.from_pylist(
    [
        {
            "network": "XX",
            "station": f"S{k}",
            "latitude": latitude,
            "longitude": longitude,
            "elevation_m": 0.0,
        }
        for k, (latitude, longitude) in enumerate(PLACES)
    ],
    SITE_SCHEMA,
)


def picks_of(rows):
    stations, phases, seconds = zip(*rows, strict=True)
    n = len(rows)
    return pa.table(
        {
            "candidate": pa.repeat("one", n),
            "network": pa.repeat("XX", n),
            "station": list(stations),
            "phase": list(phases),
            "time": pa.array([round((T0 + s) * 1e9) for s in seconds], pa.timestamp("ns", "UTC")),
            "offset_ns": pa.repeat(0, n).cast(pa.int32()),
        }
    )


def judged(picks, sites):
    extra = np.ones(picks.num_rows, bool)
    rows = support(picks, extra, sites, ("one", "silent"), seed=0, replicates=2000).to_pylist()
    return {(row["candidate"], row["phase"]): row for row in rows}


RANDOM = [(f"S{k % 9}", "PS"[k % 2], float(t)) for k, t in
          enumerate(np.random.default_rng(0).uniform(0, 80_000, 60))]  # fmt: skip


def test_undefined_with_the_reason():
    found = judged(picks_of(RANDOM), None)["one", "P"]
    assert (found["value"], found["n"]) == (None, 30)
    assert found["detail"] == "continuous.stations is not given"
    if importlib.util.find_spec("pyocto") is None:
        assert "pip install pyocto" in judged(picks_of(RANDOM), SITES)["one", "P"]["detail"]
    else:
        few = judged(picks_of(RANDOM), SITES.slice(0, 3))["one", "P"]
        assert (few["value"], few["detail"][:10]) == (None, "3 stations")


def test_picks_of_events_are_supported_and_strays_are_not():
    pytest.importorskip("pyocto", reason="pyocto is an optional dependency")
    rng = np.random.default_rng(1)
    rows = []
    for event in range(20):
        latitude, longitude, depth = rng.uniform(45, 45.2), rng.uniform(-122, -121.7), 10.0
        for k, (lat, lon) in enumerate(PLACES):
            east = (lon - longitude) * 111.2 * np.cos(np.radians(45.1))
            distance = np.hypot(np.hypot(east, (lat - latitude) * 111.2), depth)
            for phase, speed in (("P", P_SPEED), ("S", S_SPEED)):
                rows.append((f"S{k}", phase, 1000.0 * event + distance / speed))
    found = judged(picks_of(rows), SITES)
    strays = judged(picks_of(RANDOM), SITES)
    for phase in "PS":
        assert found["one", phase]["value"] > 0.9
        assert found["one", phase]["low"] > 0.5
        assert strays["one", phase]["value"] < 0.1
        assert (found["silent", phase]["value"], found["silent", phase]["n"]) == (None, 0)
