"""miniSEED, or any archive, -> Zarr v3, a station-day at a time (layout: workers/archives/zarr.py).

A station-day is what its samples are: arrays on the grid with masks, conflicts and offsets, so
that reading it back assembles to the same waveform as the objects that it was made from.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.errors import ZarrUserWarning

from catalog.schema import COMPONENTS, Flag, Outcome, StationDay, TraceId
from catalog.store import MissingObject, Store, StoreError
from workers.archives.archive import Archive
from workers.archives.verdicts import EMPTY, UNREADABLE, UNUSABLE, pass_verdict
from workers.archives.zarr import FORMAT, MARKER, group_path, zarr_store
from workers.decode import BadFormat
from workers.losses import NO_NUMBERS, settled
from workers.orientation import oriented, unturned
from workers.waveform import (
    TILTED,
    Reading,
    Waveform,
    grid_index,
    grid_time,
    same_rate,
    stretches,
    words,
)

CHUNK_SECONDS = 7200
"""Measured on a noisy 100 Hz day, 1-4 h: reading it all takes the same; a halo 6, 10, 18 ms."""

MARGIN_NS = 10_000_000_000
"""Read around a day: the grid sample of a record may lie a sample beyond midnight."""

FILL = {"i": -(2**31), "f": float("nan")}
"""What zarr gives for an object that is not there; no sample that is stored has it."""

State = Literal["written", "kept", "empty", "unreadable", "refused"]


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one station-day. samples: grid samples with data, of all components.

    kept: it was complete already. empty: nothing to write. unreadable: there are objects, and
    nothing of them could be used, which the destination then says of it. refused: the source's
    store refused or did not answer; run again.
    """

    station_day: StationDay
    state: State
    samples: int = 0
    detail: str = ""


def ingest(
    source: Archive,
    destination: Store,
    start: date,
    end: date,
    traces: frozenset[TraceId] | None = None,
) -> Iterator[Ingested]:
    """Write every station-day of [start, end), by trace and day; yields each as it is done.

    traces: only these, None for all. Also the days beside those that the source lists are looked
    into, where records reach over midnight. To pick days [a, b) from the result exactly as from the
    source, ingest a day more on either side: picking reads a halo. An interrupted ingest leaves no
    day that reads as whole, and the next one does it again.
    """
    listed: dict[TraceId, set[date]] = {}
    for holding in source.holdings(start, end):
        if traces is None or holding.trace in traces:
            listed.setdefault(holding.trace, set()).add(holding.day)
    for trace, days in sorted(listed.items()):
        beside = {day + timedelta(days=step) for day in days for step in (-1, 1)}
        for day in sorted(days | {day for day in beside if start <= day < end}):
            done = _ingest_day(source, destination, StationDay(trace, day))
            if day in days or done.state not in ("empty", "unreadable"):
                yield done


def _ingest_day(source: Archive, destination: Store, station_day: StationDay) -> Ingested:
    path = group_path(station_day.trace, station_day.day)
    try:
        destination.fetch(f"{path}/{MARKER}")
    except MissingObject:
        pass
    else:
        return Ingested(station_day, "kept")
    try:
        reading = source.read(
            station_day.trace, station_day.start_ns - MARGIN_NS, station_day.end_ns + MARGIN_NS
        )
        refused = [lost.why for lost in reading.lost if lost.outcome is Outcome.ACCESS_DENIED]
        if refused:  # a neighbour's too: what is written now is not read again
            return Ingested(station_day, "refused", detail="; ".join(refused))
        reading = settled(reading, station_day.start_ns, station_day.end_ns)
    except BadFormat as error:
        pass_verdict(destination, path, UNREADABLE, str(error).encode())
        return Ingested(station_day, "unreadable", detail=str(error))
    except StoreError as error:
        return Ingested(station_day, "refused", detail=str(error))
    waveforms = list(_waveforms(reading, station_day))
    said, at_large = (
        words(one for one in told if one[1] < station_day.end_ns and one[2] > station_day.start_ns)
        for told in (reading.detail, reading.at_large)
    )
    flags = _flags_inside(reading, station_day)
    if left_out := _unturned(reading, station_day, waveforms):
        said.append(left_out)
    if not (said or waveforms) and any(bits & Flag.NOT_FINITE for bits, _, _ in flags):
        said.append(NO_NUMBERS)
    detail = "; ".join([*said, *at_large])
    if not (waveforms or said):
        pass_verdict(destination, path, EMPTY, b"")
        return Ingested(station_day, "empty", detail=detail)
    for rate, waveform in waveforms:
        _write_rate(destination, f"{path}/{rate:.12g}Hz", rate, waveform)
    attributes = {
        "format": FORMAT,
        "trace": str(station_day.trace),
        "day": station_day.day.isoformat(),
        "rates": [f"{rate:.12g}Hz" for rate, _ in waveforms],
        "inputs": dict(reading.inputs),
        "flags": flags + _rotated(waveforms),
        "detail": said,
        "at_large": at_large,
        "repairs": [
            ns for ns in reading.repairs if station_day.start_ns <= ns < station_day.end_ns
        ],
    }
    group = {"zarr_format": 3, "node_type": "group", "attributes": attributes}
    marker = json.dumps(group).encode()
    if not waveforms:
        pass_verdict(destination, path, UNUSABLE, marker)
        return Ingested(station_day, "unreadable", detail=detail)
    # The marker comes last and whole: without it no sample of this day is ever read.
    destination.create(f"{path}/{MARKER}", marker)
    samples = sum(int(waveform.mask.sum()) for _, waveform in waveforms)
    return Ingested(station_day, "written", samples, detail)


