"""Fewer points of a long curve, where a page could show no more of them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

COLUMNS = 480
"""Of a window's figure on a page: about as many as it is wide, in pixels."""

FLAT = 0.004
"""Of probability: a fifth of a pixel of a curve's height."""


def envelope(values: npt.NDArray[np.float64], columns: int = COLUMNS) -> npt.NDArray[np.intp]:
    """Places, in order, that draw the same picture as all values [n] do.

    Of each of `columns` stretches the lowest and the highest value, the ends of every gap (NaN),
    and the first and the last of all.
    """
    n = len(values)
    if n <= 2 * columns:
        return np.arange(n)
    gap = np.isnan(values)
    edges = np.linspace(0, n, columns + 1).astype(np.intp)
    places = [np.flatnonzero(gap[1:] != gap[:-1]), np.flatnonzero(gap[1:] != gap[:-1]) + 1]
    low, high = np.where(gap, np.inf, values), np.where(gap, -np.inf, values)
    for start, stop in pairwise(edges):
        pair = start + np.array([low[start:stop].argmin(), high[start:stop].argmax()])
        places.append(pair)
    return np.unique(np.concatenate([[0], *places, [n - 1]]))


def bent(values: npt.NDArray[np.float64], places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Those of the places at which the curve is not flat at zero, and where it begins to be."""
    flat = np.abs(values[places]) < FLAT
    inside = flat.copy()
    inside[1:] &= flat[:-1]
    inside[:-1] &= flat[1:]
    inside[[0, -1]] = False
    return places[~inside]
