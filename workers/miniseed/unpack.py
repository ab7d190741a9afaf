"""Stretches of chains -> samples, fast where all is well and record by record where not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymseed import MiniSEEDError, MS3Record, MS3TraceList

from workers import shelf
from workers.miniseed.body import Body, pieces
from workers.miniseed.chains import Rows
from workers.miniseed.records import SAMPLE_KINDS, STEIM, Records

Samples = NDArray[np.int32] | NDArray[np.float32]

MANY = 10
"""Records of a channel, from which on a property of most is taken for the digitiser's habit."""

WITNESSES = 31
"""Records of a channel, evenly spread, that are asked for a habit."""

_DTYPES: dict[str, np.dtype[Any]] = {
    "i": np.dtype(np.int32),
    "f": np.dtype(np.float32),
    "d": np.dtype(np.float64),
}


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Samples of each stretch, int32 or float32; those of lost rows mean nothing.

    lost: rows that could not be read. disowned: most Steim records of the channel announce another
    last sample than they hold.
    """

    samples: Sequence[Samples]
    lost: Rows
    disowned: bool


def unpack(body: Body, records: Records, stretches: Sequence[Rows], channel: Rows) -> Unpacked:
    """Samples of stretches of chains, all of one channel, rate and kind of sample.

    channel: all of its rows, also those that are not asked for. libmseed only warns where a
    damaged Steim record does not end at the last sample that it announces, so that is checked
    here. Where few records of the channel miss it, those are damaged; where most do, the digitiser
    never wrote it.
    """
    samples = [_room(records, rows) for rows in stretches]
    rows = np.concatenate(stretches)
    owner = np.repeat(np.arange(len(stretches)), [len(part) for part in stretches])
    ends = [np.cumsum(records.count[part]) for part in stretches]
    place = np.concatenate(ends)
    first = place - records.count[rows]
    order = np.argsort(records.at[rows], kind="stable")
    failed: list[int] = []
    at, length = records.at[rows[order]], records.length[rows[order]]
    for part, base, view in pieces(body, at, length):
        chosen = np.sort(order[part])
        cuts = np.flatnonzero((np.diff(chosen) > 1) | (np.diff(owner[chosen]) > 0)) + 1
        for run in np.split(chosen, cuts):
            target = samples[owner[run[0]]][first[run[0]] : place[run[-1]]]
            failed += _unpack_run(view, base, records, rows[run], target)

    last = np.concatenate(
        [
            values[np.cumsum(records.count[part]) - 1]
            for part, values in zip(stretches, samples, strict=True)
        ]
    )
    steim = np.isin(records.encoding[rows], STEIM)
    doubtful = np.setdiff1d(rows[steim & (last != records.last[rows])], failed)
    disowned = len(doubtful) > 0 and _disowns(body, records, channel)
    lost = np.array(failed, np.intp) if disowned else np.union1d(failed, doubtful).astype(np.intp)
    return Unpacked(samples, np.sort(lost), disowned)


def _room(records: Records, rows: Rows) -> Samples:
    kind = SAMPLE_KINDS[int(records.encoding[rows[0]])]
    total = int(records.count[rows].sum())
    return shelf.empty(total, np.int32 if kind == "i" else np.float32)


def _unpack_run(
    view: memoryview, base: int, records: Records, rows: Rows, target: Samples
) -> list[int]:
    """Records that follow each other in a chain, into their place; returns those that fail."""
    at, length = records.at[rows] - base, records.length[rows]
    if (at[1:] == at[:-1] + length[:-1]).all():
        packed: bytes | memoryview = view[int(at[0]) : int(at[-1] + length[-1])]
    else:
        packed = b"".join(
            view[a : a + n] for a, n in zip(at.tolist(), length.tolist(), strict=True)
        )
    if _unpack_as_one(packed, _DTYPES[SAMPLE_KINDS[int(records.encoding[rows[0]])]], target):
        return []
    failed, begin = [], 0
    for row, a, n, count in zip(
        rows.tolist(), at.tolist(), length.tolist(), records.count[rows].tolist(), strict=True
    ):
        values = _unpack_record(view[a : a + n])
        if values is None or len(values) != count:
            failed.append(row)
        else:
            _narrow(values, target[begin : begin + count])
        begin += count
    return failed


def _unpack_as_one(packed: bytes | memoryview, kind: np.dtype[Any], target: Samples) -> bool:
    """Whether libmseed reads the bytes as one segment, which it then puts into `target`."""
    try:
        traces = MS3TraceList.from_buffer(packed, record_list=True)
        segments = [segment for trace in traces for segment in trace]
        if len(segments) != 1 or segments[0].samplecnt != len(target):
            return False
        samples = target if target.dtype == kind else np.empty(len(target), kind)
        segments[0].unpack_recordlist(samples)
    except (MiniSEEDError, ValueError):
        return False
    if samples is not target:
        _narrow(samples, target)
    return True


def _unpack_record(record: memoryview) -> NDArray[np.generic] | None:
    try:
        parsed = MS3Record.parse(record, unpack_data=True)
        return np.array(parsed.np_datasamples)
    except (MiniSEEDError, ValueError):
        return None


def _narrow(samples: NDArray[np.generic], target: Samples) -> None:
    """float64 -> float32; what is too large for it becomes Inf, and is masked with the rest."""
    with np.errstate(over="ignore"):
        np.copyto(target, samples, casting="same_kind")


def _disowns(body: Body, records: Records, channel: Rows) -> bool:
    """Whether most Steim records of a channel end at another sample than they announce."""
    if len(channel) < MANY:
        return False
    spread = np.unique(np.linspace(0, len(channel) - 1, WITNESSES).astype(np.intp))
    missed = 0
    for row in channel[spread].tolist():
        at = int(records.at[row])
        values = _unpack_record(body.read(at, at + int(records.length[row])))
        steim = records.encoding[row] in STEIM
        missed += steim and values is not None and values[-1:] != records.last[row]
    return bool(2 * missed > len(spread))
