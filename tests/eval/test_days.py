"""Candidates are judged on the station-days that all of them picked."""

from datetime import UTC, date, datetime

import pyarrow as pa
import pytest

from catalog.schema import COVERAGE_SCHEMA
from catalog.truth import ARRIVAL_SCHEMA
from eval.days import in_their_data, on_days, picked_days

FIRST, SECOND = date(2022, 2, 6), date(2022, 2, 7)


def coverage_of(*rows):
    """Rows (candidate, station, band, day, outcome, hours)."""
    return pa.Table.from_pylist(
        [
            {
                "candidate": candidate,
                "network": "XX",
                "station": station,
                "location": "",
                "band": band,
                "day": day,
                "outcome": outcome,
                "seconds": hours * 3600.0,
            }
            for candidate, station, band, day, outcome, hours in rows
        ],
        COVERAGE_SCHEMA,
    )


def both(*rows):
    return coverage_of(*((name, *row) for name in ("one", "two") for row in rows))


COVERAGE = both(
    ("A", "HH", FIRST, "picked", 20),
    ("A", "EH", FIRST, "picked", 24),
    ("A", "HH", SECOND, "no_data", 0),
    ("B", "HH", SECOND, "picked", 12),
)


def test_a_station_day_counts_once_however_many_bands():
    days = picked_days(COVERAGE, ["one", "two"]).to_pylist()
    found = [(row["station"], row["day"], row["hours"]) for row in days]
    assert found == [("A", FIRST, 24.0), ("B", SECOND, 12.0)]


def test_arrivals_outside_are_left_out_and_counted():
    times = {
        "A": [datetime(2022, 2, 6, tzinfo=UTC), datetime(2022, 2, 6, 23, 59, 59, 999_999, UTC),
              datetime(2022, 2, 7, tzinfo=UTC)],
        "B": [datetime(2022, 2, 7, 12, tzinfo=UTC)],
        "C": [datetime(2022, 2, 6, 12, tzinfo=UTC)],
    }  # fmt: skip
    rows = [
        {"network": "XX", "station": station, "phase": "P", "time": time, "event": "e"}
        for station, several in times.items()
        for time in several
    ]
    arrivals = pa.Table.from_pylist(rows, ARRIVAL_SCHEMA)
    kept, left_out = on_days(arrivals, picked_days(COVERAGE, ["one"]))
    assert kept["station"].to_pylist() == ["A", "A", "B"]
    assert left_out == 2


def test_other_station_days_are_refused_by_name():
    uneven = pa.concat_tables([COVERAGE, coverage_of(("two", "C", "HH", FIRST, "picked", 1))])
    with pytest.raises(ValueError, match=r"1 only by 'two' \(XX\.C\.\.2022-02-06\)"):
        picked_days(uneven, ["one", "two"])
    assert picked_days(uneven, ["two"]).num_rows == 3
    with pytest.raises(ValueError, match="candidates: name those"):
        picked_days(COVERAGE, [])


def test_a_location_code_is_given_where_only_one_is_picked():
    """As on A; B has two to choose from, C none, and on the second day A has none either."""
    picked = [("XX", "A", "00", FIRST), ("XX", "B", "00", FIRST), ("XX", "B", "10", FIRST)]
    rows = [("A", "", FIRST), ("A", "00", FIRST), ("B", "", FIRST), ("B", "10", FIRST),
            ("C", "", FIRST), ("A", "", SECOND)]  # fmt: skip
    arrivals = pa.Table.from_pylist(
        [
            {
                **{"network": "XX", "station": station, "location": location, "phase": "P"},
                "time": datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC),
            }
            for station, location, day in rows
        ],
        ARRIVAL_SCHEMA,
    )
    found, moved = in_their_data(arrivals, picked)
    assert found["location"].to_pylist() == ["00", "00", "", "10", "", ""]
    assert moved == 1 and found.schema.names == arrivals.schema.names
