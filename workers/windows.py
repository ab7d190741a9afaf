"""Cut, normalise, stitch: from samples to windows, and from windows' probabilities to a curve.

Windows depend on the data segment alone: they start at multiples of STEP counted from the Unix
epoch, plus one aligned to the segment's start and one to its end. For a segment that begins at a
multiple of STEP these are exactly SeisBench's windows (3001 samples, overlap 1500).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from workers.phasenet import WINDOW
from workers.weights import Preparation

STEP = 1501
EPS = 1e-10

FloatArray = NDArray[np.float32]


def segments(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Maximal runs [start, stop) of columns where any component has a sample. mask: [3, n]."""
    union = np.zeros(mask.shape[1] + 2, bool)
    mask.any(axis=0, out=union[1:-1])
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


def cut(
    data: NDArray[np.int32] | NDArray[np.float32], starts: NDArray[np.int64], out: FloatArray
) -> None:
    """Windows of data [3, n] at column `starts` into out [b, 3, 3001]; the rest of out is zero.

    A component that is constant over a window becomes zero there: what demeaning leaves of it is
    rounding noise, which SeisBench divides by eps and turns into signal.
    """
    for row, start in enumerate(starts):
        out[row] = data[:, start : start + WINDOW]
    out[len(starts) :] = 0
    suspects = (out[:, :, 0] == out[:, :, WINDOW // 2]) & (out[:, :, 0] == out[:, :, -1])
    for row, component in np.argwhere(suspects):
        window = out[row, component]
        if window[0] != 0 and (window == window[0]).all():
            window[:] = 0


def normalise(batch: Tensor, preparation: Preparation) -> Tensor:
    """Windows [b, 3, n], rows Z N E, as these weights want them.

    The operations and their order are SeisBench's (`PhaseNet.annotate_batch_pre`), to the bit.
    """
    batch = reorder(batch, preparation)
    batch = batch - batch.mean(dim=-1, keepdim=True)
    if preparation.detrend:
        batch = _detrend(batch)
    if preparation.per_component or preparation.norm == "peak":
        return batch / (batch.abs().max(dim=-1, keepdim=True)[0] + EPS)
    return batch / (batch.std(dim=-1, keepdim=True) + EPS)


def normalise_fast(batch: Tensor, preparation: Preparation) -> Tensor:
    """As `normalise`, within rounding: one norm instead of torch's two-pass deviation."""
    if preparation.detrend or preparation.per_component or preparation.norm == "peak":
        return normalise(batch, preparation)
    batch = reorder(batch, preparation)
    batch = batch - batch.mean(dim=-1, keepdim=True)
    n = batch.shape[-1]
    # what rounding leaves of a large offset is no deviation: the norm would count it
    left = batch.mean(dim=-1, keepdim=True)
    square = torch.linalg.vector_norm(batch, dim=-1, keepdim=True).square_()
    deviation = square.sub_(left.square_().mul_(n)).clamp_(min=0).div_(n - 1).sqrt_()
    return batch.div_(deviation.add_(EPS))


def reorder(batch: Tensor, preparation: Preparation) -> Tensor:
    order = ["ZNE".index(component) for component in preparation.components]
    return batch if order == [0, 1, 2] else batch[:, order]


def _detrend(batch: Tensor) -> Tensor:
    """Remove a linear fit (seisbench.util.torch_detrend)."""
    mean = batch.mean(dim=-1, keepdim=True)
    ramp = torch.linspace(-1, 1, batch.shape[-1], device=batch.device, dtype=batch.dtype)
    slope = ((batch - mean) * ramp).sum(dim=-1, keepdim=True) / (ramp * ramp).sum(
        dim=-1, keepdim=True
    )
    return batch - mean - slope * ramp


class Stack:
    """The probability curve of one segment, from its windows in order of their start.

    `avg` is a float32 sum in that order over the count, `max` the largest; both skip the blinded
    edges of each window (SeisBench `stack_windows`). Samples that no window reaches are 0.
    """

    def __init__(self, length: int, phases: int, method: str, blinding: tuple[int, int]) -> None:
        self._values = np.zeros((phases, length), np.float32)
        self._count = np.zeros(length, np.float32)
        self._method = method
        self._inside = slice(blinding[0], WINDOW - blinding[1])

    def add(self, start: int, probabilities: FloatArray) -> None:
        """One window's probabilities [phases, 3001], at a column of the segment."""
        here = slice(start + self._inside.start, start + self._inside.stop)
        values = self._values[:, here]
        if self._method == "max":
            np.maximum(values, probabilities[:, self._inside], out=values)
        else:
            values += probabilities[:, self._inside]
            self._count[here] += 1

    def curve(self) -> FloatArray:
        """[phases, length] float32."""
        if self._method == "avg":
            np.divide(self._values, self._count, out=self._values, where=self._count > 1)
        return self._values
