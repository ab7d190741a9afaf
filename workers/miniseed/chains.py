"""Records of one channel -> chains of contiguous samples on the grid.

It looks at the records alone, never at the span that is asked for: a sample and its place on the
grid are the same however the data are cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from workers.miniseed.body import Body, pieces
from workers.miniseed.records import NS, Records, duration_ns
from workers.waveform import grid_index, grid_time

Rows = NDArray[np.intp]


def in_time(records: Records, rows: Rows) -> Rows:
    """Rows sorted by start, then length, then place in the object."""
    if (np.diff(records.start[rows]) > 0).all():
        return rows
    return rows[np.lexsort((rows, records.count[rows], records.start[rows]))]


def distinct(body: Body, records: Records, rows: Rows) -> Rows:
    """Rows in time, without records that equal another but for the sequence number."""
    rows = in_time(records, rows)
    start, count = records.start[rows], records.count[rows]
    twin = np.append(False, (start[1:] == start[:-1]) & (count[1:] == count[:-1]))
    if not twin.any():
        return rows
    twins = np.flatnonzero(twin | np.append(twin[1:], False))
    prints = _fingerprints(body, records, rows[twins])
    order = np.lexsort((twins, prints, count[twins], start[twins]))
    ordered = [values[order] for values in (prints, count[twins], start[twins])]
    again = np.append(False, np.all([v[1:] == v[:-1] for v in ordered], axis=0))
    return np.delete(rows, twins[order[again]])


def _fingerprints(body: Body, records: Records, rows: Rows) -> NDArray[np.uint64]:
    """64 bits for each record's bytes but its sequence number."""
    prints = np.zeros(len(rows), np.uint64)
    order = np.argsort(records.at[rows], kind="stable")
    at, length = records.at[rows[order]], records.length[rows[order]]
    for part, base, view in pieces(body, at, length):
        begins, ends = (at[part] - base + 8).tolist(), (at[part] - base + length[part]).tolist()
        prints[order[part]] = [
            int.from_bytes(blake2b(view[a:b], digest_size=8).digest())
            for a, b in zip(begins, ends, strict=True)
        ]
    return prints


def chain(records: Records, rows: Rows) -> list[Rows]:
    """Rows of one channel and rate as contiguous chains, in order of start.

    A record continues a chain when it starts within half a sample of where that ends. A chain is
    cut where its records have drifted more than one sample from the grid that its first is on.
    """
    if not len(rows):
        return []
    rows = in_time(records, rows)
    rate = float(records.rate[rows[0]])
    half = NS / rate / 2
    start = records.start[rows]
    end = start + duration_ns(records.count[rows], rate)
    breaks = np.flatnonzero(np.abs(start[1:] - end[:-1]) > half) + 1

    chains: list[list[NDArray[np.intp]]] = []
    ends: dict[int, int] = {}  # of the chains that a later record may still continue
    for run in np.split(np.arange(len(rows)), breaks):
        begins = int(start[run[0]])
        ends = {number: time for number, time in ends.items() if time >= begins - half}
        number = min(ends, key=lambda one: abs(begins - ends[one]), default=-1)
        if number < 0 or abs(begins - ends[number]) > half:
            number = len(chains)
            chains.append([])
        chains[number].append(run)
        ends[number] = int(end[run[-1]])
    return [
        part for runs in chains for part in _cut_by_drift(records, rows[np.concatenate(runs)], rate)
    ]


def _cut_by_drift(records: Records, rows: Rows, rate: float) -> Iterator[Rows]:
    while len(rows):
        _, offset = offsets(records, rows, rate)
        beyond = np.flatnonzero(np.abs(offset) > NS / rate)
        stop = max(int(beyond[0]), 1) if len(beyond) else len(rows)  # a record alone is a chain
        yield rows[:stop]
        rows = rows[stop:]


def offsets(
    records: Records, rows: Rows, rate: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of the r rows of a chain: grid index [r] of the first sample, true minus grid ns [r]."""
    count = records.count[rows]
    before = np.cumsum(count) - count
    first = grid_index(int(records.start[rows[0]]), rate)
    on_grid = grid_time(first, rate) + duration_ns(before, rate)
    return first + before, records.start[rows] - on_grid


def inside(
    records: Records, rows: Rows, index: NDArray[np.int64], start_ns: int, end_ns: int
) -> slice:
    """Which rows of a chain, whose first samples stand at `index`, reach into [start_ns, end_ns).

    A sample more on either side, as the grid sample of a record may lie beyond its own time.
    """
    rate = float(records.rate[rows[0]])
    low, high = grid_index(start_ns, rate) - 1, grid_index(end_ns, rate) + 1
    first = int(np.searchsorted(index + records.count[rows], low, side="right"))
    return slice(first, max(first, int(np.searchsorted(index, high, side="left"))))
