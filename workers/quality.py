"""What is wrong with this station-day's samples, and what the network sees in their place.

`strict`, the default:

    spike            masked and filled                     SPIKE, FILLED   (workers/screens.py)
    NaN, Inf         masked where decoded, and filled      NOT_FINITE, FILLED
    signal at limit  kept                                  CLIPPED
    calibration      masked                                CALIBRATION
    recentring       masked, 0.5 s before to 3 s after     CALIBRATION
    gap up to 1 s    filled by a straight line             FILLED
    longer gap       zeros; where no component has a sample, windows end and begin again

What is masked or filled is no sample: a pick whose peak stands where no living component has one is
not made. A flag is that of the day, and of the picks within half a window.

A clipped earthquake is an earthquake: its onset stands before the limit is reached, and a plateau
has none. Only its amplitude is too small. A recording that stands at its limit for a whole window
is dead there.

`seisbench` is what SeisBench does, for parity: NaN, Inf and contradicting overlaps are masked, what
is missing is zero, and no other sample is looked at. Records are read alike in both: damaged ones
are skipped, rates corrected by their times, and U, V, W turned.

What a sample becomes depends on the data up to `context` samples away, which every span reads
beside its halo. The screens look at spikes and limits before anything is resampled, at the rate of
the data; at steps and gaps on the grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Flag
from workers.screens import BESIDE, STEP_S, Ranges, Row, limits, spikes, steps
from workers.waveform import BoolArray, Samples, Waveform, grid_index, marked, stretches

IntArray = NDArray[np.int64]

Quality = Literal["strict", "seisbench"]

FILL_S = 1.0
"""The longest gap that is filled, in seconds, in whose second before and after at least half of the
samples are there. A line has no onset, and a thirtieth of a window of it is little; a window that
ends instead costs the picks of half a window on either side their second opinion, and of stretches
under 30 s all. Most gaps of telemetry, a lost packet, are shorter."""

STEP_MASK_S = (0.5, 3.0)
"""Before and after a step: the next window begins where the trace is smooth again."""


def context(rate: int) -> int:
    """Grid samples around one that its fate may depend on: 1,720 at 100 Hz.

    A spike, a step and its mask, a gap's fill, each of which looks at what the last has left.
    """
    return BESIDE + round((2 * STEP_S + 1 + 2 * FILL_S) * rate)


def screened(waveform: Waveform) -> Waveform:
    """Spikes masked and zero (in place), SPIKE and CLIPPED marked; at any rate."""
    marks = dict(waveform.marks)
    for samples, has in zip(waveform.data, waveform.mask, strict=True):
        if not has.any():
            continue
        row = Row(samples, None if has.all() else has, waveform.start)
        ranges = Ranges.of(row)
        at_limit, spike = limits(row, ranges), spikes(row, ranges)
        for bit, columns in ((Flag.CLIPPED, at_limit), (Flag.SPIKE, spike)):
            if len(columns):
                marked(marks, bit, _columns(len(has), columns))
        samples[spike], has[spike] = 0, False
    return replace(waveform, marks=marks)


def mended(waveform: Waveform, flags: Sequence[tuple[int, int, int]]) -> Waveform:
    """Calibrations and steps masked, short gaps filled (in place), CALIBRATION and FILLED marked.

    flags: of the reading, (bits, start ns, end ns).
    """
    rate, (data, mask) = waveform.rate, (waveform.data, waveform.mask)
    marks, n = dict(waveform.marks), mask.shape[1]
    spans = [
        tuple(grid_index(ns, rate) - waveform.start for ns in (low, high))
        for bits, low, high in flags
        if bits & Flag.CALIBRATION
    ]
    before, after = (round(seconds * rate) for seconds in STEP_MASK_S)
    whole = [bool(has.all()) for has in mask]
    for samples, has, full in zip(data, mask, whole, strict=True):
        row = Row(samples, None if full else has, waveform.start)
        spans += [(step - before, step + after) for step in steps(row, round(rate)).tolist()]
    for low, high in spans:
        here = slice(max(low, 0), max(high, 0))
        data[:, here], mask[:, here] = 0, False
        where = np.zeros(n, bool)
        where[here] = True
        marked(marks, Flag.CALIBRATION, where)
    if spans or not all(whole):
        for samples, has in zip(data, mask, strict=True):
            filled = _filled(samples, has, round(FILL_S * rate))
            if len(filled):
                marked(marks, Flag.FILLED, _columns(n, filled))
    return replace(waveform, marks=marks)


def _filled(samples: Samples, has: BoolArray, longest: int) -> IntArray:
    """Draw lines over the short gaps of a component, int32 rounded; the columns drawn."""
    starts, stops = stretches(has).T
    until = np.concatenate([[0], np.cumsum(stops - starts)])

    def there(low: IntArray) -> IntArray:
        """Samples in [low, low + longest)."""
        counts = []
        for column in (low, low + longest):
            k = np.searchsorted(starts, column, side="right") - 1
            last = np.minimum(column, stops[k]) - starts[k]
            counts.append(np.where(k >= 0, until[k] + last, 0))
        return np.asarray(counts[1] - counts[0])

    first, after = stops[:-1], starts[1:]
    short = after - first <= longest
    first, after = first[short], after[short]
    enough = np.minimum(there(first - longest), there(after)) >= longest / 2
    first, after = first[enough], after[enough]
    length = after - first
    step = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    left, right = (samples[edge].astype(np.float64) for edge in (first - 1, after))
    slope = np.repeat((right - left) / (length + 1), length)
    line = np.repeat(left, length) + (step + 1) * slope
    columns: IntArray = np.repeat(first, length) + step
    samples[columns] = np.rint(line) if samples.dtype == np.int32 else line
    return columns


def _columns(n: int, columns: IntArray) -> BoolArray:
    where = np.zeros(n, bool)
    where[columns] = True
    return where
