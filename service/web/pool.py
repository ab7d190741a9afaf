"""The windows of a catalogue that can be judged: drawn once, when the server starts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from catalog.query import Catalog
from catalog.schema import TraceId
from eval.arena.proposals import propose
from eval.continuous import nanoseconds, true_times

WINDOW_S = 60
MARGIN_S = 20
"""Seconds on either side that can be reached by panning."""

STATION_DAYS = 200
WINDOWS = 1000
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
    """windows: by name. disagreements: what can be shown. picks: trace -> candidate -> rows of
    `phase`, `ns`, `probability`. arrivals: (network, station, location) -> rows of `phase`, `ns`.
    """

    windows: Mapping[str, Window]
    disagreements: pa.Table
    picks: Mapping[TraceId, Mapping[str, Sequence[Mapping[str, Any]]]]
    arrivals: Mapping[tuple[str, str, str], Sequence[Mapping[str, Any]]]

    @classmethod
    def of(cls, catalog: Catalog, names: Sequence[str], arrivals: pa.Table, seed: int) -> Pool:
        """names: candidates that can be shown. Station-days that two of them have picked count."""
        days = _days(catalog, names, seed)
        catalog.connection.register("_judged", days)
        picks = catalog.sql(
            "SELECT p.* FROM picks_default() p JOIN _judged d ON (p.network, p.station, "
            "p.location, p.band, p.time::DATE) = (d.network, d.station, d.location, d.band, d.day) "
            "WHERE list_contains(d.candidates, p.candidate)"
        )
        picks = _plain(picks)
        found = propose(picks, days.drop_columns(["run"]), arrivals, WINDOW_S, WINDOWS, seed)
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
        return cls(windows, found.disagreements, _by_trace(picks), _by_station(arrivals))

    def table(self) -> pa.Table:
        """`window` and `stratum`, as `eval.arena.sampling` takes them."""
        return pa.table(
            {
                "window": [window.name for window in self.windows.values()],
                "stratum": [window.stratum for window in self.windows.values()],
            }
        )

    def picks_near(self, window: Window, name: str) -> list[Mapping[str, Any]]:
        """A candidate's picks in a window and its margins."""
        return _near(self.picks.get(window.trace, {}).get(name, ()), window)

    def arrivals_near(self, window: Window) -> list[Mapping[str, Any]]:
        trace = window.trace
        return _near(self.arrivals.get((trace.network, trace.station, trace.location), ()), window)


def _days(catalog: Catalog, names: Sequence[str], seed: int) -> pa.Table:
    quoted = ", ".join(f"'{name}'" for name in names) or "NULL"
    return catalog.sql(
        "SELECT * FROM (SELECT network, station, location, band, day, "
        "list_sort(list(DISTINCT candidate)) AS candidates, min(run) AS run FROM coverage "
        f"WHERE outcome = 'picked' AND candidate IN ({quoted}) GROUP BY ALL "
        "HAVING count(DISTINCT candidate) >= 2) "
        "ORDER BY md5(concat_ws('.', network, station, location, band, day, "
        f"{int(seed)})) LIMIT {STATION_DAYS}"
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
