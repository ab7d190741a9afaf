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
    result = np.full(len(columns), np.nan, np.float32)
    for k, column in enumerate(columns):
        here = slice(max(column + low, 0), max(column + high, 0))
        ranges = [
            float(values.max()) - float(values.min())
            for values in (row[has] for row, has in zip(data[:, here], mask[:, here], strict=True))
            if len(values)
        ]
        if ranges:
            result[k] = max(ranges) / 2
    return result
