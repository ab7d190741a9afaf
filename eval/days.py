"""The station-days that every candidate picked: what continuous scores are counted over.

A station-day that one candidate did not pick would count its arrivals as missed and its picks as
absent. So candidates are judged on equal station-days or refused, and arrivals outside them are
left out with their number.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import Outcome, day_of
from eval.traces import few

Place = tuple[str, str, str, date]
"""Network, station, location code and UTC day."""

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


def places(arrivals: pa.Table) -> list[Place]:
    """Of each row of ARRIVAL_SCHEMA its network, station, location code and UTC day."""
    codes = (arrivals[name].to_pylist() for name in ("network", "station", "location"))
    days = map(day_of, arrivals["time"].cast(pa.int64()).to_pylist())
    return list(zip(*codes, days, strict=True))


def in_their_data(arrivals: pa.Table, picked: Iterable[Place]) -> tuple[pa.Table, int]:
    """The arrivals in the data that they were read in, and how many were given another location.

    arrivals: ARRIVAL_SCHEMA; every row is returned. One of a location code that no picked data of
    its station have on that day is given that of the only ones: catalogues often leave it out.
    """
    there: dict[tuple[str, str, date], set[str]] = defaultdict(set)
    for network, station, location, day in picked:
        there[network, station, day].add(location)
    locations: list[str] = []
    moved = 0
    for network, station, location, day in places(arrivals):
        codes = there.get((network, station, day), set())
        moves = location not in codes and len(codes) == 1
        locations.append(next(iter(codes)) if moves else location)
        moved += moves
    at = arrivals.column_names.index("location")
    return arrivals.set_column(at, "location", pa.array(locations, pa.string())), moved


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
