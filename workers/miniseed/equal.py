"""A stretch of equally long miniSEED 2 records -> a table, all of them at once with numpy.

What is taken here libmseed reads just so; whatever is out of the ordinary is left to it.
Format: SEED 2.4 manual, chapter 8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pymseed import MiniSEEDError, MS3Record

from catalog.schema import DAY_NS
from workers.miniseed.marks import CALIBRATION, CALIBRATIONS, marks_of
from workers.miniseed.records import NS, STEIM, ChannelId, Columns

LAYOUTS = 8
"""Different chains of blockettes in one stretch; records of further ones are read one by one."""
FEW_CHANNELS = 64
"""In one stretch, that are numbered all records at once; those of further ones one by one."""

_BYTE = np.arange(256)
_IN_SEQUENCE = np.isin(_BYTE, np.frombuffer(b"0123456789 \0", np.uint8))
_IS_QUALITY = np.isin(_BYTE, np.frombuffer(b"DRQM", np.uint8))
_IS_BLANK = np.isin(_BYTE, np.frombuffer(b" \0", np.uint8))
_IS_TEXT = ((_BYTE >= 0x20) & (_BYTE < 0x7F)) | (_BYTE >= 0xA0)

_HEADER = np.dtype(
    {
        "names": [
            *("year", "day", "hour", "minute", "second", "tick", "count"),
            *("factor", "multiplier", "activity", "clock", "quality", "correction", "data"),
            "blockette",
        ],
        "formats": [
            *(">u2", ">u2", "u1", "u1", "u1", ">u2", ">u2"),
            *(">i2", ">i2", "u1", "u1", "u1", ">i4", ">u2", ">u2"),
        ],
        "offsets": [20, 22, 24, 25, 26, 28, 30, 32, 34, 36, 37, 38, 40, 44, 46],
        "itemsize": 48,
    }
)
"""The fixed header of miniSEED 2, big-endian; a tick is 100 microseconds."""


def equal_records(
    view: memoryview, at: int, length: int, most: int, numbers: dict[ChannelId, int]
) -> Columns | None:
    """Records of miniSEED 2 from `at` on, of `length` bytes, up to the first unlike the others.

    None where already the first is none. What is taken here libmseed reads just so.
    """
    rows = min((len(view) - at) // length if length else 0, most)
    if not rows or bytes(view[at : at + 2]) == b"MS":
        return None
    matrix = np.frombuffer(view, np.uint8, rows * length, at).reshape(rows, length)
    fixed = np.ascontiguousarray(matrix[:, :48])
    header = fixed.view(_HEADER)[:, 0]
    order = ">"
    if not 1900 <= header["year"][0] <= 2100:
        header, order = header.view(_HEADER.newbyteorder()), "<"
    good = _plausible(header, fixed)
    if not good.all():
        stop = int(np.argmin(good))
        matrix, fixed, header = matrix[:stop], fixed[:stop], header[:stop]
        rows = stop
    if not rows:
        return None

    start, rate = _start(header), _nominal_rate(header["factor"], header["multiplier"])
    encoding = np.zeros(rows, np.int16)
    last = np.zeros(rows, np.int32)
    marks = marks_of(header["activity"], header["clock"], header["quality"], header["second"])
    good = np.zeros(rows, bool)
    for same, layout in _layouts(matrix, header, order):
        whole = slice(None) if same.all() else same
        data = int(header["data"][whole][0])
        fits = (header["data"][whole] == data) & (48 <= data <= length - 12)
        sized = False
        for kind, position in layout:
            block = matrix[whole, position : position + 8]
            if kind == 1000:
                encoding[whole] = block[:, 4]
                # A Steim payload in little-endian words has its last sample elsewhere.
                fits &= (block[:, 5] == 1) & (1 << block[:, 6].astype(np.int64) == length)
                sized = True
            elif kind == 1001:
                start[whole] += block[:, 5].astype(np.int8).astype(np.int64) * 1000
            elif kind == 100:
                rate[whole] = np.ascontiguousarray(block[:, 4:]).view(order + "f4")[:, 0]
                fits &= rate[whole] > 0
            elif kind in CALIBRATIONS:
                marks[whole] |= CALIBRATION
        good[whole] = fits & sized
        if sized and 48 <= data <= length - 12:
            ends = np.ascontiguousarray(matrix[whole, data + 8 : data + 12])
            last[whole] = ends.view(">i4")[:, 0]
    last[~np.isin(encoding, STEIM)] = 0
    stop = rows if good.all() else int(np.argmin(good))
    if not stop:
        return None
    return {
        "at": at + np.arange(stop, dtype=np.int64) * length,
        "length": np.full(stop, length, np.int32),
        "channel": _number_codes(fixed[:stop, 8:20], numbers),
        "start": start[:stop],
        "count": header["count"][:stop].astype(np.int32),
        "rate": rate[:stop],
        "encoding": encoding[:stop],
        "last": last[:stop],
        "marks": marks[:stop],
    }


def _start(header: NDArray[np.void]) -> NDArray[np.int64]:
    """ns since the epoch, as the fixed header has it."""
    days = (header["year"].astype(np.int64) - 1970).astype("M8[Y]").astype("M8[D]")
    start = (days.astype(np.int64) + header["day"] - 1) * DAY_NS
    for name, unit in (("hour", 3600 * NS), ("minute", 60 * NS), ("second", NS)):
        start += header[name].astype(np.int64) * unit
    correction = np.where(header["activity"] & 2 != 0, 0, header["correction"])  # 2: applied
    start += (header["tick"] + correction.astype(np.int64)) * 100_000
    return np.asarray(start)


def begins_record(view: memoryview) -> bool:
    """Whether bytes begin like a data record of miniSEED 2, and name a station."""
    if len(view) < 48:
        return False
    fixed = np.frombuffer(view, np.uint8, 48).reshape(1, 48)
    header = fixed.view(_HEADER)[:, 0]
    either = (header, header.view(_HEADER.newbyteorder()))
    named = bool(_IS_TEXT[fixed[0, 8:20]].all())
    return named and any(bool(_plausible(each, fixed)[0]) for each in either)


def length_of(view: memoryview) -> int:
    """Bytes of the first record, 0 where it is none."""
    try:
        return int(MS3Record.parse(view).reclen)
    except MiniSEEDError:
        return 0


def _plausible(header: NDArray[np.void], fixed: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Which rows begin like a data record (libmseed's MS2_ISVALIDHEADER, and a year)."""
    good = np.asarray(_IN_SEQUENCE[fixed[:, :6]].all(axis=1))
    good &= _IS_QUALITY[fixed[:, 6]] & _IS_BLANK[fixed[:, 7]]
    good &= (header["year"] >= 1900) & (header["year"] <= 2100)
    good &= (header["day"] >= 1) & (header["day"] <= 366)
    good &= (header["hour"] <= 23) & (header["minute"] <= 59) & (header["second"] <= 60)
    good &= header["tick"] <= 9999
    return good


