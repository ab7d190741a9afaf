"""Windows worth judging: every pick is new in one of them, and disagreement is of the two."""

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.schema import DAY_NS, day_start_ns
from catalog.truth import ARRIVAL_SCHEMA
from eval.arena.proposals import LEAD, propose

DAY = date(2024, 3, 1)
BEGIN = day_start_ns(DAY)
LENGTH = 60
CODES = {"network": "XX", "station": "A", "location": "", "band": "HH"}


PICKS = pa.schema(
    [
        *((name, pa.string()) for name in ("candidate", *CODES, "phase")),
        ("time", pa.timestamp("ns", tz="UTC")),
        ("offset_ns", pa.int64()),
        *((name, pa.float32()) for name in ("probability", "amplitude", "noise_amplitude")),
    ]
)


def picks_of(rows):
    """rows: (candidate, phase, seconds of the day, amplitude over noise)."""
    return pa.Table.from_pylist(
        [
            {
                "candidate": candidate,
                **CODES,
                "phase": phase,
                "time": BEGIN + round(seconds * 1e9),
                "offset_ns": 0,
                "probability": 0.9,
                "amplitude": ratio,
                "noise_amplitude": 1.0,
            }
            for candidate, phase, seconds, ratio in rows
        ],
        PICKS,
    )


def days_of(candidates, days=1):
    rows = [
        {**CODES, "day": DAY + timedelta(days=k), "candidates": candidates} for k in range(days)
    ]
    return pa.Table.from_pylist(rows)


def proposed(rows, candidates=("a", "b"), arrivals=(), most=10_000, seed=0):
    read = pa.Table.from_pylist(
        [{**CODES, "phase": p, "time": BEGIN + round(s * 1e9), "event": "e"} for p, s in arrivals],
        ARRIVAL_SCHEMA,
    )
    return propose(picks_of(rows), days_of(list(candidates)), read, LENGTH, most, seed)


def bounds(found):
    starts, ends = (found.windows[n].cast(pa.int64()).to_numpy() for n in ("start", "end"))
    return starts, ends


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 86_399.9), min_size=1, max_size=80), st.integers(0, 9))
def test_every_pick_is_in_a_window_and_new_in_one(seconds, seed):
    found = proposed([("a", "P", s, 10.0) for s in seconds], seed=seed)
    starts, ends = bounds(found)
    assert (ends - starts == LENGTH * 10**9).all() and (starts % 10**7 == 0).all()
    assert starts.min() >= BEGIN and ends.max() <= BEGIN + DAY_NS
    times = np.array(sorted(BEGIN + round(s * 1e9) for s in seconds))
    assert all(((starts <= time) & (time < ends)).any() for time in times)
    overlap = ends[:-1] - starts[1:]
    assert overlap.max(initial=0) <= LEAD[1] * LENGTH * 1e9 + 10**7 or ends[-1] == BEGIN + DAY_NS
    assert found.disagreements.num_rows == found.windows.num_rows


def test_two_disagree_by_what_only_one_has_else_by_seconds():
    found = proposed(
        [
            *(("a", "P", 100.0, 30.0), ("b", "P", 100.2, 5.0)),  # 0.2 s apart
            *(("a", "P", 1000.0, 3.0), ("a", "S", 1004.0, 3.0), ("b", "S", 1000.1, 3.0)),
            ("c", "P", 2000.0, 9.0),
        ],
        ["a", "b", "c"],
        [("P", 99.9), ("S", 104.9)],
    )
    scores = {
        (row["window"], row["left"] + row["right"]): row["score"]
        for row in found.disagreements.to_pylist()
    }
    first, second, third = found.windows["window"].to_pylist()
    assert scores[first, "ab"] == pytest.approx(0.2)
    assert scores[first, "ac"] == scores[first, "bc"] == 0.5  # one pick that c lacks
    assert scores[second, "ab"] == 0.75  # three that only one has
    assert (third, "ab") not in scores and scores[third, "ac"] == 0.5
    assert found.windows["stratum"].to_pylist() == [
        "local (<150km) | 20-30 dB | XX",
        "unknown | 0-10 dB | XX",
        "unknown | 10-20 dB | XX",
    ]


def test_a_sample_is_of_the_windows_and_repeatable():
    rows = [("a", "P", 200.0 * k, 5.0) for k in range(200)]
    every, some = (proposed(rows, most=most) for most in (1000, 50))
    assert every.windows.num_rows == 200 and some.windows.num_rows == 50
    assert set(some.windows["window"].to_pylist()) < set(every.windows["window"].to_pylist())
    assert some.disagreements.num_rows == 50
    assert proposed(rows, most=50).windows.equals(some.windows)
    assert not proposed(rows, most=50, seed=1).windows.equals(some.windows)
