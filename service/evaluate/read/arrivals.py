"""What analysts read: QuakeML, csv, parquet or a SeisBench dataset -> ARRIVAL_SCHEMA.

A csv has `network`, `station`, `phase` and a time: `time` (ISO 8601, UTC where no zone stands) or
`timestamp` (seconds since 1970). It may have `location` (`--` is an empty one), the event as
`event`, `event_id` or `source_id`, and `evaluation_mode`; the PNSN writes such files. A csv with
`trace_start_time` is the metadata of a SeisBench dataset.

Nothing is left out in silence: phases that are neither P nor S by FAMILY, what a machine picked or
an analyst rejected, and rows that stand twice are counted.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.truth import ARRIVAL_SCHEMA
from service.evaluate.read.columns import (
    NS,
    InputError,
    header_of,
    instant,
    location_code,
    number,
    rows_of,
    station_code,
    text_of,
)

FAMILY = {
    **dict.fromkeys(("P", "p", "Pg", "Pn", "Pb", "P*", "P1", "Pdiff"), "P"),
    **dict.fromkeys(("PKP", "PKPdf", "PKPbc", "PKPab", "PKIKP", "PKiKP"), "P"),
    **dict.fromkeys(("S", "s", "Sg", "Sn", "Sb", "S*", "S1", "Sdiff"), "S"),
    **dict.fromkeys(("SKS", "SKSac"), "S"),
}
"""Names of direct arrivals and what a picker calls them. Reflections (pP, PcP, PP) and surface
waves are neither."""

_CSV = {
    "network": ("network", "net", "network_code"),
    "station": ("station", "sta", "station_code"),
    "location": ("location", "loc", "location_code"),
    "phase": ("phase", "phase_hint"),
    "time": ("time", "timestamp", "arrival_time"),
    "event": ("event", "event_id", "source_id"),
    "mode": ("evaluation_mode",),
}
_SEISBENCH = {
    "network": ("station_network_code",),
    "station": ("station_code",),
    "location": ("station_location_code", "trace_location_code"),
    "start": ("trace_start_time",),
    "rate": ("trace_sampling_rate_hz",),
    "event": ("source_id", "source_event_id"),
}
_SAMPLE = re.compile(r"trace_(\w+?)_arrival_sample")
_FIX = "give QuakeML, csv or parquet"


@dataclass(frozen=True, slots=True)
class Arrivals:
    """table: ARRIVAL_SCHEMA, sorted by time. left_out: why -> rows of the files."""

    table: pa.Table
    left_out: Counter[str]


@dataclass(frozen=True, slots=True)
class _Reading:
    """One row of a file: `phase` as it is written there, ns, and why not to take it."""

    network: str
    station: str
    location: str
    phase: str
    ns: int
    event: str | None
    why_not: str = ""


def read_arrivals(paths: Sequence[str]) -> Arrivals:
    """All arrivals of several files. Raises InputError in one line, naming file, row and fix."""
    left_out: Counter[str] = Counter()
    kept: dict[tuple[str, str, str, str, int], str | None] = {}
    for reading in (each for path in paths for each in _read(Path(path))):
        family = FAMILY.get(reading.phase)
        key = (reading.network, reading.station, reading.location, family or "", reading.ns)
        if reading.why_not:
            left_out[reading.why_not] += 1
        elif family is None:
            left_out[f"phase {reading.phase!r} is neither P nor S"] += 1
        elif key in kept:
            left_out["stands twice"] += 1
        else:
            kept[key] = reading.event
    if not kept:
        told = "; ".join(f"{count} rows: {why}" for why, count in left_out.items())
        raise InputError(f"arrivals {', '.join(paths)}: none is P or S ({told or 'no rows'})")
    rows = [[*key, event] for key, event in sorted(kept.items(), key=lambda item: item[0][4])]
    columns = [
        pa.array(column, field.type)
        for column, field in zip(zip(*rows, strict=True), ARRIVAL_SCHEMA, strict=True)
    ]
    return Arrivals(pa.table(columns, schema=ARRIVAL_SCHEMA), left_out)


def _read(path: Path) -> Iterable[_Reading]:
    if path.suffix.lower() == ".parquet":
        return _of_parquet(path)
    if path.suffix.lower() == ".csv":
        return _of_seisbench(path) if "trace_start_time" in header_of(path) else _of_csv(path)
    if text_of(path)[:1000].lstrip().startswith("<"):
        return _of_quakeml(path)
    raise InputError(f"arrivals {path}: {_FIX}")


def _of_csv(path: Path) -> Iterator[_Reading]:
    for where, row in rows_of(path, _CSV, ("network", "station", "phase", "time")):
        yield _Reading(
            station_code(row["network"]),
            station_code(row["station"]),
            location_code(row["location"]),
            row["phase"],
            instant(row["time"], "time", where),
            row["event"] or None,
            "picked by a machine" if row["mode"] == "automatic" else "",
        )


def _of_seisbench(path: Path) -> Iterator[_Reading]:
    """Metadata of a dataset: a row a trace, a column a phase, in samples after its start."""
    phases = {name: found[1] for name in header_of(path) if (found := _SAMPLE.fullmatch(name))}
    if not phases:
        raise InputError(f"arrivals {path}: no column trace_P_arrival_sample or the like")
    # Their headers are in lower case by now, and P is as good as p.
    cased = {name.lower(): name for name in FAMILY if name not in ("p", "s")}
    names = _SEISBENCH | {name: (name,) for name in phases}
    for where, row in rows_of(path, names, ("network", "station", "start", "rate")):
        start = instant(row["start"], "trace_start_time", where)
        rate = number(row["rate"], "trace_sampling_rate_hz", where, 0.01, 1e6)
        for column, phase in phases.items():
            if row[column] in ("", "nan", "NaN"):
                continue
            sample = number(row[column], column, where, -1e9, 1e9)
            yield _Reading(
                station_code(row["network"]),
                station_code(row["station"]),
                location_code(row["location"]),
                cased.get(phase, phase),
                start + round(sample * NS / rate),
                row["event"] or None,
            )


def _of_parquet(path: Path) -> Iterator[_Reading]:
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"arrivals {path}: not parquet: {error}") from error
    for name in ARRIVAL_SCHEMA.names:
        if name not in table.column_names:
            raise InputError(f"arrivals {path}: no column {name!r}; give {ARRIVAL_SCHEMA.names}")
        if name not in ("location", "event") and table[name].null_count:
            raise InputError(f"arrivals {path}: column {name!r} holds nulls; fill them in")
    try:
        plain = table.select(ARRIVAL_SCHEMA.names).cast(ARRIVAL_SCHEMA)
        whole = plain.set_column(4, "time", plain["time"].cast(pa.int64()))
    except pa.ArrowException as error:
        raise InputError(f"arrivals {path}: {error}; give {ARRIVAL_SCHEMA.names}") from error
    for row in whole.to_pylist():
        yield _Reading(
            station_code(row["network"]),
            station_code(row["station"]),
            location_code(row["location"] or ""),
            row["phase"],
            row["time"],
            row["event"],
        )


def _of_quakeml(path: Path) -> Iterator[_Reading]:
    """Picks of every event. The phase is that of the arrival, or else the pick's own hint."""
    for event in quakeml_events(path):
        named = {
            arrival.pick_id.id: arrival.phase
            for origin in event.origins
            for arrival in origin.arrivals
            if arrival.pick_id is not None and arrival.phase
        }
        for pick in event.picks:
            where, place = f"arrivals {path}, pick {pick.resource_id.id}", pick.waveform_id
            if place is None or not place.station_code:
                raise InputError(f"{where}: it has no station; add a waveformID")
            if pick.time is None:
                raise InputError(f"{where}: it has no time")
            why_not = "picked by a machine" if pick.evaluation_mode == "automatic" else ""
            if pick.evaluation_status == "rejected":
                why_not = "rejected by the analyst"
            yield _Reading(
                station_code(place.network_code or ""),
                station_code(place.station_code),
                location_code(place.location_code or ""),
                named.get(pick.resource_id.id) or pick.phase_hint or "",
                pick.time.ns,
                event.resource_id.id,
                why_not,
            )


def quakeml_events(path: Path) -> Iterable[Any]:
    """obspy events of a QuakeML file. Raises InputError."""
    from obspy import read_events

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of identifiers that are not quite valid
            catalog: Iterable[Any] = read_events(str(path), format="QUAKEML")
    except (ValueError, TypeError, AttributeError, SyntaxError, OSError) as error:
        why = " ".join(str(error).split())
        raise InputError(f"{path}: not QuakeML ({why})") from error
    return catalog