def _nominal_rate(factor: NDArray[np.int16], multiplier: NDArray[np.int16]) -> NDArray[np.float64]:
    """Hz; a negative factor is a period, a negative multiplier a divisor, a zero one is none.

    Each case is one division, as in libmseed, so that the last bit is the same.
    """
    if (factor > 0).all() and (multiplier == 1).all():
        return factor.astype(np.float64)
    a, b = factor.astype(np.float64), multiplier.astype(np.float64)
    over = np.where(a > 0, a, 1) * np.where(b > 0, b, 1)
    under = np.where(a < 0, a, 1) * np.where(b < 0, b, 1)
    return np.where(a == 0, 0.0, np.abs(over / under))


def _layouts(
    matrix: NDArray[np.uint8], header: NDArray[np.void], order: str
) -> Iterator[tuple[NDArray[np.bool_], list[tuple[int, int]]]]:
    """Up to LAYOUTS groups of rows with the same blockettes, and these as (type, position).

    A chain of blockettes that leads backwards or out of the record is left to libmseed.
    """
    pending = np.ones(len(matrix), bool)
    for _ in range(LAYOUTS):
        first = int(np.argmax(pending))
        same = pending & (header["blockette"] == header["blockette"][first])
        layout: list[tuple[int, int]] = []
        at, before = int(header["blockette"][first]), 47
        while before < at <= matrix.shape[1] - 8:
            kind, following = struct.unpack_from(order + "HH", matrix[first], at)
            layout.append((kind, at))
            same &= (matrix[:, at : at + 4] == matrix[first, at : at + 4]).all(axis=1)
            at, before = following, at
        pending &= ~same
        yield same, (layout if at == 0 else [])
        if not pending.any():
            return


def _number_codes(codes: NDArray[np.uint8], numbers: dict[ChannelId, int]) -> NDArray[np.int32]:
    """Channels numbered in order of appearance in the object."""
    station = np.ascontiguousarray(codes[:, :8]).view(np.uint64)[:, 0]
    rest = np.ascontiguousarray(codes[:, 8:]).view(np.uint32)[:, 0]
    number = np.full(len(codes), -1, np.int32)
    for _ in range(FEW_CHANNELS):
        first = int(np.argmin(number))
        if number[first] >= 0:
            return number
        channel = numbers.setdefault(codes_of(codes[first].tobytes()), len(numbers))
        number[(station == station[first]) & (rest == rest[first])] = channel
    for row in np.flatnonzero(number < 0).tolist():
        number[row] = numbers.setdefault(codes_of(codes[row].tobytes()), len(numbers))
    return number


def codes_of(field: bytes) -> ChannelId:
    """Station 5, location 2, channel 3, network 2 characters of a miniSEED 2 header."""
    station, location, channel, network = (
        part.decode("latin-1").strip(" \x00")
        for part in (field[:5], field[5:7], field[7:10], field[10:12])
    )
    return ChannelId(network, station, location, channel)
