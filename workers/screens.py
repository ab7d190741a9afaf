"""What is wrong with single samples: spikes, limits and steps, each by a rule of its neighbourhood.

Ranges of BLOCK samples, counted from the Unix epoch, say where to look; a day of clean data is
looked at no closer. What is found at a sample depends on the data within BESIDE samples of it
(a spike, a limit) or within 6 s (a step), and not on where a span was cut.

Thresholds are far from what the ground does. In the 4 + 4 + 4 x 1 hours of three components and the
78 labelled earthquakes of the tests' recordings no sample is a spike, a limit or a step; see
tests/workers/test_quality.py for how close they come.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from workers.waveform import BoolArray, Samples

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]

BLOCK, AROUND = 256, 2  # samples; blocks on either side that a block is compared with
SIDE, TRIM = 50, 2  # samples on either side of a spike; of those the outliers that are forgotten
FEW = 8  # only every so many of them is looked at first
BESIDE = (AROUND + 1) * BLOCK + SIDE + 2

SPIKE = 10.0
"""How often the range of its half seconds a spike is high. Of noise that range is 3 to 4 standard
deviations; an onset is no spike, for the range after it is its own."""

RUN, LIMIT_SHARE, LIMIT_COUNTS = 5, 200, 8
"""A limit: so many equal samples, which the signal reaches and leaves by at least a 200th of the
range of its 13 s, and 8 counts. Ground motion is flat only where it turns, one count a time."""

STEP, STEP_S, RISE_S, SMOOTH = 20.0, 3, 0.25, 50.0
"""A step: within 0.25 s the trace leaves the range of 3 s by 20 times that range, does not come
back for 3 s, and moves meanwhile by less than a 50th of the step from sample to sample. A recentred
seismometer does so, and a calibration's square; a wave of any period under 6 s comes back."""

SLAB = 256  # blocks looked at closely at a time


@dataclass(frozen=True, slots=True)
class Row:
    """One component. samples [n]; has: bool [n], where there is one, or None: everywhere. start:
    grid index of the first."""

    samples: Samples
    has: BoolArray | None
    start: int

    def there(self, columns: IntArray) -> BoolArray:
        """Whether there are samples at columns, bool like `columns`."""
        return np.ones(columns.shape, bool) if self.has is None else self.has[columns]


@dataclass(frozen=True, slots=True)
class Ranges:
    """The whole blocks of a row. first: column of the first; low, high: float64 [blocks]."""

    first: int
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, row: Row) -> Ranges:
        """Of every block of the absolute grid that lies wholly in the row."""
        first = -row.start % BLOCK
        count = max(len(row.samples) - first, 0) // BLOCK
        low, high = np.empty(count), np.empty(count)
        for begin in range(0, count, SLAB):  # both in one pass over memory
            here = slice(begin, min(begin + SLAB, count))
            slab = row.samples[first + begin * BLOCK : first + here.stop * BLOCK]
            begins = np.arange(0, len(slab), BLOCK)
            low[here] = np.minimum.reduceat(slab, begins)
            high[here] = np.maximum.reduceat(slab, begins)
        return cls(first, low, high)


def spikes(row: Row, ranges: Ranges) -> IntArray:
    """Columns [k] of spikes: one or two samples that stand SPIKE times as far from the line through
    their neighbours as the samples of the half seconds beside them from each other.

    Two outliers are allowed on either side, and one spike in 2.56 s: where every block within
    AROUND has one, none is found. A range below one count, in data of counts, counts as one.
    """
    extent = ranges.high - ranges.low
    blocks = np.flatnonzero(extent > SPIKE / 2 * around(extent, np.minimum))
    found = [_spikes(row, ranges.first + blocks[k : k + SLAB] * BLOCK) for k in _slabs(blocks)]
    return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)


