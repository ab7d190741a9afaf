"""The arrivals that picks of a catalogue are judged by, and what became of the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.schema import StationDay, day_of
from catalog.store import AccessDenied
from catalog.truth import ARRIVAL_SCHEMA
from service.evaluate.arrivals import Arrivals
from service.evaluate.station_days import StationDays
from workers.at_arrivals import seen
from workers.decoded import BadFormat
from workers.samples import spans_over
from workers.waveform import NS

RATE = 100
"""Hz, of the samples that signal to noise is measured in."""

AROUND_NS = 5 * NS


@dataclass(frozen=True, slots=True)
class Truth:
    """arrivals: ARRIVAL_SCHEMA and `snr_db`, on the station-days and in their data. left_out: why
    -> how many. moved: how many had a location code that no picked data have, and were given that
    of the station's only one."""

    arrivals: pa.Table
    left_out: Counter[str]
    moved: int


def truth_on(days: StationDays, read: Arrivals, waveforms: bool) -> Truth:
    """waveforms: the archive is read around the arrivals, those in gaps are left out, and the
    others get their `snr_db`, else null. Raises StoreError."""
    left_out = Counter(read.left_out)
    on_day: dict[tuple[str, str, date], dict[str, StationDay]] = defaultdict(dict)
    for day in days.held:
        trace = day.trace
        on_day[trace.network, trace.station, day.day][trace.location] = day
    rows: dict[StationDay, list[int]] = defaultdict(list)
    locations: list[str] = []
    moved = 0
    whole = read.table.set_column(4, "time", read.table["time"].cast(pa.int64())).to_pylist()
    for k, row in enumerate(whole):
        there = on_day.get((row["network"], row["station"], day_of(row["time"])), {})
        location = row["location"]
        if location not in there and len(there) == 1:
            (location,) = there
            moved += 1
        locations.append(location)
        if location in there:
            rows[there[location]].append(k)
        else:
            left_out["on a station-day that is not picked"] += 1
    place = ARRIVAL_SCHEMA.get_field_index("location")
    table = read.table.set_column(place, "location", pa.array(locations, pa.string()))
    snr_db = np.full(table.num_rows, np.nan)
    kept = np.zeros(table.num_rows, bool)
    times = table["time"].cast(pa.int64()).to_numpy()
    for day, own in rows.items():
        kept[own] = True
        if waveforms:
            kept[own], snr_db[own] = _looked_at(days, day, times[own], left_out)
    table = table.append_column("snr_db", pa.array(snr_db, mask=np.isnan(snr_db)))
    return Truth(table.filter(pa.array(kept)), left_out, moved)


def _looked_at(
    days: StationDays, day: StationDay, times: NDArray[np.int64], left_out: Counter[str]
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which arrivals [k] have data, and their signal to noise in dB."""
    start = max(day.start_ns, int(times.min()) - AROUND_NS)
    end = min(day.end_ns, int(times.max()) + AROUND_NS)
    quality = days.campaign(day).quality
    try:
        found = seen(spans_over(days.archive(day), day.trace, start, end, RATE, quality), times)
    except (AccessDenied, BadFormat) as error:
        left_out[f"their data cannot be read any more: {error}"] += len(times)
        return np.zeros(len(times), bool), np.full(len(times), np.nan)
    if gone := int((~found.recorded).sum()):
        left_out["without data there"] += gone
    return found.recorded, found.snr_db
