"""Data at another rate onto the model's grid: a short symmetric filter, local and without delay.

A grid sample depends on the data within `reach_s` of it and on nothing else, and its sum is made
in one order wherever a span is cut: rows stay cut-invariant to the bit.

A rate that is a multiple of the grid's goes through SeisBench's own low-pass (Butterworth, four
corners at half the grid's rate, forwards and backwards), cut off where 2e-6 of its impulse
response is left: the picks are SeisBench's, |dp| <= 3e-6, but for the windows at the ends of a
stretch, where its recursion rings on the data's offset. The response is down by 6 dB at the
grid's Nyquist frequency, by 15 to 23 dB at 1.2 times it.

Any other rate goes through a Kaiser-windowed sinc, flat to 0.78 of the lower Nyquist frequency and
70 dB down above it. SeisBench gives those to `obspy.Trace.resample`, a Fourier transform of the
whole stretch under a Hann taper, which halves 10 Hz in data of 40 Hz: no parity, as what is picked
at the data's own rate is kept better without. Picks on the same sample, within 0.05 s, within
0.5 s; six recordings of 1 to 4 h brought to each rate, `original` and `volpick` at 0.3:

    data at    ours of 234 at 100 Hz    SeisBench's of them    ours of SeisBench's
    200 Hz     225  233  234            225  233  234          234  234  234 of 236
    125 Hz     219  232  232            133  205  214          136  204  213 of 221
     40 Hz      62  141  177             23  101  149           29  105  146 of 180
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache
from math import ceil

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from catalog.schema import Flag
from workers.fragments import offsets_within
from workers.orientation import completed, oriented
from workers.screens import BESIDE
from workers.waveform import ALIASES, Fragment, Samples, Waveform, marked, same_rate

FloatArray = NDArray[np.floating]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

BUTTERWORTH_HALF, SINC_HALF = 16, 20  # samples of the lower rate on either side of a grid sample

SLOWEST, FASTEST = 0.2, 50.0
"""Of the grid's rate: 20 Hz to 5 kHz at 100 Hz. Below, too little of a model's band is left."""

ATTENUATION_DB = 70.0
PERIOD = 1000  # samples of either rate until they coincide again, at most, for a filter in full
PHASES = 1024  # of a data sample, for all other rates: 5 us at 100 Hz
FRAMES = 512  # filtered in one product, in which the same frame has always the same place
BLOCK = 1 << 18  # samples of the faster rate assembled at once, about


def resamples(rate: float, grid: float) -> bool:
    """Whether data at `rate` Hz are brought to `grid` Hz."""
    return SLOWEST <= rate / grid <= FASTEST and not same_rate(rate, grid)


def reach_s(grid: int) -> float:
    """Seconds around a grid sample that it may depend on, at the slowest rate: 2.2 at 100 Hz.

    The filter's half, as much again to fill what is missing in it, and what a screen looks at.
    """
    return (2 * SINC_HALF + 4 + BESIDE) / (SLOWEST * grid)


Screen = Callable[[Waveform], Waveform]
"""Masks samples by what stands within BESIDE samples of them, before anything filters them."""


def unscreened(waveform: Waveform) -> Waveform:
    """A screen that masks nothing."""
    return waveform


def on_grid(
    fragments: Sequence[Fragment], rate: int, start: int, stop: int, screen: Screen = unscreened
) -> Waveform:
    """Fragments of all rates onto the grid samples [start, stop) of `rate` Hz.

    Of what overlaps, samples that stand on the grid already come first, then those of the higher
    rate. The result at a sample does not depend on [start, stop), if only those are trusted that
    are BESIDE samples inside where there is a screen.
    """
    others = sorted({f.rate for f in fragments if resamples(f.rate, rate)}, reverse=True)
    waveform = screen(oriented(fragments, rate, start, stop))
    for other in others:
        alike = [f for f in fragments if f.rate == other]
        below = resample(alike, other, rate, start, stop, screen)
        taken = below.mask & ~waveform.mask if waveform.mask.any() else below.mask
        marks = dict(below.marks)
        marked(marks, Flag.RESAMPLED, np.asarray(taken.any(axis=0)))
        waveform = completed(waveform, replace(below, marks=marks), taken)
    return waveform


def resample(
    fragments: Iterable[Fragment],
    rate: float,
    grid: int,
    start: int,
    stop: int,
    screen: Screen = unscreened,
) -> Waveform:
    """Fragments at `rate` Hz onto the samples [start, stop) of the grid at `grid` Hz, as float32.

    For its neighbours, a sample that is missing or masked counts as the nearest one that is
    there. A grid sample is there where every data sample is, from the last one before it (or at
    it) up to the next grid sample, at least one after it: nothing is extrapolated, and whatever is
    missing masks a grid sample. Offsets and marks are those of the data.
    """
    fragments = [f for f in fragments if f.component in ALIASES]
    design = design_of(rate, grid)
    n, size = stop - start, design.block
    data, mask = np.zeros((3, n), np.float32), np.zeros((3, n), bool)
    marks: dict[int, BoolArray] = {}
    tables: list[list[IntArray]] = [[np.zeros((0, 2), np.int64)] for _ in data]
    margin = 2 * design.half + 1 + BESIDE
    for first in range(start // size * size, stop, size):
        places = design.places(first)
        low = places.origin - margin
        high = low + ceil(size * design.ratio) + 2 * margin + 1
        block = screen(oriented(fragments, rate, low, high))
        if not block.mask.any() and not block.marks:
            continue
        inside = slice(max(start - first, 0), min(stop - first, size))
        here = slice(first + inside.start - start, first + inside.stop - start)
        for row, has in enumerate(block.mask):
            if not has.any():
                continue
            filled = block.data[row] if has.all() else _filled(block.data[row], has)
            samples = design.filtered(filled[margin - design.half :], places)[inside]
            there = places.complete(has[margin:])[inside]
            if not there.all():
                samples[~there] = 0
            data[row, here], mask[row, here] = samples, there
            rows = offsets_within(block.offsets[row], low, low + len(has))
            rows[:, 0] = first + places.first_from(rows[:, 0] - places.origin)
            tables[row].append(offsets_within(rows, first, first + size))
        for bit, where in block.marks.items():
            marks.setdefault(bit, np.zeros(n, bool))
            marks[bit][here] = ~places.complete(~where[margin:])[inside]
    marks = {bit: where for bit, where in marks.items() if where.any()}
    z, north, east = (np.concatenate(rows) for rows in tables)
    return Waveform(grid, start, data, mask, (z, north, east), marks)


@dataclass(frozen=True, slots=True)
class Places:
    """Where the grid samples of a block stand among the data: in units of 1/`per` data sample,
    the k-th at `phase + k * advance` after the data sample `origin`."""

    origin: int
    phase: int
    advance: int
    per: int
    count: int

    @property
    def at(self) -> IntArray:
        """Places [count], in 1/`per` data sample after the data sample `origin`."""
        return self.phase + np.arange(self.count, dtype=np.int64) * self.advance

    def complete(self, has: BoolArray) -> BoolArray:
        """Which grid samples [count] are there, of data of which `has` [from origin] are."""
        if has.all():
            return np.ones(self.count, bool)
        at = self.at
        lost = np.append(0, np.cumsum(~has))
        after = np.maximum(-(-at // self.per) + 1, -(-(at + self.advance) // self.per))
        return np.asarray(lost[after] == lost[at // self.per])

    def first_from(self, index: IntArray) -> IntArray:
        """The first grid sample at or after each data sample [k], both from the block's first."""
        return np.asarray(-((self.phase - index * self.per) // self.advance))


@dataclass(frozen=True, slots=True)
class Design(ABC):
    """A filter from one rate to a grid. ratio: data samples a grid sample. half: data samples.

    taps: float64, in the shape that each kind of filter gives.
    """

    ratio: Fraction
    half: int
    per: int  # parts of a data sample in which places are told, see Places
    frame: int  # grid samples
    taps: FloatArray

    @property
    def block(self) -> int:
        """Grid samples filtered at a time, counted from the Unix epoch."""
        product = self.frame * FRAMES
        return product * max(1, round(BLOCK / max(1.0, float(self.ratio)) / product))

    def places(self, first: int) -> Places:
        """Of the block that begins at grid sample `first`."""
        at = int(first * self.ratio * self.per)
        advance = round(self.ratio * self.per)
        return Places(at // self.per, at % self.per, advance, self.per, self.block)

    @abstractmethod
    def filtered(self, samples: Samples, places: Places) -> NDArray[np.float32]:
        """Grid samples [count] of a block, from its data, which begin `half` before its origin."""


class Periodic(Design):
    """The two rates coincide once a frame, which is one product: taps [frame's data, frame]."""

    def filtered(self, samples: Samples, places: Places) -> NDArray[np.float32]:
        step = int(self.frame * self.ratio)
        frames = sliding_window_view(samples, len(self.taps))[::step]
        result = np.empty((places.count // self.frame, self.frame), np.float32)
        data = np.empty((FRAMES, len(self.taps)))
        product = np.empty((FRAMES, self.frame))
        for begin in range(0, len(result), FRAMES):
            here = slice(begin, begin + FRAMES)
            np.copyto(data, frames[here])
            result[here] = np.matmul(data, self.taps, out=product)
        return result.reshape(-1)


class Drifting(Design):
    """The two rates hardly ever coincide: taps [PHASES, 2 half], the nearest phase of each."""

    def filtered(self, samples: Samples, places: Places) -> NDArray[np.float32]:
        unit = places.per // PHASES
        nearest = (places.at + unit // 2) // unit
        frames = sliding_window_view(samples, 2 * self.half)[1:]
        result = np.empty(places.count, np.float32)
        for begin in range(0, places.count, FRAMES):
            here = slice(begin, begin + FRAMES)
            data = frames[nearest[here] // PHASES].astype(np.float64)
            result[here] = np.einsum("nk,nk->n", data, self.taps[nearest[here] % PHASES])
        return result


@lru_cache(maxsize=8)
def design_of(rate: float, grid: int) -> Design:
    """The filter for data at `rate` Hz. A constant comes through as itself.

    Few are kept: one takes up to 16 MB, and damaged headers give as many rates as there are.
    """
    exact = Fraction(rate).limit_denominator(10**6)
    ratio = (exact if float(exact) == rate else Fraction(rate)) / grid
    if ratio.denominator == 1:
        half = BUTTERWORTH_HALF * ratio.numerator
    else:
        half = ceil(SINC_HALF * max(Fraction(1), ratio))
    if max(ratio.numerator, ratio.denominator) > PERIOD:
        phases = np.arange(PHASES)[:, None] / PHASES
        taps = _sinc(phases - np.arange(1 - half, half + 1), ratio)
        return Drifting(ratio, half, 1 << 32, 16, taps / taps.sum(axis=1, keepdims=True))
    frame = ratio.denominator * ceil(half / ratio.numerator)
    columns = np.arange(frame) * (ratio.numerator / ratio.denominator)
    lags = columns - np.arange(-half, int(frame * ratio) + half)[:, None]
    taps = _butterworth(lags, half, ratio) if ratio.denominator == 1 else _sinc(lags, ratio)
    return Periodic(ratio, half, ratio.denominator, frame, taps / taps.sum(axis=0))


def _butterworth(lags: FloatArray, half: int, ratio: Fraction) -> FloatArray:
    """Impulse response at `lags` data samples: obspy's zero-phase `lowpass` of four corners."""
    # 47 MB and a second that a worker needs for such data only
    from scipy.signal import iirfilter, sosfilt, zpk2sos

    poles = iirfilter(4, 1 / float(ratio), btype="lowpass", ftype="butter", output="zpk")
    sections = zpk2sos(*poles)
    impulse = np.zeros(8 * half + 1)
    impulse[4 * half] = 1
    response = sosfilt(sections, sosfilt(sections, impulse)[::-1])[4 * half :]
    distance = np.abs(lags).astype(np.int64)
    return np.where(distance <= half, response[np.minimum(distance, half)], 0)


def _sinc(lags: FloatArray, ratio: Fraction) -> FloatArray:
    """A low-pass at `lags` data samples: Kaiser's window for ATTENUATION_DB over SINC_HALF."""
    beta = 0.1102 * (ATTENUATION_DB - 8.7)
    transition = (ATTENUATION_DB - 7.95) / (2.285 * 2 * np.pi * 2 * SINC_HALF)
    x = lags / max(1.0, float(ratio))  # samples of the lower rate
    window = np.i0(beta * np.sqrt(np.clip(1 - (x / SINC_HALF) ** 2, 0, None)))
    return np.where(np.abs(x) <= SINC_HALF, np.sinc((1 - transition) * x) * window, 0)


def _filled(samples: Samples, has: BoolArray) -> Samples:
    """Every sample that is not there, as the nearest that is; of two equally near, the earlier."""
    known, lost = np.flatnonzero(has), np.flatnonzero(~has)
    after = np.searchsorted(known, lost)
    left, right = known[np.maximum(after - 1, 0)], known[np.minimum(after, len(known) - 1)]
    filled = samples.copy()
    filled[lost] = samples[np.where(np.abs(right - lost) < np.abs(lost - left), right, left)]
    return filled