def _waveforms(reading: Reading, station_day: StationDay) -> Iterator[tuple[float, Waveform]]:
    """The day's samples on the grid, for each sampling rate that has any."""
    last = 0.0
    for rate in sorted({fragment.rate for fragment in reading.fragments}):
        if last and same_rate(rate, last):
            continue
        last = rate
        low, high = grid_index(station_day.start_ns, rate), grid_index(station_day.end_ns, rate)
        waveform = oriented(reading.fragments, rate, low, high)
        if waveform.mask.any() or waveform.conflict is not None:
            yield rate, waveform


def _flags_inside(reading: Reading, station_day: StationDay) -> list[tuple[int, int, int]]:
    """Each with its whole span: cut at midnight one would be two, of two days that tell each other
    of it."""
    return [
        (int(bit), int(low), int(high))
        for bit, low, high in reading.flags
        if low < station_day.end_ns and high > station_day.start_ns
    ]


def _unturned(
    reading: Reading, station_day: StationDay, waveforms: list[tuple[float, Waveform]]
) -> str:
    """Of U, V and W where they are never all there, in words."""
    if any(Flag.ROTATED in waveform.marks for _, waveform in waveforms):
        return ""
    low, high = station_day.start_ns, station_day.end_ns
    inside = (f for f in reading.fragments if f.start_ns < high and f.stop_ns > low)
    return unturned({f.component for f in inside if f.component in TILTED})


def _rotated(waveforms: list[tuple[float, Waveform]]) -> list[tuple[int, int, int]]:
    """Where components were turned: their samples do not say so any more."""
    spans = []
    for rate, waveform in waveforms:
        if Flag.ROTATED in waveform.marks:
            edges = stretches(waveform.marks[Flag.ROTATED]) + waveform.start
            spans += [
                (Flag.ROTATED, grid_time(low, rate), grid_time(high, rate))
                for low, high in edges.tolist()
            ]
    return spans


def _write_rate(destination: Store, path: str, rate: float, waveform: Waveform) -> None:
    store = zarr_store(destination, path)
    zarr.create_group(
        store,
        overwrite=True,  # what an interrupted ingest has left
        attributes={
            "rate": rate,
            "start": waveform.start,
            "start_time": str(np.datetime64(grid_time(waveform.start, rate), "ns")),
            "components": list(COMPONENTS),
            "samples": waveform.mask.sum(axis=1).tolist(),
        },
    )
    n = waveform.data.shape[1]
    chunk = max(1, round(CHUNK_SECONDS * rate))
    shard = -(-n // chunk) * chunk
    fill = FILL[waveform.data.dtype.kind]
    table = np.concatenate(
        [np.insert(rows, 0, row, axis=1) for row, rows in enumerate(waveform.offsets)]
    )
    arrays: dict[str, tuple[NDArray[Any], tuple[str, ...], Any]] = {
        "data": (waveform.data, ("component", "time"), fill),
        "mask": (waveform.mask, ("component", "time"), False),
        "offsets": (table, ("record", "field"), 0),
    }
    if waveform.conflict is not None:
        arrays["conflict"] = (waveform.conflict, ("time",), False)
    for key, (values, dimensions, filling) in arrays.items():
        chunks, shards = _chunking(values.shape, dimensions, chunk, shard)
        array = zarr.create_array(
            store,
            name=key,
            shape=values.shape,
            dtype=values.dtype,
            chunks=chunks,
            shards=shards,
            compressors=[BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle"), Crc32cCodec()],
            fill_value=filling,
            dimension_names=dimensions,
        )
        array[...] = values
    with warnings.catch_warnings():
        # zarr-python and xarray read it in one request; the specification does not name it yet.
        warnings.simplefilter("ignore", ZarrUserWarning)
        zarr.consolidate_metadata(store)


def _chunking(
    shape: tuple[int, ...], dimensions: tuple[str, ...], chunk: int, shard: int
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Chunks and shards: hours of one component, a station-day an object; a table is one chunk."""
    if "time" not in dimensions:
        return tuple(max(1, size) for size in shape), None
    other = shape[:-1]
    return (*(1 for _ in other), chunk), (*other, shard)
