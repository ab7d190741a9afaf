"""One-to-one matching of picks with reference arrivals, for one station and one phase.

The best matching has as many pairs as possible and, among those, the least sum of |dt|. Counting
every pair within the tolerance lets one pick find two arrivals; taking the nearest pair first, or
the arrivals in turn, can use up a pick that another arrival needs. This one is exact.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Times = npt.NDArray[np.int64]
Indices = npt.NDArray[np.intp]


def tolerance_ns(tolerance_s: float) -> int:
    """A tolerance in whole nanoseconds, so that a pick exactly on the limit is inside."""
    if not 0.0 <= tolerance_s < 3600.0:
        raise ValueError(f"tolerance {tolerance_s!r}: give seconds, from 0 to below 3600")
    return round(tolerance_s * 1e9)


def match(arrivals: Times, picks: Times, tolerance: int) -> tuple[Indices, Indices]:
    """Pairs (arrival, pick) with |pick - arrival| <= tolerance, each row used at most once.

    `arrivals` [n] and `picks` [m] are times in int64 nanoseconds, in any order; `tolerance` is in
    nanoseconds. Returns two index arrays of equal length, in time order: row k says that
    `arrivals[first[k]]` is matched with `picks[second[k]]`. Where two matchings are equally good,
    the earlier pick is kept.

    If two pairs cross in time, exchanging their picks makes neither the longest of the two longer
    nor their sum larger, so some best matching crosses nowhere. Hence a sweep suffices: with both
    sides sorted, best(i, j) over the first i picks and j arrivals drops the last pick, drops the
    last arrival, or joins them. Only arrivals within the tolerance of pick i are visited: time and
    memory grow with the number of pairs within the tolerance, not with n * m.
    """
    arrival_order = np.argsort(arrivals, kind="stable")
    pick_order = np.argsort(picks, kind="stable")
    arrivals, picks = arrivals[arrival_order], picks[pick_order]
    first = np.searchsorted(arrivals, picks - tolerance, side="left")
    last = np.searchsorted(arrivals, picks + tolerance, side="right")
    near = np.flatnonzero(last > first)
    pairs = _sweep(
        arrivals.tolist(),
        picks[near].tolist(),
        first[near].tolist(),
        last[near].tolist(),
        reward=1 + tolerance * len(near),
    )
    matched = np.asarray(pairs, dtype=np.intp).reshape(-1, 2)
    return arrival_order[matched[:, 0]], pick_order[near[matched[:, 1]]]


def _sweep(
    arrivals: list[int], picks: list[int], first: list[int], last: list[int], reward: int
) -> list[tuple[int, int]]:
    """Pairs (arrival, pick) of sorted times; pick i may be matched with arrivals [first, last).

    The cost of a matching is sum |dt| - reward * pairs. The reward exceeds any possible sum, so
    one more pair always pays; Python's integers keep the cost exact.
    """
    # rows[i][j - first[i]] is the least cost over picks 0..i and the first j arrivals. Beyond
    # last[i] it stays what it is at last[i]; below first[i] it is that of the row before.
    rows: list[list[int]] = []
    for i, time in enumerate(picks):
        above = [_cost(rows, first, i - 1, j) for j in range(first[i], last[i] + 1)]
        row = above[:1]
        for k, arrival in enumerate(arrivals[first[i] : last[i]]):
            row.append(min(above[k + 1], row[k], above[k] + abs(time - arrival) - reward))
        rows.append(row)

    pairs: list[tuple[int, int]] = []
    i, j = len(picks) - 1, len(arrivals)
    while i >= 0:
        j = min(j, last[i])
        cost = rows[i][j - first[i]] if j > first[i] else None
        if cost is None or cost == _cost(rows, first, i - 1, j):
            i -= 1  # best without this pick
        elif cost == rows[i][j - 1 - first[i]]:
            j -= 1  # best without this arrival
        else:
            i, j = i - 1, j - 1
            pairs.append((j, i + 1))
    return pairs[::-1]


def _cost(rows: list[list[int]], first: list[int], i: int, j: int) -> int:
    """Least cost over picks 0..i and the first j >= first[i] arrivals; no pick costs nothing."""
    return rows[i][min(j - first[i], len(rows[i]) - 1)] if i >= 0 else 0
