"""How large the ground moved at a pick, in the unit of the data (counts as a rule).

Half the peak-to-peak range of the largest component: of the signal from 0.5 s before the pick to
2 s after it, and of the noise from 3 s to 0.5 s before it. Raw samples, no response removed; both
depend on the few seconds around the pick only.
"""

from __future__ import annotations

import numpy as np
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
    blocks = [columns[k : k + BLOCK] for k in range(0, len(columns), BLOCK)] or [columns]
    return np.concatenate([_half_range(data, mask, block, low, high) for block in blocks])


def _half_range(
    data: NDArray[np.int32] | NDArray[np.float32],
    mask: NDArray[np.bool_],
    columns: NDArray[np.int64],
    low: int,
    high: int,
) -> NDArray[np.float32]:
    here = np.arange(low, high)[:, None] + columns  # [samples, k]: numpy is fastest over k
    outside = (here < 0) | (here >= data.shape[1])
    here[outside] = 0
    samples = data[:, here]  # [3, samples, k]
    missing = ~mask[:, here] | outside
    if missing.any():  # a component's own first sample there changes no range
        first = np.take_along_axis(samples, missing.argmin(axis=1)[:, None], axis=1)
        samples = np.where(missing, first, samples)
    ranges = samples.max(axis=1).astype(np.float64) - samples.min(axis=1)
    ranges[missing.all(axis=1)] = np.nan
    best: NDArray[np.float64] = np.fmax.reduce(ranges, axis=0)
    return (best / 2).astype(np.float32)
