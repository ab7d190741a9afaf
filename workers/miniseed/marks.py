"""What the flag bytes and the blockettes of a record say of its samples and of its clock.

Formats: SEED 2.4 manual, fixed section of the data header, fields 12 to 14; miniSEED 3, field 3.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Flag

CALIBRATION, QUESTIONABLE, LOCKED, CLIPPED, SPIKE, PADDED = 1, 2, 4, 8, 16, 32
"""Bits of the column `marks`. LOCKED tells something only where some record of the channel has it:
many digitisers never set it."""

FLAGS = {
    CALIBRATION: Flag.CALIBRATION,
    QUESTIONABLE: Flag.CLOCK,
    CLIPPED: Flag.CLIPPED,
    SPIKE: Flag.SPIKE,
    PADDED: Flag.FILLED,
}

CALIBRATIONS = (300, 310, 320, 390, 395)
"""Blockettes: step, sine, pseudo-random, generic calibration, and the abort of one."""

LEAP_SECOND = 60
"""In the header's seconds: a leap second has just begun."""

_ACTIVITY = ((0, CALIBRATION), (4, QUESTIONABLE), (5, QUESTIONABLE))  # 4, 5: a leap second in it
_CLOCK = ((5, LOCKED),)
_QUALITY = (
    *((0, CLIPPED), (1, CLIPPED)),  # amplifier saturation, digitiser clipping
    *((2, SPIKE), (3, SPIKE)),  # spikes, glitches
    *((4, PADDED), (7, QUESTIONABLE)),  # missing data padded, time tag questionable
)
_VERSION_3 = ((0, CALIBRATION), (1, QUESTIONABLE), (2, LOCKED))


def _table(*meanings: tuple[int, int]) -> NDArray[np.uint8]:
    """Marks for each value of a byte, from those of its bits."""
    values = np.arange(256)
    table = np.zeros(256, np.uint8)
    for bit, mark in meanings:
        table |= np.where(values >> bit & 1, mark, 0).astype(np.uint8)
    return table


_BY_ACTIVITY, _BY_CLOCK, _BY_QUALITY = _table(*_ACTIVITY), _table(*_CLOCK), _table(*_QUALITY)
_BY_VERSION_3 = _table(*_VERSION_3)


def marks_of(
    activity: NDArray[np.uint8],
    clock: NDArray[np.uint8],
    quality: NDArray[np.uint8],
    second: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    """Of miniSEED 2 records [k], from three flag bytes and the seconds of their headers."""
    marks = _BY_ACTIVITY[activity] | _BY_CLOCK[clock] | _BY_QUALITY[quality]
    leap = second == LEAP_SECOND
    if leap.any():
        marks[leap] |= QUESTIONABLE
    return marks


def marks_of_one(record: memoryview) -> int:
    """Of one record of either version."""
    if bytes(record[:2]) == b"MS":
        leap = QUESTIONABLE if record[14] == LEAP_SECOND else 0
        return int(_BY_VERSION_3[record[3]]) | leap
    fields = np.frombuffer(record, np.uint8, 48)
    marks = int(marks_of(fields[36:37], fields[37:38], fields[38:39], fields[26:27])[0])
    (year,) = struct.unpack_from(">H", record, 20)
    order = ">" if 1900 <= year <= 2100 else "<"
    (at,), before = struct.unpack_from(order + "H", record, 46), 47
    while before < at <= len(record) - 8:
        kind, following = struct.unpack_from(order + "HH", record, at)
        if kind in CALIBRATIONS:
            marks |= CALIBRATION
        at, before = following, at
    return marks