def _spikes(row: Row, begins: IntArray) -> IntArray:
    pad = SIDE + 2
    begins = begins[(begins >= pad) & (begins + BLOCK + pad <= len(row.samples))]
    if not len(begins):
        return np.zeros(0, np.int64)
    columns = begins[:, None] + np.arange(-pad, BLOCK + pad)
    values, has = row.samples[columns].astype(np.float64), row.there(columns)
    quantum = _quantum(values)
    found = []
    for width in (1, 2):
        at = [slice(pad + k, pad + BLOCK + k) for k in range(-1, width + 1)]
        left, right = values[:, at[0]], values[:, at[-1]]
        slope = (right - left) / (width + 1)
        heights = [np.abs(values[:, at[k]] - left - k * slope) for k in range(1, width + 1)]
        height = np.minimum.reduce(heights)
        whole = np.logical_and.reduce([has[:, each] for each in at])
        rows, first = np.nonzero(
            whole & (height > SPIKE * np.maximum(np.abs(right - left), quantum))
        )
        sides = (-1, np.arange(-SIDE, 0)), (width, np.arange(width, width + SIDE))
        for apart in (FEW, 1):  # some samples never have a larger range than all
            near = np.broadcast_to(quantum, height.shape)[rows, first]
            for edge, beside in sides:
                inside = rows[:, None], pad + first[:, None] + beside[::apart]
                known = values[rows, pad + first + edge][:, None]
                near = np.maximum(near, _trimmed(np.where(has[inside], values[inside], known)))
            isolated = height[rows, first] > SPIKE * near
            rows, first = rows[isolated], first[isolated]
        spike = begins[rows] + first
        found += [spike + k for k in range(width)]
    return np.concatenate(found)


def _trimmed(sides: FloatArray) -> FloatArray:
    """The range of each row [k, n] without its TRIM highest and lowest."""
    last = sides.shape[1] - 1 - TRIM
    ordered = np.partition(sides, (TRIM, last), axis=1)
    return np.asarray(ordered[:, last] - ordered[:, TRIM])


def limits(row: Row, ranges: Ranges) -> IntArray:
    """Columns [k] where the signal stands at the limit of what was recorded: plateaus of RUN equal
    samples or more at the highest or lowest value of the blocks AROUND, steep on either side.

    Looked for where the signal sets in, and where several blocks have one extreme.
    """
    high, low = around(ranges.high, np.maximum), around(ranges.low, np.minimum)
    extent = ranges.high - ranges.low
    loud = extent > SPIKE / 2 * around(extent, np.minimum)
    found = [np.zeros(0, np.int64)]
    for extreme, own in ((high, ranges.high), (low, ranges.low)):
        blocks = np.flatnonzero((own == extreme) & (high > low) & (loud | _repeated(own)))
        for k in _slabs(blocks):
            some = blocks[k : k + SLAB]
            begins = ranges.first + some * BLOCK
            found.append(_plateaus(row, begins, extreme[some], (high - low)[some]))
    return np.unique(np.concatenate(found))


def _repeated(extreme: FloatArray) -> BoolArray:
    """Blocks [k] whose extreme is that of another one AROUND, too."""
    again = np.zeros(len(extreme), bool)
    for apart in range(1, AROUND + 1):
        same = extreme[apart:] == extreme[:-apart]
        again[apart:] |= same
        again[:-apart] |= same
    return again


def _plateaus(row: Row, begins: IntArray, extreme: FloatArray, extent: FloatArray) -> IntArray:
    inside = (begins >= 1) & (begins + BLOCK + 1 <= len(row.samples))
    begins, extreme, extent = begins[inside], extreme[inside, None], extent[inside, None]
    blocks = sliding_window_view(row.samples, BLOCK)[begins]
    there = np.count_nonzero(blocks == extreme, axis=1) >= RUN - 2  # and one on either side
    begins, extreme, extent = begins[there], extreme[there], extent[there]
    columns = begins[:, None] + np.arange(-1, BLOCK + 1)
    at = (row.samples[columns] == extreme) & row.there(columns)
    runs = np.logical_and.reduce([at[:, k : at.shape[1] - RUN + 1 + k] for k in range(RUN)])
    level = runs.any(axis=1)
    at, columns, extreme, extent = at[level], columns[level], extreme[level], extent[level]
    values = row.samples[columns].astype(np.float64)
    least = np.maximum(extent / LIMIT_SHARE, LIMIT_COUNTS * _quantum(values))
    found = [np.zeros(0, np.int64)]
    for k in range(len(at)):
        change = np.flatnonzero(np.diff(at[k].astype(np.int8), prepend=0, append=0))
        for first, stop in change.reshape(-1, 2).tolist():
            if stop - first < RUN or first == 0 or stop == len(at[k]):
                continue
            edges = [first - 1, stop]
            steep = np.abs(values[k, edges] - extreme[k]).min() >= least[k, 0]
            if steep and row.there(columns[k, edges]).all():
                found.append(columns[k, first:stop])
    return np.concatenate(found)


