"""Days of one trace in SDS, ingested into Zarr, and whether both read the same."""

from __future__ import annotations

import io
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray
from obspy import Stream, Trace, UTCDateTime

from catalog.schema import DAY_NS, TraceId
from catalog.store import open_store
from workers.archives import Archive, ArchiveConfig, open_archive
from workers.ingest import Ingested, ingest
from workers.waveform import Reading, Waveform, assemble, grid_index

HH = TraceId("XX", "SYN", "", "HH")
DAY = date(2022, 2, 5)
END = DAY + timedelta(days=3)
SECOND = 1_000_000_000


def miniseed(samples: NDArray[np.generic], start_ns: int, component: str, rate: float) -> bytes:
    header = {
        "network": "XX",
        "station": "SYN",
        "channel": "HH" + component,
        "sampling_rate": rate,
        "starttime": UTCDateTime(ns=start_ns),
    }
    out = io.BytesIO()
    encoding = "FLOAT32" if samples.dtype == np.float32 else "STEIM2"
    Stream([Trace(samples, header)]).write(out, "MSEED", encoding=encoding, reclen=512)
    return out.getvalue()


def put_day(root: str, day: date, component: str, body: bytes) -> None:
    name = f"XX.SYN..HH{component}.D.{day:%Y.%j}"
    open_store(root).create(f"{day.year}/XX/SYN/HH{component}.D/{name}", body)


def opened(kind: str, root: str) -> Archive:
    return open_archive(ArchiveConfig.model_validate({"kind": kind, "root": root}))


def done(source: str, destination: str) -> list[Ingested]:
    return list(ingest(opened("sds", source), open_store(destination), DAY, END))


def origins(waveform: Waveform) -> NDArray[np.int64]:
    """Offset of every sample that there is, by component."""
    index = np.arange(waveform.start, waveform.stop)
    found = np.zeros(waveform.mask.shape, np.int64)
    for row, table in enumerate(waveform.offsets):
        if len(table):
            place = np.maximum(np.searchsorted(table[:, 0], index, side="right") - 1, 0)
            found[row] = table[place, 1]
    return np.where(waveform.mask, found, 0)


def assert_same(a: Archive, b: Archive, rate: float, start_ns: int, end_ns: int) -> Waveform:
    one, two = (archive.read(HH, start_ns, end_ns) for archive in (a, b))
    return assert_equal(one, two, rate, start_ns, end_ns)


def assert_equal(a: Reading, b: Reading, rate: float, start_ns: int, end_ns: int) -> Waveform:
    low, high = grid_index(start_ns, rate), grid_index(end_ns, rate)
    one, two = (assemble(reading.fragments, rate, low, high) for reading in (a, b))
    assert one.data.dtype == two.data.dtype
    np.testing.assert_array_equal(one.data, two.data)
    np.testing.assert_array_equal(one.mask, two.mask)
    np.testing.assert_array_equal(origins(one), origins(two))
    nothing = np.zeros(high - low, bool)
    np.testing.assert_array_equal(
        nothing if one.conflict is None else one.conflict,
        nothing if two.conflict is None else two.conflict,
    )
    return one


def span_of(start_ns: int, rate: float) -> tuple[int, int]:
    return grid_index(start_ns, rate), grid_index(start_ns + DAY_NS, rate)


NOISE = np.random.default_rng(5).integers(-999, 999, 2 * 864_000).astype(np.int32)
NOISE_DAY = 864_000
