"""Zarr v3 as `workers/ingest.py` writes it: a group a station-day, in it a group a sampling rate.

    NET.STA.LOC.BAND/YYYY-MM-DD/
        0000.samples.json   written last: samples that it does not name do not exist. format,
            trace, day, rates (folders), inputs and given (as of a Reading: of what gave samples
            of it), listed (versions in the source of the day before, this and the next, null where
            it has none), absent, flags, detail, at_large and repairs (as of a Reading)
        0000.unusable.json  where none of what was read can be used: the same
        0000.unreadable.txt where the source could not be read: why
        0000.empty          where there is nothing any more
    NET.STA.LOC.BAND/YYYY-MM-DD/WRITING/100Hz/     attributes: rate, start (grid index),
        components, samples (of each component)
        data      int32 or float32 (component, time), zero where masked; one shard object
        mask      bool (component, time), True where there is a sample
        offsets   int64 (record, field): row of the component, grid index, true minus grid time ns
        conflict  bool (time,), where overlapping records disagreed; absent where none did

`xarray.open_zarr(".../2022-02-06/WRITING/100Hz", chunks={})` opens it. A day that is written anew
is another WRITING, under the next number (workers/archives/verdicts.py), but for rates that are
what they were.
"""

from __future__ import annotations

import atexit
import errno
import json
import math
import re
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from functools import cache, partial
from itertools import groupby
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.sync import sync
from zarr.storage import FsspecStore

from catalog.schema import (
    COMPONENTS,
    DAY_NS,
    Outcome,
    StationDay,
    TraceId,
    day_of,
    day_start_ns,
    days_between,
)
from catalog.store import AccessDenied, LocalStore, MissingObject, Store, StoreUnavailable
from workers.archives.archive import MOST_SAMPLES, Holding, TooMuch, version_of
from workers.archives.objects import require_root
from workers.archives.verdicts import (
    EMPTY,
    UNREADABLE,
    Verdict,
    last_verdict,
    verdict_named,
)
from workers.decode import BadFormat
from workers.fragments import offsets_within
from workers.waveform import Fragment, Given, Lost, Reading, Told, given_by, grid_index

FORMAT = "tidepick-continuous-1"

_DAY = timedelta(days=1)

LARGEST_CHUNK, MOST_CHUNKS = 36_000_000, 1_000_000
"""Samples of a chunk, which is decoded whole; chunks of a shard, whose index is read whole."""

_RATE = re.compile(r"(?:[0-9a-f]{12}/)?[0-9][0-9.e+-]{0,19}Hz")
"""A group of one sampling rate."""

_KEY = re.compile(r"(?P<trace>[^/]+)/(?P<day>\d{4}-\d{2}-\d{2})/(?P<rest>.+)")


AGAIN = "remove the folder of this day, and ingest it again"


def group_path(trace: TraceId, day: date) -> str:
    """Path of a station-day below the root."""
    return f"{trace}/{day.isoformat()}"


def zarr_store(store: Store, path: str) -> zarr.storage.LocalStore | FsspecStore:
    """A folder of our store as zarr sees it; zarr writes nothing above it."""
    if isinstance(store, LocalStore):
        return zarr.storage.LocalStore(store.root / path)
    bucket_path = store.url_of(path).removeprefix("s3://")
    return FsspecStore(_on_zarrs_loop(store.filesystem()), path=bucket_path)


@cache
def _on_zarrs_loop(filesystem: Any) -> Any:
    """The same file system for zarr's event loop, closed there when the process ends."""
    twin = type(filesystem)(**{**filesystem.storage_options, "asynchronous": True})
    session = sync(twin.set_session())
    atexit.register(lambda: sync(session.close()))
    return twin


