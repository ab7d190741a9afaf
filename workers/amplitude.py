"""How large the ground moved at a pick, in the unit of the data (counts as a rule).

Half the peak-to-peak range of the largest component: of the signal from 0.5 s before the pick to
2 s after it, and of the noise from 3 s to 0.5 s before it. Raw samples, no response removed; both
depend on the few seconds around the pick only.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

SIGNAL_S = (-0.5, 2.0)
NOISE_S = (-3.0, -0.5)

BLOCK = 4096
"""Picks at a time: weights that pick everything cost time, not memory."""


def half_range(
    data: NDArray[np.int32] | NDArray[np.float32],
    mask: NDArray[np.bool_],
    columns: NDArray[np.int64],
    rate: float,
    span_s: tuple[float, float],
) -> NDArray[np.float32]:
    """For each column [k] of data [3, n]: half the range of the span about it, NaN without data.

    A table holds NaN as null.
    """
    low, high = (round(edge * rate) for edge in span_s)
    begin, width = columns + low, high - low
    result = np.full(len(columns), np.nan, np.float32)
    whole = np.flatnonzero((begin >= 0) & (begin + width <= data.shape[1]))
    for first in range(0, len(whole), BLOCK):
        block = whole[first : first + BLOCK]
        result[block] = _half_ranges(data, mask, begin[block], width)
    for k in np.setdiff1d(np.arange(len(columns)), whole):  # the span leaves the data
        inside = slice(max(int(begin[k]), 0), max(int(begin[k]) + width, 0))
        some, has = data[:, inside], mask[:, inside]
        if some.shape[1]:
            result[k] = _half_ranges(some, has, np.zeros(1, np.int64), some.shape[1])[0]
    return result


def _half_ranges(
    data: NDArray[np.int32] | NDArray[np.float32],
    mask: NDArray[np.bool_],
    begin: NDArray[np.int64],
    width: int,
) -> NDArray[np.float32]:
    """Of the spans of `width` columns that begin at each of [k]."""
    samples = sliding_window_view(data, width, axis=1)[:, begin]  # [3, k, width]
    missing = ~sliding_window_view(mask, width, axis=1)[:, begin]
    if missing.any():  # a component's own first sample there changes no range
        first = np.take_along_axis(samples, missing.argmin(axis=2)[..., None], axis=2)
        np.copyto(samples, first, where=missing)
    ranges = samples.max(axis=2).astype(np.float64) - samples.min(axis=2)
    ranges[missing.all(axis=2)] = np.nan
    best: NDArray[np.float64] = np.fmax.reduce(ranges, axis=0)
    return (best / 2).astype(np.float32)
