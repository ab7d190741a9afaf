"""miniSEED 2 and 3 record headers -> one table, without unpacking a sample.

Objects of equally long miniSEED 2 records, which is nearly all there is, are read at once with
numpy; all others record by record with libmseed, skipping what is no record.
Formats: SEED 2.4 manual, chapter 8; https://docs.fdsn.org/projects/miniseed3.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pymseed import MiniSEEDError, MS3Record, sourceid2nslc

from catalog.schema import DAY_NS
from workers.miniseed.records import NS, STEIM, ChannelId, Records

_START = re.compile(rb"[0-9 \x00]{6}[DRQM][ \x00]|MS\x03")
_CONTROL = re.compile(rb"[0-9]{6}[VAST][ *]")  # volume and dictionary headers of full SEED
_BYTE = np.arange(256)
_IN_SEQUENCE = np.isin(_BYTE, np.frombuffer(b"0123456789 \0", np.uint8))
_IS_QUALITY = np.isin(_BYTE, np.frombuffer(b"DRQM", np.uint8))
_IS_BLANK = np.isin(_BYTE, np.frombuffer(b" \0", np.uint8))


_HEADER = np.dtype(
    {
        "names": [
            *("year", "day", "hour", "minute", "second", "tick", "count"),
            *("factor", "multiplier", "activity", "correction", "data", "blockette"),
        ],
        "formats": [
            *(">u2", ">u2", "u1", "u1", "u1", ">u2", ">u2"),
            *(">i2", ">i2", "u1", ">i4", ">u2", ">u2"),
        ],
        "offsets": [20, 22, 24, 25, 26, 28, 30, 32, 34, 36, 40, 44, 46],
        "itemsize": 48,
    }
)
"""The fixed header of miniSEED 2, big-endian; a tick is 100 microseconds."""


def scan(body: bytes) -> Records:
    """All records of an object; none where it is not miniSEED."""
    found = _START.search(body)
    if found is None:
        return _table([], [], [], False)
    records = _scan_uniform(body) if found.start() == 0 else None
    return _scan_walking(body) if records is None else records


def _scan_uniform(body: bytes) -> Records | None:
    """Records of miniSEED 2 of one length from the first byte on; None where that is not so."""
    length = _length(body)
    rows = len(body) // length if length else 0
    if not rows or body[:2] == b"MS":
        return None
    matrix = np.frombuffer(body, np.uint8, rows * length).reshape(rows, length)
    fixed = np.ascontiguousarray(matrix[:, :48])
    header = fixed.view(_HEADER)[:, 0]
    order = ">"
    if not 1900 <= header["year"][0] <= 2100:
        header, order = header.view(_HEADER.newbyteorder()), "<"
    if not _plausible(header, fixed):
        return None

    year, hour, minute, second, tick, correction = (
        header[name].astype(np.int64)
        for name in ("year", "hour", "minute", "second", "tick", "correction")
    )
    days = (year - 1970).astype("M8[Y]").astype("M8[D]").astype(np.int64)
    days += header["day"].astype(np.int64) - 1
    correction[header["activity"] & 2 != 0] = 0  # it has been applied
    start = days * DAY_NS + (hour * 3600 + minute * 60 + second) * NS
    start += (tick + correction) * 100_000
    rate = _nominal_rate(header["factor"], header["multiplier"])
    encoding = np.zeros(rows, np.int64)
    last = np.zeros(rows, np.int64)

    for same, layout in _layouts(matrix, header, order):
        whole = slice(None) if same.all() else same
        sized = False
        for kind, at in layout:
            block = matrix[whole, at : at + 8]
            if kind == 1000:
                encoding[whole] = block[:, 4]
                # A Steim payload in little-endian words has its last sample elsewhere.
                sized = bool((block[:, 5] == 1).all())
                sized &= bool((1 << block[:, 6].astype(np.int64) == length).all())
            elif kind == 1001:
                start[whole] += block[:, 5].astype(np.int8).astype(np.int64) * 1000
            elif kind == 100:
                rate[whole] = np.ascontiguousarray(block[:, 4:]).view(order + "f4")[:, 0]
        data = int(header["data"][whole][0])
        if not sized or (header["data"][whole] != data).any() or data + 12 > length:
            return None
        last[whole] = np.ascontiguousarray(matrix[whole, data + 8 : data + 12]).view(">i4")[:, 0]

    channel, channels = _number_codes(fixed[:, 8:20])
    begin = np.arange(rows, dtype=np.int64) * length
    tail = rows * length
    truncated = _is_cut(body, tail)
    junk = [] if truncated or tail == len(body) else [(tail, len(body), rows)]
    count = header["count"].astype(np.int64)
    lengths = np.full(rows, length, np.int64)
    return Records(
        begin, lengths, channel, start, count, rate, encoding, last, channels, junk, truncated
    )


def _is_cut(body: bytes, at: int) -> bool:
    """Whether the rest of an object begins like a record, as far as it goes."""
    return 0 < len(body) - at < 8 or _START.match(body, at) is not None


def _length(body: bytes) -> int:
    """Bytes of the first record, 0 where it is none."""
    try:
        return int(MS3Record.parse(body).reclen)
    except MiniSEEDError:
        return 0


def _plausible(header: NDArray[np.void], fixed: NDArray[np.uint8]) -> bool:
    """Whether every row begins like a data record (libmseed's MS2_ISVALIDHEADER, and a year)."""
    return bool(
        _IN_SEQUENCE[fixed[:, :6]].all()
        and _IS_QUALITY[fixed[:, 6]].all()
        and _IS_BLANK[fixed[:, 7]].all()
        and (np.abs(header["year"].astype(np.int64) - 2000) <= 100).all()
        and ((header["day"] >= 1) & (header["day"] <= 366)).all()
        and (header["hour"] <= 23).all()
        and (header["minute"] <= 59).all()
        and (header["second"] <= 60).all()
    )


def _nominal_rate(factor: NDArray[np.int16], multiplier: NDArray[np.int16]) -> NDArray[np.float64]:
    """Hz; a negative factor is a period, a negative multiplier a divisor; zero is no waveform."""
    a, b = factor.astype(np.float64), multiplier.astype(np.float64)
    for term in (a, b):
        np.divide(-1, term, out=term, where=term < 0)
    return a * b


def _layouts(
    matrix: NDArray[np.uint8], header: NDArray[np.void], order: str
) -> Iterator[tuple[NDArray[np.bool_], list[tuple[int, int]]]]:
    """Groups of rows with the same blockettes, and these as (type, position)."""
    pending = np.ones(len(matrix), bool)
    while pending.any():
        first = int(np.argmax(pending))
        same = pending & (header["blockette"] == header["blockette"][first])
        layout: list[tuple[int, int]] = []
        at = int(header["blockette"][first])
        while 48 <= at <= matrix.shape[1] - 8:
            kind, following = struct.unpack_from(order + "HH", matrix[first], at)
            layout.append((kind, at))
            same &= (matrix[:, at : at + 4] == matrix[first, at : at + 4]).all(axis=1)
            at = following if following > at else 0
        pending &= ~same
        yield same, layout


def _number_codes(codes: NDArray[np.uint8]) -> tuple[NDArray[np.int64], list[ChannelId]]:
    """Channels numbered in order of appearance, and their codes."""
    station = np.ascontiguousarray(codes[:, :8]).view(np.uint64)[:, 0]
    rest = np.ascontiguousarray(codes[:, 8:]).view(np.uint32)[:, 0]
    number = np.full(len(codes), -1, np.int64)
    channels: list[ChannelId] = []
    while (number < 0).any():
        first = int(np.argmin(number))
        number[(station == station[first]) & (rest == rest[first])] = len(channels)
        channels.append(_codes_of(codes[first].tobytes()))
    return number, channels


def _codes_of(field: bytes) -> ChannelId:
    """Station 5, location 2, channel 3, network 2 characters of a miniSEED 2 header."""
    station, location, channel, network = (
        part.decode("latin-1").strip(" \x00")
        for part in (field[:5], field[5:7], field[7:10], field[10:12])
    )
    return ChannelId(network, station, location, channel)


def _scan_walking(body: bytes) -> Records:
    """Record by record; where there is none, on to the next thing that reads as one."""
    view = memoryview(body)
    rows: list[tuple[float, ...]] = []
    numbers: dict[ChannelId, int] = {}
    junk: list[tuple[int, int, int]] = []
    truncated = False
    at = 0
    while at < len(body):
        try:
            record = MS3Record.parse(view[at:])
        except MiniSEEDError as error:
            found = _next_start(view, at + 1)
            cut = found == len(body) and error.status_code > 0 and _is_cut(body, at)
            truncated |= cut
            if not cut and not _CONTROL.match(body, at):
                junk.append((at, found, len(rows)))
            at = found
            continue
        length = record.reclen
        codes = _record_codes(body, at, record)
        last = 0
        payload = at + length - record.datalength
        if record.encoding in STEIM and record.datalength >= 12:
            (last,) = struct.unpack_from(
                ">i" if record.swapflag_dict()["payload_swapped"] else "<i", body, payload + 8
            )
        number = numbers.setdefault(codes, len(numbers))
        rate = record.samprate if record.samprate > 0 else 0.0
        rows.append(
            (at, length, number, record.starttime, record.samplecnt, rate, record.encoding, last)
        )
        at += length
    return _table(rows, list(numbers), junk, truncated)


def _table(
    rows: list[tuple[float, ...]],
    channels: list[ChannelId],
    junk: list[tuple[int, int, int]],
    truncated: bool,
) -> Records:
    at, length, channel, start, count, rate, encoding, last = (
        zip(*rows, strict=True) if rows else [()] * 8
    )
    whole = [np.array(column, np.int64) for column in (at, length, channel, start, count)]
    return Records(
        *(whole[0], whole[1], whole[2], whole[3], whole[4]),
        np.array(rate, np.float64),
        np.array(encoding, np.int64),
        np.array(last, np.int64),
        channels,
        junk,
        truncated,
    )


def _next_start(view: memoryview, at: int) -> int:
    """Position from `at` on where a whole record can be parsed; the end where there is none."""
    for found in _START.finditer(view, at):
        try:
            MS3Record.parse(view[found.start() :])
        except MiniSEEDError:
            continue
        return found.start()
    return len(view)


def _record_codes(body: bytes, at: int, record: MS3Record) -> ChannelId:
    if record.formatversion == 2:
        return _codes_of(body[at + 8 : at + 20])
    identifier = body[at + 40 : at + 40 + body[at + 33]].decode("latin-1").strip(" \x00")
    try:
        return ChannelId(*(part.strip() for part in sourceid2nslc(identifier)))
    except (MiniSEEDError, ValueError):
        return ChannelId("", identifier, "", "")
