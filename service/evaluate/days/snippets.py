"""Windows to look at: misses and extras of each candidate, cut anew from the archive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.examined import SNIPPET_SCHEMA
from catalog.schema import PHASES, StationDay, day_of
from catalog.store import AccessDenied, Store
from eval import reviewed
from eval.reviewed import found_on
from eval.thresholds import picks_at
from service.evaluate.config import Evaluation
from service.evaluate.days.continuous import Judged
from service.evaluate.days.ready import ready
from service.evaluate.days.station_days import StationDays
from workers.decoded import BadFormat
from workers.snippets import snippet
from workers.waveform import NS

BEFORE_S, LENGTH_S = 8, 24
MOST = 10
"""Windows: of each candidate in turn one miss and one extra, whatever the phase."""


@dataclass(frozen=True, slots=True)
class _Chosen:
    kind: str
    candidate: str
    phase: str
    day: StationDay
    time_ns: int


def snippets(evaluation: Evaluation, judged: Judged, store: Store) -> pa.Table:
    """SNIPPET_SCHEMA, of the continuous days that an evaluation judges.

    A miss is drawn from all misses by the seed; an extra is the surest. What cannot be read any
    more has no row. store: for the candidates' weights.
    """
    days, tolerance = judged.days, judged.tolerance_s
    standing = picks_at(judged.picks, evaluation.threshold)
    extras = _in_integers(reviewed.extras(standing, judged.arrivals, tolerance))
    found = found_on(standing, judged.arrivals, tolerance, days.names)
    candidates = ready(store, days, evaluation.candidate)
    picks, arrivals = _in_integers(standing), _in_integers(judged.arrivals)
    rows = []
    chosen = chain(_misses(days, found, evaluation.seed), _surest(days, extras))
    turn = {name: k for k, name in enumerate(days.names)}
    for each in _distinct(sorted(chosen, key=lambda each: turn[each.candidate]))[:MOST]:
        start = each.time_ns - BEFORE_S * NS
        end = start + LENGTH_S * NS
        try:
            seen = snippet(days.archive(each.day), each.day.trace, start, end, candidates)
        except (AccessDenied, BadFormat):
            continue
        if np.isnan(seen.waveform).all():
            continue
        rows.append(
            {
                "kind": each.kind,
                "candidate": each.candidate,
                "phase": each.phase,
                "trace": str(each.day.trace),
                "start": seen.start_ns,
                "sampling_rate": float(seen.rate),
                "waveform": seen.waveform.ravel(),
                "curves": [
                    {"candidate": name, "phase": phase, "probability": curve}
                    for name, curves in seen.curves.items()
                    for phase, curve in zip(PHASES, curves, strict=True)
                ],
                "marks": [
                    *_marks(arrivals, each.day, start, end),
                    *_marks(picks, each.day, start, end),
                ],
            }
        )
    return pa.Table.from_pylist(rows, SNIPPET_SCHEMA)


def _distinct(chosen: Sequence[_Chosen]) -> list[_Chosen]:
    """Without windows that show again what one before shows: all candidates are drawn in each."""
    kept: list[_Chosen] = []
    for each in chosen:
        before = (other for other in kept if (other.kind, other.day) == (each.kind, each.day))
        if all(abs(other.time_ns - each.time_ns) > BEFORE_S * NS for other in before):
            kept.append(each)
    return kept


def _misses(days: StationDays, found: pa.Table, seed: int) -> Iterator[_Chosen]:
    rng = np.random.default_rng(seed)
    for candidate in days.names:
        own = found.filter((pc.field("candidate") == candidate) & ~pc.field("found"))
        missed = sorted(zip(own["key"].to_pylist(), own["phase"].to_pylist(), strict=True))
        if missed:
            key, phase = missed[rng.integers(len(missed))]
            network, station, location, time = key.split(".")
            row = {"network": network, "station": station, "location": location}
            yield from _placed(days, "miss", candidate, phase, row, int(time))


def _surest(days: StationDays, extras: pa.Table) -> Iterator[_Chosen]:
    for candidate in days.names:
        own = extras.filter(pc.field("candidate") == candidate).sort_by(
            [("probability", "descending"), ("time", "ascending")]
        )
        for row in own.slice(0, 1).to_pylist():
            yield from _placed(days, "extra", candidate, row["phase"], row, row["time"])


def _placed(
    days: StationDays, kind: str, candidate: str, phase: str, row: Mapping[str, Any], time: int
) -> Iterator[_Chosen]:
    """With the station-day that holds it."""
    place = row["network"], row["station"], row["location"] or ""
    for day in days.held:
        trace = day.trace
        if day.day == day_of(time) and place == (trace.network, trace.station, trace.location):
            yield _Chosen(kind, candidate, phase, day, time)


def _marks(table: pa.Table, day: StationDay, start: int, end: int) -> list[dict[str, Any]]:
    inside = table.filter(
        (pc.field("network") == day.trace.network)
        & (pc.field("station") == day.trace.station)
        & (pc.field("time") >= start)
        & (pc.field("time") < end)
    )
    return [
        {"candidate": row.get("candidate"), "phase": row["phase"], "time": row["time"]}
        for row in inside.to_pylist()
    ]


def _in_integers(table: pa.Table) -> pa.Table:
    """Times as int64 nanoseconds, names as plain text."""
    for name in ("candidate", "network", "station", "location", "phase"):
        if name in table.column_names:
            k = table.column_names.index(name)
            table = table.set_column(k, name, table[name].cast(pa.string()))
    k = table.column_names.index("time")
    return table.set_column(k, "time", table["time"].cast(pa.int64()))