def steps(row: Row, rate: int) -> IntArray:
    """Columns [k] at which the trace steps away: the first sample beyond half of the step."""
    first = -row.start % rate
    every = row.samples[first::rate].astype(np.float64)
    if len(every) < 2 * STEP_S:
        return np.zeros(0, np.int64)
    # a step between [2] and [3] leaves one of these in each of the 3 s before and after
    view = [every[k : len(every) - 2 * STEP_S + 1 + k] for k in range(2 * STEP_S)]
    before = np.maximum.reduce(view[:STEP_S]) - np.minimum.reduce(view[:STEP_S])
    moved = [view[k] - view[STEP_S - 1] for k in range(STEP_S + 1, 2 * STEP_S)]
    away = np.maximum(np.minimum.reduce(moved), -np.maximum.reduce(moved))
    where = np.flatnonzero((away >= (STEP - 1) * before) & (away > 0))
    columns = first + (where + STEP_S - 1) * rate
    found = []
    for column in columns[_stepping(row, columns, rate)].tolist():
        step = _step(row, column + 1, rate)
        if step is not None:
            found.append(step)
    return np.array(found, np.int64)


def _stepping(row: Row, columns: IntArray, rate: int) -> BoolArray:
    """Which of the seconds after `columns` may hold a step, by some more samples on either side:
    of those that are 3 s before and after it wherever it stands."""
    few = max(1, rate // 14)
    before = np.arange(rate - STEP_S * rate, -round(RISE_S * rate), few)
    after = np.arange(rate + round(RISE_S * rate), STEP_S * rate, few)
    columns = np.clip(columns, STEP_S * rate, max(len(row.samples) - STEP_S * rate, 0))
    quiet = row.samples[columns[:, None] + before].astype(np.float64)
    moved = row.samples[columns[:, None] + after] - quiet[:, :1]
    away = np.maximum(moved.min(axis=1), -moved.max(axis=1))
    return np.asarray(away >= (STEP - 1) * np.ptp(quiet, axis=1))


def _step(row: Row, low: int, rate: int) -> int | None:
    """The step within the second from column `low` on, or None."""
    reach, rise = STEP_S * rate, round(RISE_S * rate)
    if low < reach or low + rate + reach > len(row.samples):
        return None
    here = row.samples[low - reach : low + rate + reach].astype(np.float64)
    level = np.median(here[:reach])
    late = np.median(here[reach + rate :]) - level
    if late == 0:
        return None
    beyond = (here[reach : reach + rate] - level) * np.sign(late) > abs(late) / 2
    at = reach + int(beyond.argmax())
    if not beyond.any():
        return None
    columns = np.arange(low - reach + at - reach, low - reach + at + reach)
    if columns[0] < 0 or columns[-1] >= len(row.samples) or not row.there(columns).all():
        return None
    around_it = row.samples[columns].astype(np.float64)
    before, after = around_it[: reach - rise], around_it[reach + rise :]
    noise = max(float(np.ptp(before)), float(_quantum(around_it[None])[0, 0]))
    depth = float(((after - np.median(before)) * np.sign(late)).min())
    smooth = float(np.abs(np.diff(after)).max()) * SMOOTH <= depth
    return int(columns[reach]) if depth >= STEP * noise and smooth else None


def around(values: FloatArray, join: np.ufunc, reach: int = AROUND) -> FloatArray:
    """The extreme of each value [k] and its `reach` neighbours on either side."""
    if not len(values):
        return values
    padded = np.pad(values, reach, mode="edge")
    return np.asarray(join.reduce([padded[k : k + len(values)] for k in range(2 * reach + 1)]))


def _slabs(blocks: IntArray) -> range:
    return range(0, len(blocks), SLAB)


def _quantum(values: FloatArray) -> FloatArray:
    """[k, 1]: the least difference that each row of values [k, n] can have: 1 of counts, else 0."""
    whole = np.asarray(values == np.rint(values))
    return np.asarray(whole.all(axis=1, keepdims=True), np.float64)
