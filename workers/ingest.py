"""miniSEED, or any archive, -> Zarr v3, a station-day at a time (layout: workers/archives/zarr.py).

A station-day is what its samples are: arrays on the grid with masks, conflicts and offsets, so
that reading it back assembles to the same waveform as the objects that it was made from.
"""

from __future__ import annotations

import json
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.errors import ZarrUserWarning

from catalog.schema import COMPONENTS, DAY_NS, Flag, Outcome, StationDay, TraceId
from catalog.store import Store, StoreError, writing
from workers.archives.archive import Archive, TooMuch
from workers.archives.verdicts import (
    EMPTY,
    SAMPLES,
    UNREADABLE,
    UNUSABLE,
    last_verdict,
    pass_verdict,
)
from workers.archives.zarr import FORMAT, attributes_of, group_path, zarr_store
from workers.decode import BadFormat
from workers.fragments import clip
from workers.losses import NO_NUMBERS, settled
from workers.orientation import oriented, unturned
from workers.parts import SHORTEST_NS
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

_DAY = timedelta(days=1)

MARGIN_NS = 10_000_000_000
"""Read around a day: the grid sample of a record may lie a sample beyond midnight."""

FASTEST = 1000
"""Hz, of a day that is written, which is held whole: 2 GB."""

FILL = {"i": -(2**31), "f": float("nan")}
"""What zarr gives for an object that is not there; no sample that is stored has it."""

STILL = "what was ingested before is kept"

State = Literal["written", "kept", "empty", "unreadable", "refused"]


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one station-day. samples: grid samples with data, of all components.

    kept: it was there already, and the source has nothing else by now. empty: nothing to write.
    unreadable: there are objects, and nothing of them could be used, which the destination then
    says of it, unless it has samples from before. refused: the source's store refused or did not
    answer; run again.
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
    sizes: dict[TraceId, dict[date, int]] = {}
    for holding in source.holdings(start - _DAY, end + _DAY):
        if traces is None or holding.trace in traces:
            sizes.setdefault(holding.trace, {})[holding.day] = holding.size
    for trace, listed in sorted(sizes.items()):
        days = {day + step for day in listed for step in (-_DAY, timedelta(), _DAY)}
        for day in sorted(day for day in days if start <= day < end):
            around = [listed.get(day + step) for step in (-_DAY, timedelta(), _DAY)]
            done = _ingest_day(source, destination, StationDay(trace, day), around)
            if day in listed or done.state not in ("empty", "unreadable"):
                yield done


def _ingest_day(
    source: Archive, destination: Store, station_day: StationDay, listed: list[int | None]
) -> Ingested:
    """listed: bytes that the source has of the day before, of this and of the next."""
    path = group_path(station_day.trace, station_day.day)
    before = _samples_of(destination, path)
    if before is not None and before.get("listed") == listed and not _wants(before):
        return Ingested(station_day, "kept")
    try:
        reading = _read(
            source,
            station_day.trace,
            station_day.start_ns - MARGIN_NS,
            station_day.end_ns + MARGIN_NS,
        )
        refused = [lost.why for lost in reading.lost if lost.outcome is Outcome.ACCESS_DENIED]
        if refused:  # a neighbour's too: what is written now is not read again
            return Ingested(station_day, "refused", detail="; ".join(refused))
        reading = settled(reading, station_day.start_ns, station_day.end_ns)
        waveforms = list(_waveforms(reading, station_day))
    except (BadFormat, TooMuch) as error:
        if before is not None:
            return Ingested(station_day, "unreadable", detail=f"{error}; {STILL}")
        pass_verdict(destination, path, UNREADABLE, str(error).encode())
        return Ingested(station_day, "unreadable", detail=str(error))
    except StoreError as error:
        return Ingested(station_day, "refused", detail=str(error))
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
        if before is None:
            pass_verdict(destination, path, EMPTY, b"")
        return Ingested(station_day, "empty", detail=detail)
    if before is not None:
        if not waveforms:
            return Ingested(station_day, "unreadable", detail=f"{detail}; {STILL}")
        gone = before["inputs"].keys() - reading.inputs.keys()
        if gone and not _has_grown(before, listed):
            return Ingested(station_day, "kept", detail=f"{min(gone)}: is gone; {STILL}")
        if (before["inputs"], before.get("listed")) == (reading.inputs, listed):
            return Ingested(station_day, "kept", detail=detail)
    attempt = uuid.uuid4().hex[:12]
    folders = [(f"{attempt}/{rate:.12g}Hz", rate, waveform) for rate, waveform in waveforms]
    with writing(destination.url_of(path)):
        for folder, rate, waveform in folders:
            _write_rate(destination, f"{path}/{folder}", rate, waveform)
    attributes = {
        "format": FORMAT,
        "trace": str(station_day.trace),
        "day": station_day.day.isoformat(),
        "rates": [folder for folder, _, _ in folders],
        "inputs": dict(reading.inputs),
        "listed": listed,
        "absent": (station_day.start_ns, station_day.end_ns) in reading.absent,
        "lost": [lost.why for lost in reading.lost],
        "flags": flags + _rotated(waveforms),
        "detail": said,
        "at_large": at_large,
        "repairs": [
            ns for ns in reading.repairs if station_day.start_ns <= ns < station_day.end_ns
        ],
    }
    # The verdict comes last and whole: without it nothing that was written is ever read.
    body = json.dumps({"attributes": attributes}).encode()
    pass_verdict(destination, path, SAMPLES if waveforms else UNUSABLE, body)
    if not waveforms:
        return Ingested(station_day, "unreadable", detail=detail)
    samples = sum(int(waveform.mask.sum()) for _, waveform in waveforms)
    return Ingested(station_day, "written", samples, detail)


