"""What of a fragment lies in a span."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from workers.waveform import Fragment, grid_index


def clip(fragment: Fragment, start_ns: int, end_ns: int) -> Fragment | None:
    """The part of a fragment on the grid of [start_ns, end_ns); itself where that is all of it."""
    low = max(fragment.start, grid_index(start_ns, fragment.rate))
    high = min(fragment.stop, grid_index(end_ns, fragment.rate))
    if (low, high) == (fragment.start, fragment.stop):
        return fragment
    if low >= high:
        return None
    part = slice(low - fragment.start, high - fragment.start)
    return replace(
        fragment,
        start=low,
        samples=fragment.samples[part].copy(),  # not to hold the rest
        valid=None if fragment.valid is None else fragment.valid[part],
        offsets=offsets_within(fragment.offsets, low, high),
    )


def offsets_within(offsets: NDArray[np.int64], start: int, stop: int) -> NDArray[np.int64]:
    """Rows of an offset table (see Fragment) that hold in [start, stop), the first at `start`."""
    first = max(int(np.searchsorted(offsets[:, 0], start, side="right")) - 1, 0)
    last = int(np.searchsorted(offsets[:, 0], stop, side="left"))
    rows = offsets[first : max(last, first + 1)].copy()
    rows[0, 0] = start
    return rows