class ZarrArchive:
    """Station-days as `tidepick ingest` writes them (workers/ingest.py)."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def holdings(self, start: date, end: date, stations: Sequence[str] = ()) -> Iterator[Holding]:
        """Station-days that are complete or could not be ingested, from one listing of the root."""
        require_root(self.store)
        for _, of_trace in groupby(self.store.list(), key=lambda entry: entry.key.split("/")[0]):
            sizes: dict[StationDay, tuple[int, int]] = {}
            verdicts: dict[StationDay, Verdict] = {}
            for entry in of_trace:
                found = _trace_day(entry.key)
                if found is None or not start <= found[0].day < end:
                    continue
                station_day, rest = found
                size, version = sizes.get(station_day, (0, 0))
                sizes[station_day] = size + entry.size, version ^ version_of(entry)
                if verdict := verdict_named(rest):
                    verdicts[station_day] = max(verdict, verdicts.get(station_day, verdict))
            for one in sorted(verdicts):
                if verdicts[one].what != EMPTY:
                    yield Holding(one.trace, one.day, *sizes[one])

    def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
        """Only the chunks that the span needs are fetched."""
        fragments: list[Fragment] = []
        inputs: dict[str, str] = {}
        given: dict[str, list[Given]] = {}
        unused: dict[str, tuple[int, int]] = {}
        flags: list[tuple[int, int, int]] = []
        detail: list[Told] = []
        at_large: list[Told] = []
        repairs: list[int] = []
        lost: list[Lost] = []
        absent: list[tuple[int, int]] = []
        for day in days_between(day_of(start_ns), day_of(end_ns - 1) + _DAY):
            path = group_path(trace, day)
            url, span = self.store.url_of(path), (day_start_ns(day), day_start_ns(day) + DAY_NS)
            try:
                body, etag = self._told(path)
                inputs[url] = etag
                attributes = attributes_of(body, url)
                own = [
                    fragment
                    for folder in attributes["rates"]
                    for fragment in self.fragments(path, folder, start_ns, end_ns)
                ]
                fragments += own
                given[url] = given_by(own)
            except MissingObject:
                absent.append(span)
            except AccessDenied as error:
                lost.append(Lost(Outcome.ACCESS_DENIED, *span, str(error.strerror)))
            except BadFormat as error:
                unused[url] = span
                lost.append(Lost(Outcome.BAD_FORMAT, *span, str(error)))
            else:
                flags += [(bit, low, high) for bit, low, high in attributes["flags"]]
                detail += [(text, *span) for text in attributes["detail"]]
                at_large += [(text, *span) for text in attributes.get("at_large", [])]
                repairs += attributes["repairs"]
                if attributes.get("absent"):
                    absent.append(span)
        flags = [flag for flag in flags if flag[1] < end_ns and flag[2] > start_ns]
        return Reading(
            fragments,
            inputs,
            sorted(set(flags)),
            detail,
            repairs,
            lost,
            at_large,
            absent,
            given,
            unused,
        )

    def _told(self, path: str) -> tuple[bytes, str]:
        """Body and ETag of what says what a day holds.

        Raises MissingObject, and BadFormat where there was a day that could not be read.
        """
        last, url = last_verdict(self.store, path), self.store.url_of(path)
        if last is None or last.what == EMPTY:
            raise MissingObject(errno.ENOENT, f"not ingested: {url}")
        body, etag = self.store.fetch(f"{path}/{last.name}")
        if last.what == UNREADABLE:
            text = f"could not be read when it was ingested: {body.decode(errors='replace')}"
            raise BadFormat(url, text)
        return body, etag

    def fragments(self, path: str, folder: str, start_ns: int, end_ns: int) -> list[Fragment]:
        """Of one rate of one station-day inside a span. Raises AccessDenied, StoreUnavailable,
        BadFormat and TooMuch."""
        url = self.store.url_of(path)
        try:
            arrays = zarr_store(self.store, f"{path}/{folder}")
            group = zarr.open_group(arrays, mode="r", use_consolidated=True)
            return _read_rate(group, start_ns, end_ns, f"{url}/{folder}")
        except StoreUnavailable:
            raise
        except PermissionError as error:
            raise AccessDenied(errno.EACCES, f"access denied: {url}: {error}") from error
        except (
            *(FileNotFoundError, LookupError, ValueError, TypeError, RuntimeError),
            *(ArithmeticError, RecursionError),
        ) as error:
            # a lost array, a checksum that fails, metadata that are no JSON or no sense
            raise BadFormat(url, f"damaged; {AGAIN} ({error})") from error
        except OSError as error:
            raise StoreUnavailable(errno.EIO, f"{url}: {error}") from error


def days_said(store: Store, trace: TraceId, *what: str) -> set[date]:
    """Days of which one of these verdicts holds."""
    last: dict[date, Verdict] = {}
    for entry in store.list(f"{trace}/"):
        found = _trace_day(entry.key)
        verdict = found and verdict_named(found[1])
        if found and verdict:
            day = found[0].day
            last[day] = max(verdict, last.get(day, verdict))
    return {day for day, verdict in last.items() if verdict.what in what}


def _trace_day(key: str) -> tuple[StationDay, str] | None:
    """The station-day that an object belongs to, and its key below that; None for others' keys."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    try:
        day = date.fromisoformat(match["day"])
        return StationDay(TraceId.parse(match["trace"]), day), match["rest"]
    except ValueError:
        return None


