"""The rule decides as written down, from labelled traces and from continuous picks alike."""

import pyarrow as pa
import pytest

from catalog.battles import RULED_SCHEMA
from catalog.truth import ARRIVAL_SCHEMA
from eval.arena.battles import Tally, battles, disagreement, ruled
from eval.arena.tallies import TALLY_SCHEMA, WINDOW_SCHEMA, of_picks, of_traces
from eval.thresholds import Frozen, Thresholds

T0 = 1_644_105_600_000_000_000
FROZEN = Frozen.solved(Thresholds({}, 0.3), "1 false P an hour", "tuning", ["w"])


@pytest.mark.parametrize(
    ("left", "right", "answer"),
    [
        (Tally(2, 0, 0.30), Tally(1, 1, 0.01), "left"),  # errors come first
        (Tally(2, 3, 0.01), Tally(2, 2, 0.40), "right"),
        (Tally(2, 0, 0.10), Tally(2, 0, 0.16), "left"),
        (Tally(2, 0, 0.16), Tally(2, 0, 0.10), "right"),
        (Tally(2, 0, 0.10), Tally(2, 0, 0.14), "tie"),  # inside the dead band
        (Tally(0, 2, None), Tally(0, 2, None), "both_bad"),
        (Tally(1, 1, 0.1), Tally(0, 1, None), "tie"),
        (Tally(0, 0, None), Tally(0, 0, None), "tie"),  # nothing to find, nothing found
    ],
)
def test_the_rule(left, right, answer):
    assert ruled(left, right) == answer


def test_labelled_traces_are_tallied_and_fought_over():
    def trace(weight, name, p, p_off, s=None, s_off=0.0):
        return {
            **{"weight": weight, "trace_name": name, "p_in_window": 500, "p_prob": p},
            **{"p_residual_s": p_off, "s_in_window": -1 if s is None else 900},
            **{"s_prob": s, "s_residual_s": None if s is None else s_off},
        }

    rows = [
        trace("A", "one", 0.9, 0.02, 0.8, 0.1),
        trace("B", "one", 0.9, 0.7, 0.8, 0.1),  # its P is beyond 0.5 s: a miss and an extra
        trace("A", "two", 0.2, 0.0),
        trace("B", "two", 0.1, 0.0),
        trace("A", "three", 0.9, 0.01),
        trace("B", "three", 0.9, -0.5),  # on the limit: matched
    ]
    table = pa.Table.from_pylist(rows)
    tallies = of_traces(table, FROZEN)
    assert tallies.schema == TALLY_SCHEMA
    errors = {(r["candidate"], r["window"].split("/")[-1]): r for r in tallies.to_pylist()}
    assert errors["B", "one"]["errors"] == 2 and errors["B", "one"]["matched"] == 1
    assert errors["A", "two"]["errors"] == 1 and errors["A", "two"]["residual_s"] is None
    found = battles(tallies)
    assert found.schema == RULED_SCHEMA
    answers = {r["window"].split("/")[-1]: r["answer"] for r in found.to_pylist()}
    assert answers == {"one": "left", "two": "both_bad", "three": "left"}
    scores = {r["window"].split("/")[-1]: r["score"] for r in disagreement(tallies).to_pylist()}
    assert scores["one"] > scores["three"] > scores["two"] == 0.0


def test_picks_of_continuous_days_are_tallied_window_by_window():
    def pick(candidate, seconds, phase="P", probability=0.9, saddle=0.0):
        return {
            **{"candidate": candidate, "network": "UW", "station": "SHW", "location": ""},
            **{"phase": phase, "time": T0 + int(seconds * 1e9), "offset_ns": 0},
            **{"probability": probability, "saddle": saddle},
        }

    picks = pa.Table.from_pylist(
        [
            pick("A", 10.1),
            pick("A", 20.0, "S"),
            pick("B", 10.4),
            pick("B", 12.0),  # an extra
            pick("B", 20.2, "S", 0.2),  # below the threshold: a miss
            pick("A", 30.0),  # in the next window, which begins there
        ]
    )
    arrivals = pa.Table.from_pylist(
        [
            {
                "network": "UW",
                "station": "SHW",
                "phase": phase,
                "time": T0 + s * 10**9,
                "event": "e",
            }
            for phase, s in (("P", 10), ("S", 20))
        ],
        ARRIVAL_SCHEMA,
    )
    windows = pa.Table.from_pylist(
        [
            {
                **{"window": name, "stratum": "near", "network": "UW", "station": "SHW"},
                **{"location": "", "start": T0 + a * 10**9, "end": T0 + b * 10**9},
            }
            for name, a, b in (("one", 0, 30), ("two", 30, 60))
        ],
        WINDOW_SCHEMA,
    )
    tallies = of_picks(picks, arrivals, windows, FROZEN, ["A", "B"])
    found = {(r["candidate"], r["window"]): r for r in tallies.to_pylist()}
    assert (found["A", "one"]["matched"], found["A", "one"]["errors"]) == (2, 0)
    assert found["A", "one"]["residual_s"] == pytest.approx(0.05)
    assert (found["B", "one"]["matched"], found["B", "one"]["errors"]) == (1, 2)
    assert (found["A", "two"]["matched"], found["A", "two"]["errors"]) == (0, 1)
    answers = {r["window"]: r["answer"] for r in battles(tallies).to_pylist()}
    assert answers == {"one": "left", "two": "right"}
    with pytest.raises(ValueError, match="one, two stands more than once"):
        of_picks(picks, arrivals, pa.concat_tables([windows, windows]), FROZEN, ["A"])


def test_thresholds_solved_by_two_rules_do_not_fight():
    rows = [
        {
            **{"candidate": name, "window": "w", "stratum": "all", "matched": 1, "errors": 0},
            **{"residual_s": 0.1, "thresholds": rule},
        }
        for name, rule in (("A", "1 false P an hour"), ("B", "2 false P an hour"))
    ]
    with pytest.raises(ValueError, match="one rule"):
        battles(pa.Table.from_pylist(rows, TALLY_SCHEMA))
