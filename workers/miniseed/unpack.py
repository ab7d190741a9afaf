"""Chains of miniSEED records -> samples, fast where all is well and record by record where not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymseed import MiniSEEDError, MS3Record, MS3TraceList

from workers.miniseed.chains import Rows, chain
from workers.miniseed.records import SAMPLE_KINDS, STEIM, Records

Samples = NDArray[np.int32] | NDArray[np.float32]

MANY = 10
"""Records of a channel, from which on a property of most is taken for the digitiser's habit."""

_DTYPES = {"i": np.int32, "f": np.float32, "d": np.float64}


@dataclass(frozen=True, slots=True)
class Unpacked:
    """Chains of one channel with their samples, int32 or float32.

    lost: rows that could not be read; they break the chains. disowned: most Steim records
    announce another last sample than they hold.
    """

    chains: list[tuple[Rows, Samples]]
    lost: Rows
    disowned: bool


def unpack(body: bytes, records: Records, rows: Rows) -> Unpacked:
    """Samples of rows of one channel, rate and kind of sample.

    libmseed only warns where a damaged Steim record does not end at the last sample that it
    announces, so that is checked here. Where few records miss it, those are damaged; where most
    do, the digitiser never wrote it.
    """
    chains: list[tuple[Rows, Samples]] = []
    failed: list[int] = []
    doubtful: list[int] = []
    pending = chain(records, rows)
    while pending:
        link = pending.pop()
        samples = _unpack_chain(body, records, link)
        if samples is None:
            parts = {int(row): _unpack_record(body, records, int(row)) for row in link}
            broken = [row for row, part in parts.items() if part is None]
            if broken:
                failed += broken
                pending += chain(records, np.setdiff1d(link, broken))
                continue
            samples = np.concatenate([part for part in parts.values() if part is not None])
        chains.append((link, samples))
        last = samples[np.cumsum(records.count[link]) - 1]
        steim = np.isin(records.encoding[link], STEIM)
        doubtful += link[steim & (last != records.last[link])].tolist()

    disowned = 2 * len(doubtful) > len(rows) >= MANY
    if doubtful and not disowned:
        failed += doubtful
        chains = [
            (part, samples[np.repeat(np.isin(link, part), records.count[link])])
            for link, samples in chains
            for part in chain(records, np.setdiff1d(link, doubtful))
        ]
    return Unpacked(chains, np.array(sorted(failed), np.intp), disowned)


def _unpack_chain(body: bytes, records: Records, rows: Rows) -> Samples | None:
    """Samples of a chain in one go; None where libmseed does not read it as one segment."""
    at, length, total = records.at[rows], records.length[rows], int(records.count[rows].sum())
    view = memoryview(body)
    if (at[1:] == at[:-1] + length[:-1]).all():
        packed: bytes | memoryview = view[int(at[0]) : int(at[-1] + length[-1])]
    else:
        packed = b"".join(
            view[a : a + n] for a, n in zip(at.tolist(), length.tolist(), strict=True)
        )
    samples = np.empty(total, _DTYPES[SAMPLE_KINDS[int(records.encoding[rows[0]])]])
    try:
        traces = MS3TraceList.from_buffer(packed, record_list=True)
        segments = [segment for trace in traces for segment in trace]
        if len(segments) != 1 or segments[0].samplecnt != total:
            return None
        segments[0].unpack_recordlist(samples)
    except (MiniSEEDError, ValueError):
        return None
    return _narrow(samples)


def _unpack_record(body: bytes, records: Records, row: int) -> Samples | None:
    at, length = records.at[row], records.length[row]
    try:
        parsed = MS3Record.parse(memoryview(body)[at : at + length], unpack_data=True)
        samples = parsed.np_datasamples.copy()
    except (MiniSEEDError, ValueError):
        return None
    return _narrow(samples) if len(samples) == records.count[row] else None


def _narrow(samples: NDArray[np.generic]) -> Samples:
    """float64 -> float32; what is too large for it becomes Inf, and is masked with the rest."""
    if samples.dtype != np.float64:
        return samples  # type: ignore[return-value]
    with np.errstate(over="ignore"):
        return samples.astype(np.float32)
