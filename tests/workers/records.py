"""miniSEED records to read: written, damaged, stamped anew, and what became of them."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from obspy import Stream, Trace, UTCDateTime
from pymseed import DataEncoding, MS3Record

from catalog.schema import DAY_NS, TraceId
from workers.archives import objects as gathering
from workers.decode import Decoded, decode
from workers.miniseed import body as bodies
from workers.miniseed import scanning
from workers.miniseed.body import Held
from workers.miniseed.records import ChannelId, Records
from workers.waveform import Fragment, Waveform, assemble

ORIGIN = 1_643_932_800 * 100  # grid index of 2022-02-04 at 100 Hz
STEP = 10_000_000  # ns between samples
START = ORIGIN * STEP
RECORD = 512  # bytes
Z = ChannelId("XX", "SYN", "", "HHZ")
TRACE = TraceId("XX", "SYN", "", "HH")


def miniseed(
    samples: NDArray[np.generic],
    start_ns: int,
    codes: ChannelId = Z,
    rate: float = 100.0,
    encoding: str = "STEIM2",
    reclen: int = 512,
) -> bytes:
    header = {
        "network": codes.network,
        "station": codes.station,
        "location": codes.location,
        "channel": codes.code,
        "sampling_rate": rate,
        "starttime": UTCDateTime(ns=start_ns),
    }
    out = io.BytesIO()
    Stream([Trace(samples, header)]).write(out, "MSEED", encoding=encoding, reclen=reclen)
    return out.getvalue()


def version_3(samples: NDArray[np.int32], start_ns: int, flags: int) -> bytes:
    record = MS3Record(reclen=RECORD, encoding=DataEncoding.STEIM2)
    record.sourceid = "FDSN:XX_SYN__H_H_Z"
    record.starttime = start_ns
    record.samprate = 100.0
    record.formatversion = 3
    record.flags = flags
    return b"".join(bytes(part) for part in record.generate(data_samples=samples, sample_type="i"))


def noise(n: int, seed: int = 0, amplitude: int = 5000) -> NDArray[np.int32]:
    return np.random.default_rng(seed).integers(-amplitude, amplitude, n).astype(np.int32)


def signal(n: int, seed: int = 0) -> NDArray[np.int32]:
    """Loud and quiet, so that records hold different numbers of samples."""
    loud = 10 ** (1.5 + np.sin(np.arange(n) / 300 + seed))
    return np.cumsum(np.random.default_rng(seed).normal(size=n) * loud).astype(np.int32)


def records_of(body: bytes, length: int = RECORD) -> list[bytearray]:
    return [bytearray(body[at : at + length]) for at in range(0, len(body), length)]


def stamped(record: bytearray, ns: int) -> None:
    """Another start time for a miniSEED 2 record, to 100 microseconds."""
    days, rest = divmod(ns, DAY_NS)
    year, day = 1970, days
    while day >= (length := 366 if year % 4 == 0 and (year % 100 or not year % 400) else 365):
        day, year = day - length, year + 1
    seconds, ticks = divmod(rest // 100_000, 10_000)
    struct.pack_into(">HHBBB", record, 20, year, day + 1, seconds // 3600, seconds // 60 % 60, 0)
    struct.pack_into(">BxH", record, 26, seconds % 60, ticks)


def rated(record: bytearray, rate: float) -> None:
    """Another sampling rate for a miniSEED 2 record, as factor and multiplier."""
    if float(rate).is_integer():
        struct.pack_into(">hh", record, 32, int(rate), 1)
    else:
        divisor = 1000 if rate < 32 else 100
        struct.pack_into(">hh", record, 32, round(rate * divisor), -divisor)


def in_pieces(patched: pytest.MonkeyPatch, size: int) -> None:
    """From now on objects are read that many bytes at a time."""
    patched.setattr(scanning, "PIECE", size)
    patched.setattr(scanning, "LOOKAHEAD", 2048)  # longer than any record here
    patched.setattr(bodies, "PIECE", size)
    patched.setattr(bodies, "GAP", size // 4)
    patched.setattr(gathering, "PIECE", size)


def table(body: bytes) -> Records:
    return scanning.scan(Held(body))


def fragments_of(body: bytes, codes: ChannelId = Z) -> list[Fragment]:
    return list(decode(body, "object").channels[codes].fragments)


def waveform_of(decoded: Decoded, count: int, rate: float = 100.0) -> Waveform:
    fragments = [f for channel in decoded.channels.values() for f in channel.fragments]
    low = START * int(rate) // 10**9
    return assemble(fragments, rate, low, low + count)


def flagged(decoded: Decoded, bit: int, count: int) -> NDArray[np.bool_]:
    """Samples at 100 Hz over which a flag holds."""
    times = START + np.arange(count) * STEP
    found = np.zeros(count, bool)
    for channel in decoded.channels.values():
        for flag, low, high in channel.flags:
            if flag & bit:
                found |= (times >= low) & (times < high)
    return found


def spans(decoded: Decoded, bit: int, codes: ChannelId = Z) -> list[tuple[int, int]]:
    return sorted((a, b) for flag, a, b in decoded.channels[codes].flags if flag == bit)
