"""The windows of a catalogue that can be judged: drawn once, when the server starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from catalog.query import Catalog
from catalog.schema import TraceId, day_of
from eval.arena.proposals import WINDOW_S, WINDOWS, propose
from eval.arena.windows import Stretch, stretch_of
from eval.continuous import nanoseconds, true_times
from eval.days import Place, in_their_data
from eval.strata import UNKNOWN
from service.web.contenders import Contender

MARGIN_S = 20
"""Seconds on either side that can be reached by panning."""

STATION_DAYS = 200
"""So many at most: the sample is drawn by the seed, so that a large catalogue costs no more."""

_PLACE = ("network", "station", "location", "band")


@dataclass(frozen=True, slots=True)
class Window:
    """Where it is, and the run whose archive has it. Times in ns."""

    name: str
    stratum: str
    trace: TraceId
    start: int
    end: int
    run: str


@dataclass(frozen=True, slots=True)
class Pool:
    """windows: by name. proposed: those that can be drawn; the others were asked for by name.
    disagreements: of those. picks: trace -> candidate -> rows of
    `phase`, `ns`, `probability`. arrivals: (network, station, location) -> rows of `phase`, `ns`.
    """

    windows: Mapping[str, Window]
    proposed: Sequence[str]
    disagreements: pa.Table
    picks: Mapping[TraceId, Mapping[str, Sequence[Mapping[str, Any]]]]
    arrivals: Mapping[tuple[str, str, str], Sequence[Mapping[str, Any]]]

    @classmethod
    def of(
        cls,
        catalog: Catalog,
        contenders: Mapping[str, Contender],
        arrivals: pa.Table,
        seed: int,
        named: Iterable[str] = (),
    ) -> Pool:
        """contenders: who can be shown. Station-days that two of them have picked count. arrivals:
        ARRIVAL_SCHEMA, as read. named: windows that were judged before, to be shown again though
        they may not be drawn."""
        stretches = [each for name in named if (each := stretch_of(name)) is not None]
        days = _days(catalog, sorted(contenders), seed, stretches)
        picks = _plain(_picks(catalog, contenders, days))
        arrivals, _ = in_their_data(arrivals, _picked(catalog, sorted(contenders), arrivals))
        drawn = days.filter(pc.field("drawn")).drop_columns(["run", "drawn"])
        found = propose(picks, drawn, arrivals, WINDOW_S, WINDOWS, seed)
        run_of = {
            (*(row[name] for name in _PLACE), row["day"]): row["run"] for row in days.to_pylist()
        }
        rows = found.windows.to_pylist()
        starts, ends = (found.windows[n].cast(pa.int64()).to_pylist() for n in ("start", "end"))
        windows = {}
        for row, start, end in zip(rows, starts, ends, strict=True):
            codes = [row[name] for name in _PLACE]
            run = run_of[*codes, row["start"].date()]
            windows[row["window"]] = Window(
                row["window"], row["stratum"], TraceId(*codes), start, end, run
            )
        proposed = list(windows)
        for each in stretches:
            codes = [getattr(each.trace, name) for name in _PLACE]
            run = run_of.get((*codes, day_of(each.start)))
            if run is not None and each.name not in windows:
                windows[each.name] = Window(
                    each.name, UNKNOWN, each.trace, each.start, each.end, run
                )
        places = _by_trace(picks), _by_station(arrivals)
        return cls(windows, proposed, found.disagreements, *places)

    def picks_near(self, window: Window, name: str) -> list[Mapping[str, Any]]:
        """A candidate's picks in a window and its margins."""
        return _near(self.picks.get(window.trace, {}).get(name, ()), window)

    def arrivals_near(self, window: Window) -> list[Mapping[str, Any]]:
        trace = window.trace
        return _near(self.arrivals.get((trace.network, trace.station, trace.location), ()), window)


