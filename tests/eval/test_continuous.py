"""Scores of pick tables as they come out of the catalogue, against arrivals."""

import math

import numpy as np
import pyarrow as pa
import pytest

from catalog.schema import PICK_SCHEMA
from catalog.truth import ARRIVAL_SCHEMA
from eval.continuous import MATCHED_SCHEMA, matched, score

T0 = 1_644_105_600_000_000_000
MS = 1_000_000
UTC_NS = pa.timestamp("ns", tz="UTC")


def arrivals_of(*rows):
    """Rows (station, phase, ms after T0)."""
    return pa.Table.from_pylist(
        [
            {
                "network": "XX",
                "station": station,
                "location": "",
                "phase": phase,
                "time": T0 + ms * MS,
                "event": f"event-{i}",
            }
            for i, (station, phase, ms) in enumerate(rows)
        ],
        ARRIVAL_SCHEMA,
    )


def picks_of(*rows, **changes):
    """Rows (candidate, station, phase, ms after T0), in PICK_SCHEMA and `candidate`."""
    names = ("candidate", "network", "station", "location", "phase", "time", "offset_ns")
    schema = pa.schema([PICK_SCHEMA.field(n) for n in names[1:]] + [("probability", pa.float32())])
    schema = schema.insert(0, pa.field("candidate", pa.dictionary(pa.int32(), pa.string())))
    return pa.Table.from_pylist(
        [
            {
                "candidate": candidate,
                "network": "XX",
                "station": station,
                "location": "",
                "phase": phase,
                "time": T0 + ms * MS,
                "offset_ns": 0,
                "probability": 0.5,
            }
            | changes
            for candidate, station, phase, ms in rows
        ],
        schema,
    )


def row_of(scores, candidate, phase):
    (row,) = [r for r in scores.to_pylist() if (r["candidate"], r["phase"]) == (candidate, phase)]
    return row


ARRIVALS = arrivals_of(
    ("A", "P", 0), ("A", "S", 5_000), ("A", "P", 60_000), ("B", "P", 1_000), ("B", "S", 7_000)
)


def test_each_candidate_and_phase_is_counted_on_its_own():
    picks = picks_of(
        ("one", "A", "P", 100),
        ("one", "A", "P", -200),  # a second pick of one arrival
        ("one", "A", "S", 4_900),
        ("one", "B", "S", 1_000),  # an S where a P is
        ("two", "B", "P", 1_000),
        ("two", "C", "P", 0),  # a station without arrivals
    )
    scores = score(picks, ARRIVALS, station_hours=2.0)
    assert scores["candidate"].to_pylist() == ["one"] * 3 + ["two"] * 3
    assert scores["phase"].to_pylist() == ["P", "S", "P+S"] * 2
    counts = ("arrivals", "picks", "matched", "missed", "false_picks")

    def counted(candidate, phase):
        return [row_of(scores, candidate, phase)[name] for name in counts]

    assert counted("one", "P") == [3, 2, 1, 2, 1]
    assert counted("one", "S") == [2, 2, 1, 1, 1]
    assert counted("one", "P+S") == [5, 4, 2, 3, 2]
    assert counted("two", "P+S") == [5, 2, 1, 4, 1]
    assert row_of(scores, "one", "P+S")["false_picks_per_station_hour_0.5s"] == 1.0
    assert row_of(scores, "one", "P")["median_matched_s"] == 0.1


def test_a_pick_is_where_its_sample_truly_was():
    """`time` is on the grid; the record's own offset decides at the tolerance and in residuals."""
    arrivals = arrivals_of(("A", "P", 0))
    late = picks_of(("one", "A", "P", 500), offset_ns=1)
    early = picks_of(("one", "A", "P", 500), offset_ns=-4_000_000)
    assert matched(late, arrivals).num_rows == 0
    assert matched(early, arrivals)["residual_s"].to_pylist() == [0.496]
    assert matched(early, arrivals)["pick_time"].cast(pa.int64()).to_pylist() == [T0 + 496 * MS]


def test_matched_says_which_event_and_by_how_much():
    picks = picks_of(("b", "B", "S", 7_030), ("b", "A", "P", 60_010), ("a", "A", "P", -20))
    pairs = matched(picks, ARRIVALS)
    assert pairs.schema == MATCHED_SCHEMA
    columns = ("candidate", "station", "phase", "event", "residual_s")
    assert [tuple(row[c] for c in columns) for row in pairs.to_pylist()] == [
        ("a", "A", "P", "event-0", -0.02),
        ("b", "A", "P", "event-2", 0.01),
        ("b", "B", "S", "event-4", 0.03),
    ]


