"""Cut, normalise, stitch: from samples to windows, and from windows' probabilities to a curve.

Windows depend on the data segment alone: they start at multiples of STEP counted from the Unix
epoch, plus one aligned to the segment's start and one to its end. For a segment that begins at a
multiple of STEP these are exactly SeisBench's windows (3001 samples, overlap 1500).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.phasenet import WINDOW
from workers.preparation import Preparation

STEP = 1501
EPS = 1e-10


def segments(
    mask: NDArray[np.bool_], filled: NDArray[np.bool_] | None = None
) -> list[tuple[int, int]]:
    """Maximal runs [start, stop) of columns where any component has a sample, or was filled.

    mask: [3, n]. filled: [n], or None: nowhere.
    """
    n = mask.shape[1]
    if n and any(has.all() for has in mask):
        return [(0, n)]
    union = np.zeros(n + 2, bool)
    mask.any(axis=0, out=union[1:-1])
    if filled is not None:
        union[1:-1] |= filled
    edges = np.flatnonzero(union[1:] != union[:-1])
    return [(int(a), int(b)) for a, b in edges.reshape(-1, 2)]


def window_starts(start: int, stop: int) -> NDArray[np.int64]:
    """Grid indices at which the windows of the segment [start, stop) begin, ascending.

    A segment shorter than a window has none.
    """
    last = stop - WINDOW
    if last < start:
        return np.zeros(0, np.int64)
    first = -(-start // STEP) * STEP
    grid = np.arange(first, last + 1, STEP, dtype=np.int64)
    return np.unique(np.concatenate([[start], grid, [last]]).astype(np.int64))


def runs(starts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Maximal [i, j) in which the windows follow each other at STEP."""
    edges = np.flatnonzero(np.diff(starts) != STEP) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(starts)], strict=True))


def cut(samples: Tensor, starts: NDArray[np.int64], out: Tensor) -> None:
    """Windows of samples [3, n] at columns `starts` into out [b, 3, 3001]; the rest of out is zero.

    A component that is constant over a window becomes zero there: what demeaning leaves of it is
    rounding noise, which SeisBench divides by eps and turns into signal.
    """
    for i, j in runs(starts):
        shape, stride = (j - i, 3, WINDOW), (STEP, samples.stride(0), 1)
        out[i:j] = samples.as_strided(shape, stride, samples.storage_offset() + int(starts[i]))
    out[len(starts) :] = 0
    out *= out.amin(dim=-1, keepdim=True) != out.amax(dim=-1, keepdim=True)


def normalise(batch: Tensor, preparation: Preparation) -> Tensor:
    """Windows [b, 3, n], rows Z N E, as these weights want them.

    The operations and their order are SeisBench's (`PhaseNet.annotate_batch_pre`), to the bit.
    """
    batch = reorder(batch, preparation)
    batch = batch - batch.mean(dim=-1, keepdim=True)
    if preparation.detrend:
        batch = _detrend(batch)
    if preparation.peak:
        return batch / (batch.abs().amax(dim=-1, keepdim=True) + EPS)
    return batch / (batch.std(dim=-1, keepdim=True) + EPS)


def reorder(batch: Tensor, preparation: Preparation) -> Tensor:
    """Rows Z, N, E [b, 3, n] in the network's own order."""
    order = ["ZNE".index(component) for component in preparation.components]
    if order == [0, 1, 2]:
        return batch
    return torch.stack([batch[:, row] for row in order], dim=1)  # indexing takes five times as long


def _detrend(batch: Tensor) -> Tensor:
    """Remove a linear fit (seisbench.util.torch_detrend)."""
    mean = batch.mean(dim=-1, keepdim=True)
    ramp = torch.linspace(-1, 1, batch.shape[-1], device=batch.device, dtype=batch.dtype)
    slope = ((batch - mean) * ramp).sum(dim=-1, keepdim=True) / (ramp * ramp).sum(
        dim=-1, keepdim=True
    )
    return batch - mean - slope * ramp


class Stack:
    """The probability curves [phases, n] of a span, from its windows in order of their start.

    `avg` is a float32 sum in that order over the count, `max` the largest; both skip the blinded
    edges of each window (SeisBench `stack_windows`). Samples that no window reaches are 0.
    """

    def __init__(
        self, shape: tuple[int, int], method: str, blinding: tuple[int, int], device: torch.device
    ) -> None:
        self._values = torch.zeros(shape, device=device)
        self._method = method
        self._blinding = blinding
        self._starts: list[NDArray[np.int64]] = []

    def add(self, starts: NDArray[np.int64], probabilities: Tensor, rows: Sequence[int]) -> None:
        """Windows' probabilities [>= b, phases of the model, 3001] at columns `starts` [b].

        rows: the model's phase for each of the curves, -1 where it has none: never probable.
        """
        before, after = self._blinding
        for i, j in runs(starts):
            for first in range(i, min(i + 2, j)):
                # every second window of a run: they do not overlap, and lie at equal distances
                inside = probabilities[first:j:2, :, before : WINDOW - after]
                for curve, row in zip(self._values, rows, strict=True):
                    if row >= 0:
                        here = curve.as_strided(
                            (len(inside), inside.shape[-1]),
                            (2 * STEP, 1),
                            curve.storage_offset() + int(starts[first]) + before,
                        )
                        self._join(here, inside[:, row])
        self._starts.append(starts)

    def _join(self, here: Tensor, windows: Tensor) -> None:
        if self._method == "max":
            torch.maximum(here, windows, out=here)
        else:
            here.add_(windows)

    def curves(self) -> Tensor:
        """float32 [phases, n]."""
        if self._method == "avg" and self._starts:
            before, after = self._blinding
            change = np.zeros(self._values.shape[1] + 1, np.int8)
            for starts in self._starts:  # no two windows begin, and no two end, at one sample
                change[starts + before] += 1
            for starts in self._starts:
                change[starts + WINDOW - after] -= 1
            count = torch.from_numpy(np.cumsum(change[:-1], dtype=np.int8))
            self._values /= count.clamp_(min=1).to(self._values.device)
        return self._values