def _days(
    catalog: Catalog, names: Sequence[str], seed: int, stretches: Sequence[Stretch]
) -> pa.Table:
    """Station-days that are `drawn`, at most STATION_DAYS, and those of the stretches."""
    asked = [f"{each.trace}.{day_of(each.start)}" for each in stretches]
    catalog.connection.register("_asked", pa.table({"key": pa.array(asked, pa.string())}))
    return catalog.sql(
        f"SELECT * EXCLUDE (key, rank), rank <= {STATION_DAYS} AS drawn FROM (SELECT *, "
        f"row_number() OVER (ORDER BY md5(concat_ws('.', key, {int(seed)}))) AS rank FROM "
        "(SELECT network, station, "
        "location, band, day, concat_ws('.', network, station, location, band, day) AS key, "
        "list_sort(list(DISTINCT candidate)) AS candidates, min(run) AS run FROM coverage "
        f"WHERE outcome = 'picked' AND candidate IN ({_quoted(names)}) GROUP BY ALL "
        "HAVING count(DISTINCT candidate) >= 2)) "
        f"WHERE rank <= {STATION_DAYS} OR key IN (SELECT key FROM _asked)"
    )


def _picked(catalog: Catalog, names: Sequence[str], arrivals: pa.Table) -> list[Place]:
    """All that any of these candidates picked at the stations of the arrivals, drawn or not: a
    second location that was not drawn is one still."""
    stations = arrivals.select(["network", "station"]).group_by(["network", "station"])
    catalog.connection.register("_reference", stations.aggregate([]))
    found = catalog.sql(
        "SELECT DISTINCT network, station, location, day FROM coverage "
        "SEMI JOIN _reference USING (network, station) "
        f"WHERE outcome = 'picked' AND candidate IN ({_quoted(names)})"
    )
    return list(zip(*(found[name].to_pylist() for name in found.column_names), strict=True))


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "NULL"


def _picks(catalog: Catalog, contenders: Mapping[str, Contender], days: pa.Table) -> pa.Table:
    """The picks of the days that stand at each contender's thresholds."""
    rows = [
        {"candidate": each.name, "phase": phase, "threshold": threshold}
        for each in contenders.values()
        for phase, threshold in each.thresholds.items()
    ]
    standing = pa.schema(
        [("candidate", pa.string()), ("phase", pa.string()), ("threshold", pa.float64())]
    )
    catalog.connection.register("_judged", days)
    catalog.connection.register("_standing", pa.Table.from_pylist(rows, standing))
    return catalog.sql(
        "SELECT p.* FROM picks p JOIN _judged d ON (p.network, p.station, "
        "p.location, p.band, p.time::DATE) = (d.network, d.station, d.location, d.band, d.day) "
        "JOIN _standing t ON (p.candidate, p.phase) = (t.candidate, t.phase) "
        "WHERE list_contains(d.candidates, p.candidate) AND p.probability >= t.threshold::FLOAT "
        "AND p.saddle < (t.threshold / 2)::FLOAT"
    )


def _plain(picks: pa.Table) -> pa.Table:
    """Codes as plain text."""
    for k, field in enumerate(picks.schema):
        if pa.types.is_dictionary(field.type):
            picks = picks.set_column(k, field.name, pc.cast(picks[field.name], pa.string()))
    return picks


def _by_trace(picks: pa.Table) -> dict[TraceId, dict[str, list[dict[str, Any]]]]:
    found: dict[TraceId, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    rows = picks.select([*_PLACE, "candidate", "phase", "probability"]).to_pylist()
    for row, ns in zip(rows, true_times(picks).tolist(), strict=True):
        mark = {"phase": row["phase"], "ns": ns, "probability": row["probability"]}
        found[TraceId(*(row[name] for name in _PLACE))][row["candidate"]].append(mark)
    return found


def _by_station(arrivals: pa.Table) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    found = defaultdict(list)
    rows = arrivals.select(["network", "station", "location", "phase"]).to_pylist()
    for row, ns in zip(rows, nanoseconds(arrivals).tolist(), strict=True):
        key = row["network"], row["station"], row["location"] or ""
        found[key].append({"phase": row["phase"], "ns": ns})
    return found


def _near(marks: Sequence[Mapping[str, Any]], window: Window) -> list[Mapping[str, Any]]:
    margin = MARGIN_S * 10**9
    inside = [m for m in marks if window.start - margin <= m["ns"] < window.end + margin]
    return sorted(inside, key=lambda mark: mark["ns"])
