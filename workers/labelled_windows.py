"""Labelled traces on a candidate's grid, a window cut from each, and the candidates' curves there.

Samples are taken as they are: nothing is screened or mended, for the benchmark says that they are
data. Another rate is resampled as a station-day's is (workers/resampling.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from math import floor

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Outcome
from workers.candidate import Candidate
from workers.filtering import filtered
from workers.labelled.traces import LabelledTrace
from workers.phasenet import WINDOW
from workers.resampling import on_grid, resamples
from workers.span import DEAD
from workers.waveform import Fragment, Samples, Waveform, same_rate

FloatArray = NDArray[np.float32]


class NotRun(ValueError):
    """Why a trace gives no window. outcome: of the row that says so."""

    def __init__(self, outcome: Outcome, detail: str) -> None:
        super().__init__(detail)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Window:
    """samples: float32 [3, 3001], rows Z N E. start: its first sample, of the trace at `rate`."""

    start: int
    rate: int
    samples: FloatArray

    @property
    def n_components(self) -> int:
        """Components that vary."""
        return int((np.ptp(self.samples, axis=1) > 0).sum())


def gridded(trace: LabelledTrace, candidate: Candidate) -> Waveform:
    """A whole trace at the candidate's rate, its first sample at 0, through the candidate's filter.

    Raises NotRun for a rate that is not resampled.
    """
    return filtered(on_rate(trace, candidate.rate), candidate.preparation)


def on_rate(trace: LabelledTrace, rate: int) -> Waveform:
    """As `gridded`, without a filter."""
    if not (same_rate(trace.rate, rate) or resamples(trace.rate, rate)):
        raise NotRun(
            Outcome.WRONG_RATE, f"data at {trace.rate:g} Hz; the candidate runs at {rate} Hz"
        )
    own = float(rate) if same_rate(trace.rate, rate) else trace.rate
    fragments = [
        _fragment(component, own, samples)
        for component, samples in zip(trace.components, trace.samples, strict=True)
    ]
    length = floor((trace.samples.shape[1] - 1) * rate / own) + 1
    return on_grid(fragments, rate, 0, max(length, 0))


def window_at(waveform: Waveform, start: int) -> Window:
    """The window of 3001 samples that begins at `start`, moved as little as keeps it in the trace.

    Raises NotRun: the trace is shorter, a sample is missing or no number, or nothing varies.
    """
    there = np.flatnonzero(waveform.mask.any(axis=0))
    if not len(there) and (n := waveform.mask.shape[1]):
        raise NotRun(Outcome.BAD_FORMAT, f"none of its {n} samples is a number")
    first, stop = (int(there[0]), int(there[-1]) + 1) if len(there) else (0, 0)
    if stop - first < WINDOW:
        raise NotRun(
            Outcome.TOO_SHORT,
            f"{stop - first} samples at {waveform.rate:g} Hz; a window has {WINDOW}",
        )
    start = min(max(start, first), stop - WINDOW)
    inside = slice(start, start + WINDOW)
    mask = waveform.mask[:, inside]
    lost = int((~mask[mask.any(axis=1)]).sum())
    if lost or not mask.any():
        raise NotRun(Outcome.BAD_FORMAT, f"{lost} samples of its window are missing or no number")
    window = Window(start, round(waveform.rate), waveform.data[:, inside].astype(np.float32))
    if window.n_components == 0:
        raise NotRun(Outcome.DEAD, DEAD)
    return window


def seen_alike(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Candidates of one rate, filter and engine: they share windows."""

    def sees(candidate: Candidate) -> str:
        use = candidate.preparation
        each = [candidate.rate, use.filter_args, use.filter_kwargs, id(candidate.engine)]
        return json.dumps(each, sort_keys=True)

    for _, group in groupby(sorted(candidates, key=sees), key=sees):
        yield list(group)


def window_curves(candidates: Sequence[Candidate], windows: Sequence[Window]) -> list[FloatArray]:
    """float32 [windows, PHASES, 3001] of each candidate, which see windows alike.

    Each window by itself: nothing is stacked, and no edge is blinded.
    """
    if not windows:
        return [np.zeros((0, 2, WINDOW), np.float32) for _ in candidates]
    samples = np.concatenate([window.samples for window in windows], axis=1)
    starts = np.arange(len(windows), dtype=np.int64) * WINDOW
    recipes = [replace(candidate.recipe, blinding=(0, 0)) for candidate in candidates]
    curves = candidates[0].engine.curves(samples, starts, recipes)
    return [
        each.cpu().numpy().reshape(2, len(windows), WINDOW).transpose(1, 0, 2) for each in curves
    ]


def _fragment(component: str, rate: float, samples: NDArray[np.generic]) -> Fragment:
    whole = np.issubdtype(samples.dtype, np.integer) and np.can_cast(samples.dtype, np.int32)
    data: Samples
    data = samples.astype(np.int32) if whole else samples.astype(np.float32)
    finite = np.isfinite(data)  # of float64 beyond float32, too
    valid = None if finite.all() else finite
    if valid is not None:
        data[~valid] = 0
    return Fragment(component, rate, 0, data, np.zeros((1, 2), np.int64), valid)
