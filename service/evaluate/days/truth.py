"""The arrivals that picks of a catalogue are judged by, and what became of the others."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.schema import StationDay
from eval.days import in_their_data, places
from service.evaluate.days.station_days import StationDays
from service.evaluate.pieces import Workbench
from service.evaluate.read.arrivals import Arrivals
from workers.day_pieces import ArrivalDay


@dataclass(frozen=True, slots=True)
class Truth:
    """arrivals: ARRIVAL_SCHEMA and `snr_db`, on the station-days and in their data. left_out: why
    -> how many. moved: how many had a location code that no picked data have, and were given that
    of the station's only one."""

    arrivals: pa.Table
    left_out: Counter[str]
    moved: int


def truth_on(days: StationDays, read: Arrivals, bench: Workbench | None) -> Truth:
    """bench: there the archive is read around the arrivals, those in gaps are left out, and the
    others get their `snr_db`, which is null without. Raises StoreError."""
    left_out = Counter(read.left_out)
    held = {(d.trace.network, d.trace.station, d.trace.location, d.day): d for d in days.held}
    table, moved = in_their_data(read.table, held)
    rows: dict[StationDay, list[int]] = defaultdict(list)
    for k, place in enumerate(places(table)):
        if place in held:
            rows[held[place]].append(k)
        else:
            left_out["on a station-day that is not picked"] += 1
    kept = np.isin(np.arange(table.num_rows), [k for own in rows.values() for k in own])
    snr_db = np.full(table.num_rows, np.nan)
    if bench is not None:
        times = table["time"].cast(pa.int64()).to_numpy()
        kept, snr_db = _looked_at(days, rows, times, left_out, bench)
    table = table.append_column("snr_db", pa.array(snr_db, mask=np.isnan(snr_db)))
    return Truth(table.filter(pa.array(kept)), left_out, moved)


def _looked_at(
    days: StationDays,
    rows: Mapping[StationDay, Sequence[int]],
    times: NDArray[np.int64],
    left_out: Counter[str],
    bench: Workbench,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Which arrivals [k] have data, and their signal to noise in dB. rows: their k, a day each."""
    recorded, snr_db = np.zeros(len(times), bool), np.full(len(times), np.nan)
    pieces = {day: ArrivalDay.of(days.picked(day), times[own]) for day, own in rows.items()}
    found = bench.examine("looking at arrivals", list(pieces.values()), archives=days.archives())
    tables = iter(found.tables(each.keys[""] for each in pieces.values()))
    for day, own in rows.items():
        over = found.undone.get(pieces[day].keys[""])
        if over is not None:
            what = (
                "no worker read their data" if over.lost else "their data cannot be read any more"
            )
            left_out[f"{what}: {over.why}"] += len(own)
            continue
        table = next(tables)
        place = np.searchsorted(pieces[day].times, times[own])
        recorded[own] = table["recorded"].to_numpy()[place]
        snr_db[own] = table["snr_db"].to_numpy()[place]
        if gone := int((~recorded[own]).sum()):
            left_out["without data there"] += gone
    return recorded, snr_db
