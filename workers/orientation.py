"""Which way components point: fragments of any orientation that is known onto Z, N and E.

Seismometers such as the STS-2 have three equal axes U, V and W that stand on a cube's corner, 35.26
degrees above the horizontal at azimuths 270, 30 and 150 (Streckeisen's convention; others turn it
about the vertical). Their digitisers turn them to Z, N and E, unless told to record them as they
are. Such a triple is turned here, flagged as ROTATED; two of the three say nothing of any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Flag
from workers.fragments import offsets_within
from workers.waveform import (
    ALIASES,
    TILTED,
    BoolArray,
    Fragment,
    Samples,
    Waveform,
    assemble,
    marked,
)

IntArray = NDArray[np.int64]

GALPERIN = np.array(
    [
        [np.sqrt(2), np.sqrt(2), np.sqrt(2)],
        [0, np.sqrt(3), -np.sqrt(3)],
        [-2, 1, 1],
    ]
) / np.sqrt(6)
"""Rows Z, N, E of columns U, V, W."""


def oriented(fragments: Sequence[Fragment], rate: float, start: int, stop: int) -> Waveform:
    """As `workers.waveform.assemble`, and U, V, W turned where all three have a sample and none of
    Z, N, E has."""
    upright = assemble(fragments, rate, start, stop)
    triple = [f for f in fragments if f.component in TILTED]
    if not triple:
        return upright
    rows = [replace(f, component=ALIASES[f.component]) for f in triple]
    tilted = assemble(rows, rate, start, stop)
    whole = np.asarray(tilted.mask.all(axis=0) & ~upright.mask.any(axis=0))
    if not whole.any():
        return upright
    marks = dict(tilted.marks)
    marked(marks, Flag.ROTATED, whole)
    data, mask = turned(tilted.data), np.repeat(whole[None], len(tilted.mask), axis=0)
    data[~mask] = 0
    return completed(upright, replace(tilted, data=data, mask=mask, marks=marks), mask)


def turned(uvw: Samples) -> Samples:
    """Samples [3, n] of U, V, W as Z, N, E, of the same kind; int32 is rounded."""
    zne: NDArray[np.float64] = GALPERIN @ uvw.astype(np.float64)
    if uvw.dtype == np.float32:
        return zne.astype(np.float32)
    limits = np.iinfo(np.int32)
    return np.asarray(np.clip(np.rint(zne), limits.min, limits.max), np.int32)


def unturned(components: Iterable[str]) -> str:
    """Why U, V or W are of no use, in words; empty where there are none."""
    some = ", ".join(sorted(components))
    left_out = f"components {some} left out: to be turned, U, V and W must be there at once"
    return left_out if some else ""


def completed(above: Waveform, below: Waveform, taken: BoolArray) -> Waveform:
    """`above`, and of `below` the samples `taken` [3, n], all that it has where `above` has none.

    The marks are those of both.
    """
    marks = dict(above.marks)
    for bit, where in below.marks.items():
        marked(marks, bit, where)
    if not above.mask.any():
        return replace(below, marks=marks)
    whole = above.data.dtype == below.data.dtype == np.int32
    data: Samples = above.data if whole else above.data.astype(np.float32, copy=False)
    np.copyto(data, below.data, where=taken, casting="same_kind")
    z, north, east = (
        _spliced(kept, other, row, above.start)
        for kept, other, row in zip(above.offsets, below.offsets, taken, strict=True)
    )
    return Waveform(above.rate, above.start, data, above.mask | taken, (z, north, east), marks)


def _spliced(above: IntArray, below: IntArray, taken: BoolArray, start: int) -> IntArray:
    """The offset table `above`, where `taken` that `below`. start: grid index of the first."""
    edges = np.flatnonzero(np.diff(taken)) + 1
    bounds = [0, *edges.tolist(), len(taken)]
    parts = [np.zeros((0, 2), np.int64)]
    for low, high in pairwise(bounds):
        table = below if taken[low] else above
        if len(table):
            parts.append(offsets_within(table, start + low, start + high))
    return np.concatenate(parts)