def test_candidates_do_not_compete_for_an_arrival():
    picks = picks_of(("one", "A", "P", 10), ("two", "A", "P", 20))
    assert matched(picks, arrivals_of(("A", "P", 0)))["residual_s"].to_pylist() == [0.01, 0.02]


def test_network_and_location_keep_traces_apart_and_null_location_is_empty():
    arrivals = arrivals_of(("A", "P", 0))
    assert matched(picks_of(("one", "A", "P", 0), location=None), arrivals).num_rows == 1
    assert matched(picks_of(("one", "A", "P", 0), location="00"), arrivals).num_rows == 0
    assert matched(picks_of(("one", "A", "P", 0), network="YY"), arrivals).num_rows == 0
    # Codes side by side must not run together: XX + A is not X + XA.
    assert matched(picks_of(("one", "XA", "P", 0), network="X"), arrivals).num_rows == 0


def test_the_order_of_rows_changes_nothing():
    rng = np.random.default_rng(1)
    rows = [
        (candidate, station, phase, int(ms))
        for candidate in ("one", "two")
        for station in ("A", "B", "C")
        for phase in ("P", "S")
        for ms in rng.integers(0, 20_000, 30)
    ]
    truth = [(s, p, int(ms)) for s in "AB" for p in "PS" for ms in rng.integers(0, 20_000, 30)]
    picks, arrivals = picks_of(*rows), arrivals_of(*truth)
    shuffled = picks.take(rng.permutation(len(picks)))
    other = score(shuffled, arrivals.take(rng.permutation(len(arrivals))), 6.0)
    assert other.equals(score(picks, arrivals, 6.0))


def test_a_candidate_without_picks_is_scored_not_forgotten():
    picks = picks_of(("one", "A", "P", 0))
    hours = pa.table({"candidate": ["one", "silent", "silent"], "hours": [4.0, 1.5, 0.5]})
    for scores in (
        score(picks, ARRIVALS, hours),
        score(picks, ARRIVALS, 2.0, candidates=["silent"]),
    ):
        silent = row_of(scores, "silent", "P+S")
        assert (silent["recall_0.5s"], silent["missed"], silent["station_hours"]) == (0.0, 5, 2.0)
        assert math.isnan(silent["precision_0.5s"])
        assert silent["false_picks_per_station_hour_0.5s"] == 0.0


def test_noise_only_gives_false_picks_and_no_recall():
    scores = score(picks_of(("one", "A", "P", 0)), arrivals_of(), station_hours=4.0)
    row = row_of(scores, "one", "P")
    assert row["false_picks_per_station_hour_0.5s"] == 0.25
    assert math.isnan(row["recall_0.5s"])


def test_wider_tolerance_is_another_name():
    picks = picks_of(("one", "A", "P", 900))
    wide = row_of(score(picks, ARRIVALS, 1.0, tolerance_s=1.0), "one", "P")
    assert wide["recall_1s"] == pytest.approx(1 / 3)
    assert "recall_0.5s" not in wide


@pytest.mark.parametrize(
    ("picks", "arrivals", "hours", "message"),
    [
        (picks_of().drop_columns("candidate"), ARRIVALS, 1.0, "picks: no column 'candidate'"),
        (picks_of(), ARRIVALS.drop_columns("event"), 1.0, "arrivals: no column 'event'"),
        (picks_of(("one", "A", "Pn", 0)), ARRIVALS, 1.0, r"picks: column 'phase' holds \['Pn'\]"),
        (picks_of(("one", "A", "P", 0), offset_ns=None), ARRIVALS, 1.0, "'offset_ns' holds 1 null"),
        (picks_of(("one", "A", "P", 0)), ARRIVALS, 0.0, "hours 0.0"),
        (
            picks_of(("one", "A", "P", 0)),
            ARRIVALS,
            pa.table({"candidate": ["two"], "hours": [1.0]}),
            r"station_hours: column 'candidate' lacks \['one'\]",
        ),
        (picks_of(), ARRIVALS, 1.0, "candidates: there are no picks and no names"),
    ],
)
def test_refusals_name_the_table_and_the_column(picks, arrivals, hours, message):
    with pytest.raises(ValueError, match=message):
        score(picks, arrivals, hours)
