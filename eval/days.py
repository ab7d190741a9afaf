"""The station-days that every candidate picked: what continuous scores are counted over.

A station-day that one candidate did not pick would count its arrivals as missed and its picks as
absent. So candidates are judged on equal station-days or refused, and arrivals outside them are
left out with their number.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import Outcome
from eval.traces import few

_DAY = ("network", "station", "location", "day")


def picked_days(coverage: pa.Table, candidates: Sequence[str]) -> pa.Table:
    """Station-days (`network`, `station`, `location`, `day`, `hours`) that all candidates picked.

    coverage: COVERAGE_SCHEMA, the catalogue's view. `hours` are those of the band with the most
    data. Raises ValueError, naming some, where one candidate picked station-days that another did
    not; filter the coverage to those of both.
    """
    if not candidates:
        raise ValueError("candidates: name those whose station-days are wanted")
    picked = coverage.filter(pc.field("outcome") == Outcome.PICKED.value)
    days = {name: _days(picked.filter(pc.field("candidate") == name)) for name in candidates}
    first, *others = candidates
    for other in others:
        sides = [set(zip(*(days[n][c].to_pylist() for c in _DAY), strict=True)) for n in
                 (first, other)]  # fmt: skip
        differing = [
            f"{len(more)} only by {name!r} ({few([_named(day) for day in sorted(more)])})"
            for name, more in ((first, sides[0] - sides[1]), (other, sides[1] - sides[0]))
            if more
        ]
        if differing:
            raise ValueError(
                f"coverage: {first!r} and {other!r} did not pick the same station-days: "
                f"{'; '.join(differing)}"
            )
    return days[first]


def on_days(table: pa.Table, days: pa.Table) -> tuple[pa.Table, int]:
    """The picks or arrivals on these station-days, and how many rows were left out.

    table: `network`, `station`, `location` and `time`; a null location is an empty one. Times
    decide the UTC day, of picks those of the grid.
    """
    inside = pc.is_in(
        day_keys(table, table["time"].cast(pa.timestamp("ns"))), day_keys(days, days["day"])
    )
    kept = table.filter(inside)
    return kept, table.num_rows - kept.num_rows


def _days(picked: pa.Table) -> pa.Table:
    plain = pa.table(
        {name: picked[name].cast(pa.date32() if name == "day" else pa.string()) for name in _DAY}
        | {"seconds": picked["seconds"]}
    )
    longest = plain.group_by(list(_DAY)).aggregate([("seconds", "max")])
    hours = pc.divide(longest["seconds_max"], 3600.0)
    return (
        longest.select(_DAY).append_column("hours", hours).sort_by([(n, "ascending") for n in _DAY])
    )


def day_keys(table: pa.Table, day: pa.ChunkedArray) -> pa.Array:
    """Text [rows] that stands for station, location and UTC day. day: dates, or times in it."""
    parts = [
        table["network"],
        table["station"],
        pc.fill_null(table["location"].cast(pa.string()), ""),
    ]
    texts = [part.cast(pa.string()) for part in parts]
    dates = day.cast(pa.date32(), safe=False).cast(pa.string())
    return pc.binary_join_element_wise(*texts, dates, ".").combine_chunks()


def _named(day: tuple[object, ...]) -> str:
    return ".".join(str(part) for part in day)
