"""A station-day as the viewer shows it: everybody's picks over the day, and a stretch up close."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from typing import Any

from catalog.errors import Refusal
from catalog.query import Catalog
from catalog.schema import DAY_NS, StationDay, TraceId, day_start_ns
from eval.continuous import true_times
from service.web.desk import Desk
from service.web.drawing import drawing
from workers.waveform import NS

LONGEST_S = 600
MOST_DAYS = 2000

Json = dict[str, Any]

_WHERE = "network = '{0}' AND station = '{1}' AND location = '{2}' AND band = '{3}'"


def station_days(catalog: Catalog) -> list[Json]:
    """The station-days of a catalogue, at most MOST_DAYS, with their outcomes by candidate."""
    rows = catalog.sql(
        "SELECT concat_ws('.', network, station, location, band) AS trace, "
        "day::VARCHAR AS day, map_from_entries(list((candidate, outcome))) AS outcomes, "
        "max(seconds) AS seconds, sum(picks)::BIGINT AS picks "
        f"FROM coverage GROUP BY ALL ORDER BY day, trace LIMIT {MOST_DAYS}"
    ).to_pylist()
    return [row | {"outcomes": dict(row["outcomes"])} for row in rows]


def day_picks(catalog: Catalog, day: StationDay) -> Json:
    """Candidate -> its picks, at the thresholds that its weights recommend: seconds of the day."""
    where = _WHERE.format(*_codes(day.trace))
    covered = catalog.sql(
        f"SELECT candidate, outcome, detail, run FROM coverage WHERE {where} "
        f"AND day = '{day.day}' ORDER BY candidate"
    ).to_pylist()
    if not covered:
        raise Refusal(f"{day.trace} {day.day}: no such station-day in the catalogue")
    first = day_start_ns(day.day)
    table = catalog.sql(
        f"SELECT * FROM picks_default() WHERE {where} AND time::DATE = '{day.day}' ORDER BY time"
    )
    picks: dict[str, list[Json]] = defaultdict(list)
    for row, ns in zip(
        table.select(["candidate", "phase", "probability"]).to_pylist(),
        true_times(table).tolist(),
        strict=True,
    ):
        picks[row.pop("candidate")].append(
            row | {"probability": round(row["probability"], 2), "time": (ns - first) / NS}
        )
    return {"candidates": {row["candidate"]: row for row in covered}, "picks": picks}


def stretch(catalog: Catalog, desk: Desk, day: StationDay, start_s: float, seconds: float) -> Json:
    """Samples, curves and picks of [start_s, start_s + seconds) of a station-day.

    Raises Refusal, and what reading an archive raises.
    """
    if not 1 <= seconds <= LONGEST_S or not 0 <= start_s <= DAY_NS / NS - seconds:
        raise Refusal(f"start {start_s:g}, seconds {seconds:g}: at most {LONGEST_S}, in the day")
    known = day_picks(catalog, day)
    names = [n for n, row in known["candidates"].items() if row["outcome"] == "picked"]
    names = [name for name in names if name in desk.names]
    if not names:
        raise Refusal(f"{day.trace} {day.day}: nobody picked it whose weights can be read")
    start = day_start_ns(day.day) + round(start_s * 100) * NS // 100
    end = start + round(seconds * NS)
    run = known["candidates"][names[0]]["run"]
    snippets = desk.snippets(run, day.trace, start, end, names)
    marks = {
        name: [
            {**row, "ns": day_start_ns(day.day) + round(row["time"] * NS)}
            for row in known["picks"][name]
            if start_s <= row["time"] < start_s + seconds
        ]
        for name in names
    }
    return drawing(snippets, {name: name for name in names}, marks, start) | {"seconds": seconds}


def day_of_words(trace: str, day: str) -> StationDay:
    """Raises Refusal for what is no trace or no day."""
    try:
        return StationDay(TraceId.parse(trace), date.fromisoformat(day))
    except ValueError as error:
        raise Refusal(f"station-day {trace} {day}: {error}") from error


def _codes(trace: TraceId) -> tuple[str, str, str, str]:
    """Letters, digits, `-` and `_` alone: safe to be put into SQL."""
    return trace.network, trace.station, trace.location, trace.band
