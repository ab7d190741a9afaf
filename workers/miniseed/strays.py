"""Records whose header is damaged, though it reads: they are not where, or what, they claim to be.

Their neighbours in the object tell: these leave a hole in time just as long as the record. What
such a record holds is not trusted, for it would spoil or feign other data. Looks at the headers of
a whole object alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.miniseed.chains import Rows
from workers.miniseed.records import NS, STEIM, Records, duration_ns

DISPLACED = 10
"""Samples from its place, from which on a record is not just late or early."""

DISORDER = 0.01
"""Of the records of a channel, that may follow later ones where the others tell one's place."""

EARLIEST, LATEST = 0, 7_258_118_400 * NS
"""1970 and 2200: no record outside was ever recorded digitally."""

INT32 = 3
_EXCHANGED = (INT32, *STEIM)
"""Encodings that one recorder may use in turn."""


def ends(records: Records, rows: Rows) -> NDArray[np.int64]:
    """ns [rows] at which the sample after the last is due; of a damaged rate, the start."""
    rate = records.rate[rows]
    if len(rows) and rate.min() == rate.max() and rate[0] > 0:
        return records.start[rows] + duration_ns(records.count[rows], float(rate[0]))
    interval = np.divide(NS, rate, out=np.zeros(len(rows)), where=rate > 0)
    return records.start[rows] + np.rint(records.count[rows] * interval).astype(np.int64)


def possible(records: Records) -> NDArray[np.bool_]:
    """Whether each record begins when there were recorders: bool [records]."""
    return np.asarray((records.start >= EARLIEST) & (records.start < LATEST))


def misnamed(records: Records, waveform: NDArray[np.bool_]) -> Rows:
    """Records that alone have their codes, in a hole of the channel before and after them.

    waveform: bool [records], which hold samples.
    """
    channel = records.channel
    if len(records.channels) < 2 or len(channel) < 3:
        return np.zeros(0, np.intp)
    alone = (np.bincount(channel) == 1)[channel]
    row = 1 + np.flatnonzero(alone[1:-1] & (channel[:-2] == channel[2:]))
    row = row[waveform[row] & waveform[row - 1] & waveform[row + 1]]
    return row[_fills(records, row - 1, row, row + 1) & _begins(records, row - 1, row)]


def misplaced(records: Records, rows: Rows) -> Rows:
    """Of the waveform records of one channel, in the order of the object, those of another time.

    One that lies far from the hole between its neighbours, which nothing else fills, and either
    overlaps others where it is, or adjoins none.
    """
    none = np.zeros(0, np.intp)
    if len(rows) < 3:
        return none
    start, stop = records.start[rows], ends(records, rows)
    late = np.abs(start[1:-1] - stop[:-2])
    if late.max() <= DISPLACED * NS / records.rate[rows].max():
        return none
    if (np.diff(start) < 0).sum() > 2 + DISORDER * len(rows):
        return none
    step = NS / records.rate[rows]
    far = 1 + np.flatnonzero(late > DISPLACED * step[1:-1])
    far = far[_fills(records, rows[far - 1], rows[far], rows[far + 1])]
    if not len(far):
        return none
    starts, stops, half = np.sort(start), np.sort(stop), step[far] / 2

    def others(low: NDArray[np.float64], high: NDArray[np.float64]) -> NDArray[np.intp]:
        """How many records overlap each [low, high)."""
        return np.searchsorted(starts, high) - np.searchsorted(stops, low, side="right")

    low, high = stop[far - 1] + half, start[far + 1] - half
    own_low, own_high = start[far] + half, stop[far] - half
    itself = (own_low < high) & (own_high > low)
    empty = others(low, high) - itself == 0
    overlaps = others(own_low, own_high) > 1
    adjoins = _near(starts, stop[far], half) | _near(stops, start[far], half)
    far = far[empty & (overlaps | ~adjoins)]
    return rows[[k for k in far.tolist() if not _is_twin(records, rows, k)]]


def miscoded(records: Records, rows: Rows) -> Rows:
    """Of the waveform records of one channel, in the order of the object, those whose encoding
    no other has, between two of one encoding that they adjoin."""
    encoding = records.encoding[rows]
    if len(rows) < 3 or (encoding == encoding[0]).all():
        return np.zeros(0, np.intp)
    rare = np.isin(encoding, np.flatnonzero(np.bincount(encoding) == 1))
    between = encoding[:-2] == encoding[2:]
    exchanged = np.isin(encoding, _EXCHANGED)
    alike = exchanged[1:-1] & exchanged[:-2]
    k = 1 + np.flatnonzero(rare[1:-1] & between & ~alike)
    return rows[k[_fills(records, rows[k - 1], rows[k], rows[k + 1])]]


def holes(records: Records, good: Rows, rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First and last ns [rows] that damaged records leave empty among `good` ones of the channel.

    Between its neighbours in the object; at an end of the channel as long as it claims to be.
    Where that is no time at all, first and last are one. There is at least one good record.
    """
    after = np.searchsorted(good, rows)
    claimed = ends(records, rows) - records.start[rows]
    first, last = after == 0, after == len(good)
    previous, following = good[np.maximum(after - 1, 0)], good[np.minimum(after, len(good) - 1)]
    low = np.where(first, records.start[following] - claimed, ends(records, previous))
    high = np.where(last, low + claimed, records.start[following])
    return low, np.maximum(low, high)


def room(records: Records, rows: Rows | slice) -> NDArray[np.int64]:
    """Samples [rows] that there is room for, whatever a header says: seven a word of Steim 2."""
    return records.length[rows].astype(np.int64) * 7 // 4


def _begins(records: Records, before: Rows, row: Rows) -> NDArray[np.bool_]:
    """Whether a record begins where the one before it ends."""
    return np.asarray(
        np.abs(records.start[row] - ends(records, before)) <= NS / records.rate[before] / 2
    )


def _fills(records: Records, before: Rows, row: Rows, after: Rows) -> NDArray[np.bool_]:
    """Whether there is a hole between two records just as long as a third."""
    step = NS / records.rate[before]
    gap = records.start[after] - ends(records, before)
    return np.asarray((gap > step / 2) & (np.abs(gap - records.count[row] * step) <= step / 2))


def _near(
    times: NDArray[np.int64], wanted: NDArray[np.int64], within: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Whether any of the sorted times is within reach of each wanted one."""
    low = np.searchsorted(times, wanted - within)
    return np.asarray(np.searchsorted(times, wanted + within, side="right") > low)


def _is_twin(records: Records, rows: Rows, k: int) -> bool:
    """Whether another record seems to be the same one, sent again."""
    row = rows[k]
    same = (records.start[rows] == records.start[row]) & (records.count[rows] == records.count[row])
    return int((same & (records.last[rows] == records.last[row])).sum()) > 1