def attributes_of(marker: bytes, url: str) -> dict[str, Any]:
    """What a verdict says of a day that was read. Raises BadFormat."""
    try:
        attributes = json.loads(marker)["attributes"]
        if attributes["format"] != FORMAT:
            raise BadFormat(url, f"format {attributes['format']!r}, where {FORMAT!r} is read")
        for rate in attributes["rates"]:
            if not _RATE.fullmatch(rate):
                raise BadFormat(url, f"rates: {rate!r} is not the name of a group of it")
        told = {
            "flags": [(int(bits), int(low), int(high)) for bits, low, high in attributes["flags"]],
            "repairs": [int(ns) for ns in attributes["repairs"]],
            "detail": [str(text) for text in attributes["detail"]],
            "inputs": {str(key): str(etag) for key, etag in attributes["inputs"].items()},
            "given": {
                str(url): [(_component(row), int(low), int(high)) for row, low, high in each]
                for url, each in attributes.get("given", {}).items()
            },
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadFormat(url, f"not a station-day written by `tidepick ingest`: {error}") from error
    return {**attributes, **told}


def _component(name: Any) -> str:
    """Raises ValueError where it is none."""
    return COMPONENTS[COMPONENTS.index(name)]


def _read_rate(arrays: zarr.Group, start_ns: int, end_ns: int, url: str) -> list[Fragment]:
    """Fragments of one sampling rate of one station-day inside a span."""
    rate, first = float(arrays.attrs["rate"]), int(arrays.attrs["start"])  # type: ignore[arg-type]
    stored = _array(arrays, "data")
    low = max(grid_index(start_ns, rate), first)
    high = min(grid_index(end_ns, rate) + 1, first + stored.shape[1])
    if low >= high:
        return []
    if (samples := stored.shape[0] * (high - low)) > MOST_SAMPLES:
        raise TooMuch(url, samples)
    span = slice(low - first, high - first)
    data = np.empty((stored.shape[0], high - low), stored.dtype)
    for row in range(len(data)):  # zarr holds what it reads three times over
        data[row] = stored[row, span]
    mask = np.ones(data.shape, bool)
    if arrays.attrs["samples"] != [stored.shape[1]] * len(COMPONENTS):
        mask = np.asarray(_array(arrays, "mask")[:, span])
    lost = not mask.any() and data.any()  # zeros where masked: it is the mask's object
    if lost or (_is_filling(data, mask, stored.fill_value) and not stored.nchunks_initialized):
        raise BadFormat(url, f"a shard object is missing; {AGAIN}")
    table = np.asarray(_array(arrays, "offsets")[:])
    conflict = np.zeros(high - low, bool)
    if "conflict" in arrays:
        conflict = np.asarray(_array(arrays, "conflict")[span])

    fragments = []
    for row, component in enumerate(COMPONENTS):
        rows = table[table[:, 0] == row, 1:]
        offsets = offsets_within(rows, low, high) if len(rows) else np.array([[low, 0]], np.int64)
        valid = mask[row]
        if valid.any():
            whole = None if valid.all() else valid
            fragments.append(Fragment(component, rate, low, data[row], offsets, whole))
        disputed = conflict & ~valid
        if disputed.any():
            # Two witnesses that disagree where the records did, so that assembling finds it.
            conflict &= valid
            for value in (0, 1):
                witness = np.full(high - low, value, data.dtype)
                fragments.append(Fragment(component, rate, low, witness, offsets, disputed))
    return fragments


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """An array whose metadata ask for no more memory than a reading may have."""
    array = group[name]
    if not isinstance(array, zarr.Array):
        raise ValueError(f"{name} is no array")
    chunk, shard = math.prod(array.chunks), math.prod(array.shards or array.chunks)
    if not 0 < chunk <= LARGEST_CHUNK or shard // chunk > MOST_CHUNKS:
        raise ValueError(f"{name}: chunks of {array.chunks} in shards of {array.shards}")
    if name == "offsets" and math.prod(array.shape) > LARGEST_CHUNK:
        raise ValueError(f"{name}: shape {array.shape}")
    if name != "offsets" and array.shape[:-1] not in ((len(COMPONENTS),), ()):
        raise ValueError(f"{name}: shape {array.shape}")
    return array


def _is_filling(data: NDArray[Any], mask: NDArray[np.bool_], fill: Any) -> bool:
    """Whether samples may be zarr's filling, which is silent, instead of an object's."""
    if not mask.any():
        return False
    filled = np.isnan if data.dtype.kind == "f" else partial(np.equal, fill)
    first = np.unravel_index(int(mask.argmax()), mask.shape)
    return bool(filled(data[first])) and bool(filled(data[mask]).all())