def _samples_of(destination: Store, path: str) -> dict[str, Any] | None:
    """What is said of a day that is there with samples that can be named; None where none is."""
    last = last_verdict(destination, path)
    if last is None or not last.samples:
        return None
    try:
        return attributes_of(destination.fetch(f"{path}/{last.name}")[0], destination.url_of(path))
    except BadFormat:  # of no version that is read: written anew
        return None


def _has_grown(before: Mapping[str, Any], listed: list[int | None]) -> bool:
    """Whether the day itself is listed with more bytes than when it was written."""
    size = (before.get("listed") or listed)[1]
    return (listed[1] or 0) > (size or 0)


def _wants(attributes: Mapping[str, Any]) -> bool:
    """Whether a day or one beside it was damaged when it was read, so that other bytes of one size
    may mend it."""
    damaged = any(bits & (Flag.SALVAGED | Flag.TRUNCATED) for bits, _, _ in attributes["flags"])
    return damaged or bool(attributes.get("lost"))


def _read(source: Archive, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
    """[start_ns, end_ns) of a trace, in halves where its samples are too many for one reading."""
    try:
        return source.read(trace, start_ns, end_ns)
    except TooMuch:
        if end_ns - start_ns <= SHORTEST_NS:
            raise
    middle = (start_ns + end_ns) // 2
    one = _read(source, trace, start_ns, middle + MARGIN_NS)
    two = _read(source, trace, middle - MARGIN_NS, end_ns)
    halves = ((one, start_ns - DAY_NS, middle), (two, middle, end_ns + DAY_NS))
    return Reading(
        [
            part
            for reading, low, high in halves
            for part in (clip(fragment, low, high) for fragment in reading.fragments)
            if part is not None
        ],
        {**one.inputs, **two.inputs},
        sorted({*one.flags, *two.flags}),
        [*dict.fromkeys([*one.detail, *two.detail])],
        [ns for reading, low, high in halves for ns in reading.repairs if low <= ns < high],
        [*dict.fromkeys([*one.lost, *two.lost])],
        [*dict.fromkeys([*one.at_large, *two.at_large])],
        sorted({*one.absent, *two.absent}),
    )


def _waveforms(reading: Reading, station_day: StationDay) -> Iterator[tuple[float, Waveform]]:
    """The day's samples on the grid, for each sampling rate that has any. Raises BadFormat above
    FASTEST."""
    last = 0.0
    for rate in sorted({fragment.rate for fragment in reading.fragments}):
        if last and same_rate(rate, last):
            continue
        last = rate
        low, high = grid_index(station_day.start_ns, rate), grid_index(station_day.end_ns, rate)
        if rate > FASTEST:
            raise BadFormat(
                str(station_day.trace), f"{rate:g} Hz, where up to {FASTEST} are written"
            )
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
