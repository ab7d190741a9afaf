"""What is mutated: small whole objects of every format that is looked for."""

from __future__ import annotations

import io
import tempfile
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from obspy import Stream, Trace, UTCDateTime
from pymseed import DataEncoding, MS3TraceList

from catalog.schema import TraceId, day_start_ns
from workers.synthetic import station_day

LARGEST = 40_000
"""Bytes of a seed: many small files find more than a few large ones."""

START = day_start_ns(date(2024, 3, 1)) + 3_000_000

FORMATS = (
    *("ah", "alsep", "ascii", "css", "cybershake", "dmx", "gcf", "gse2", "kinemetrics", "mseed"),
    *("nied", "pdas", "reftek", "rg16", "sac", "seg2", "segy", "seisan", "sh", "wav", "win", "y"),
)
"""Packages of obspy.io that read waveforms and bring examples."""


@cache
def seeds() -> dict[str, dict[str, bytes]]:
    """Kind -> name -> bytes. miniSEED of several shapes, and every other format obspy knows."""
    return {
        "mseed2": {**_mseed2(), **_several()},
        "mseed3": _mseed3(),
        "written": _written(),
        "shipped": _shipped(),
    }


@cache
def _rows() -> NDArray[np.int32]:
    """Twenty seconds of three components with an event."""
    trace = TraceId("XX", "SYN", "00", "HH")
    rng = np.random.default_rng(1)
    return np.ascontiguousarray(station_day(trace, START, 20.0, 3600.0, rng).data, np.int32)


def _stream(kind: str = "int32", rate: float = 100.0) -> Stream:
    header = {"network": "XX", "station": "SYN", "location": "00", "sampling_rate": rate}
    return Stream(
        Trace(
            row.astype(kind),
            {**header, "channel": f"HH{c}", "starttime": UTCDateTime(ns=START)},
        )
        for c, row in zip("ZNE", _rows(), strict=True)
    )


def _mseed2() -> dict[str, bytes]:
    found = {}
    for encoding, kind in (
        *(("STEIM1", "int32"), ("STEIM2", "int32"), ("INT32", "int32"), ("INT16", "int16")),
        *(("FLOAT32", "float32"), ("FLOAT64", "float64")),
    ):
        for length in (256, 512, 4096):
            for order in (1, 0):
                out = io.BytesIO()
                _stream(kind).write(out, "MSEED", encoding=encoding, reclen=length, byteorder=order)
                found[f"{encoding}-{length}-{'<>'[order]}"] = out.getvalue()[:LARGEST]
    out = io.BytesIO()
    _stream(rate=99.993).write(out, "MSEED", reclen=512)  # blockette 100
    return {**found, "odd-rate": out.getvalue()}


def _several() -> dict[str, bytes]:
    """Formats, encodings and lengths mixed in one object, and one sent twice."""
    one, other = _mseed2(), _mseed3()
    return {
        "lengths": one["STEIM2-512->"] + one["STEIM1-256-<"] + one["INT32-4096->"],
        "versions": one["STEIM2-512->"][:5120] + other["STEIM2"] + one["FLOAT32-512->"][:5120],
        "twice": one["STEIM2-512->"][:8192] * 2,
    }


def _mseed3() -> dict[str, bytes]:
    found = {}
    for encoding, kind, code in (
        (DataEncoding.STEIM1, "int32", "i"),
        (DataEncoding.STEIM2, "int32", "i"),
        (DataEncoding.INT32, "int32", "i"),
        (DataEncoding.INT16, "int32", "i"),
        (DataEncoding.FLOAT32, "float32", "f"),
        (DataEncoding.FLOAT64, "float64", "d"),
    ):
        traces = MS3TraceList()
        for component, row in zip("ZNE", _rows() // 4, strict=True):
            samples = np.ascontiguousarray(row.astype(kind))
            if encoding == DataEncoding.INT16:
                samples = np.clip(samples, -30_000, 30_000)
            name = f"FDSN:XX_SYN_00_H_H_{component}"
            traces.add_data(name, samples, code, 100.0, starttime=START)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "object"
            traces.to_file(path, max_record_length=512, encoding=encoding, format_version=3)
            found[encoding.name] = path.read_bytes()[:LARGEST]
    return found


def _written() -> dict[str, bytes]:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, options in (
            *(("SAC", "float32", {"byteorder": order}) for order in ("<", ">")),
            ("SACXY", "float32", {}),
            ("GSE2", "int32", {}),
            ("SEGY", "float32", {}),
            ("SU", "float32", {}),
            ("WAV", "int32", {}),
            ("SLIST", "int32", {}),
            ("TSPAIR", "int32", {}),
            ("SH_ASC", "float32", {}),
            ("AH", "float32", {}),
            ("PICKLE", "int32", {}),
        ):
            path = Path(folder) / name
            stream = _stream(kind)[:1] if name in ("SAC", "SACXY", "WAV") else _stream(kind)
            for trace in stream:
                trace.data = trace.data[:1000]
                if name in ("SEGY", "SU"):
                    trace.stats.starttime = UTCDateTime(2024, 3, 1)
            stream.write(str(path), name, **options)
            order = options.get("byteorder", "")
            found[f"{name}{order}"] = path.read_bytes()[:LARGEST]
    return found


def _shipped() -> dict[str, bytes]:
    """Examples that obspy ships, of each format the smallest."""
    found = {}
    for package in FORMATS:
        folder = Path(str(files("obspy") / "io" / package / "tests" / "data"))
        small = [
            p for p in folder.rglob("*") if p.is_file() and 40 < p.stat().st_size <= 4 * LARGEST
        ]
        for path in sorted(small, key=lambda p: (p.stat().st_size, p.name))[:14]:
            found[f"{package}/{path.relative_to(folder)}"] = path.read_bytes()[:LARGEST]
    return found
