"""Probabilities -> picks: every peak that is a pick at some threshold above the floor.

SeisBench, at threshold t, takes the runs where the curve is at least t/2 and which reach t, and
reports the first maximum of each (obspy's `trigger_onset`, whose comparisons are >= from obspy
1.5 on, in float32). A peak is therefore the pick of its run at t when, and only when,

    probability >= t  and  saddle < t / 2

where `saddle` is the highest level at which its run also holds something higher (or as high and
earlier). Peaks are stored once, with their saddle; every threshold above the floor is a query.

A run longer than 60 s gives no pick. So `saddle` also covers length: it is at least the highest
level at which the run of the peak is longer than REACH_S. That makes both numbers depend on the
60 s around the peak and nothing further, which is what lets spans be cut anywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.recipe import Curve

REACH_S = 60
"""The longest run that gives a pick, in seconds."""

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Peaks:
    """Peaks of one curve, ascending. All arrays [k]; index, onset and end in samples of it.

    onset and end are the first and last sample of the run at half the floor, at most `reach` away.
    """

    index: IntArray
    probability: FloatArray
    saddle: FloatArray
    onset: IntArray
    end: IntArray


def above(curve: Curve, level: float) -> tuple[FloatArray, IntArray]:
    """The samples of a curve [n] that are at least `level`, and their indices: [m], [m].

    A zero stands between runs that do not touch. So a day's curve may lie on a GPU: what its peaks
    are made of comes back, and nothing else.
    """
    columns: IntArray
    values: FloatArray
    if curve.device.type == "cpu":
        values = curve.numpy()
        columns = np.flatnonzero(values >= np.float32(level))
        values = values[columns]
    else:
        index = (curve >= float(np.float32(level))).nonzero().squeeze(1)
        values, columns = curve[index].cpu().numpy(), index.cpu().numpy()
    breaks = np.flatnonzero(np.diff(columns) > 1) + 1
    return np.insert(values, breaks, 0), np.insert(columns, breaks, 0)


def find_peaks(curve: FloatArray, floor: float, reach: int) -> Peaks:
    """Every sample of a curve, float32 [n], that is a pick at some threshold >= floor.

    reach: the longest run that gives a pick, in samples.
    """
    low = np.float32(floor / 2)
    curve = np.where(curve >= low, curve, np.float32(0))
    beside = np.pad(curve, 1)
    rises, falls = curve > beside[:-2], curve >= beside[2:]
    index = np.flatnonzero(rises & falls & (curve >= np.float32(floor)))
    heights = curve[index]
    saddles = _saddles(heights, _valleys(curve, index))
    starts, stops = runs(curve, low)
    run = np.searchsorted(starts, index, side="right") - 1
    onset, end = starts[run], stops[run] - 1
    for k in np.unique(run[end - onset >= reach]):
        levels = _length_levels(curve[starts[k] : stops[k]], reach)
        saddles[run == k] = np.maximum(saddles[run == k], levels[index[run == k] - starts[k]])
    kept = saddles < heights / 2
    index = index[kept]
    return Peaks(
        index,
        heights[kept],
        saddles[kept],
        np.maximum(onset[kept], index - reach),
        np.minimum(end[kept], index + reach),
    )


def saturation(curve: FloatArray, floor: float, reach: int) -> IntArray:
    """The samples [k] of a curve [n] where a run at half the floor becomes longer than `reach`."""
    starts, stops = runs(curve, np.float32(floor / 2))
    return starts[stops - starts > reach] + reach


def runs(curve: FloatArray, level: np.float32) -> tuple[IntArray, IntArray]:
    """Maximal runs [start, stop) of curve >= level."""
    above = (curve >= level).view(np.int8)
    edges = np.flatnonzero(np.diff(above, prepend=np.int8(0), append=np.int8(0)))
    return edges[0::2], edges[1::2]


def _valleys(curve: FloatArray, maxima: IntArray) -> FloatArray:
    """The lowest level between each maximum and the next: [k - 1]."""
    if len(maxima) < 2:
        return np.zeros(0, np.float32)
    return np.asarray(np.minimum.reduceat(curve[: maxima[-1]], maxima[:-1]), np.float32)


def _saddles(heights: FloatArray, valleys: FloatArray) -> FloatArray:
    """For each maximum the highest level joining it to a better one; 0 where it is the best.

    Better is higher, or as high and earlier. Two passes with a stack of falling heights: O(k).
    """
    left = _one_side(heights, valleys, ties_win=True)
    right = _one_side(heights[::-1], valleys[::-1], ties_win=False)[::-1]
    return np.maximum(left, right)


def _one_side(heights: FloatArray, valleys: FloatArray, ties_win: bool) -> FloatArray:
    saddles = np.zeros(len(heights), np.float32)
    stack: list[tuple[float, float]] = []  # (height, lowest level back to the one below)
    before = [0.0, *valleys.tolist()]  # as Python's own floats, which are ten times as fast
    for k, height in enumerate(heights.tolist()):
        lowest = before[k]
        while stack and (stack[-1][0] < height or (stack[-1][0] == height and not ties_win)):
            lowest = min(lowest, stack.pop()[1])
        if stack:
            saddles[k] = lowest
        stack.append((height, lowest))
    return saddles


def _length_levels(run: FloatArray, reach: int) -> FloatArray:
    """For each sample the highest level at which its run is longer than `reach` samples."""
    from scipy.ndimage import maximum_filter1d, minimum_filter1d  # seldom needed, and large

    width = reach + 1
    # lowest[i] is the minimum over [i, i + reach]; a sample's level is the best of those holding it
    lowest = minimum_filter1d(run, width, origin=-(width // 2), mode="constant", cval=0.0)
    return np.asarray(
        maximum_filter1d(lowest, width, origin=(width - 1) // 2, mode="constant", cval=0.0)
    )
