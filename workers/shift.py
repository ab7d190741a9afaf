"""The same samples under other windows: how much of a pick is where the windows happened to begin.

Windows begin at multiples of the step from the Unix epoch. To move them, the samples are told to
stand k samples later, picked, and the picks are told to stand k samples earlier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from catalog.schema import TraceId
from workers.archives import Archive
from workers.candidate import Candidate
from workers.pipeline import curves_of, sharing_windows
from workers.quality import Quality
from workers.samples import spans_over
from workers.span import Span
from workers.waveform import NS, grid_time

NEAR_S = 1.0
"""A pick is that of the arrival where none of its phase within so much is more probable."""

SHIFT_RULE = 2
AROUND_NS = 5 * NS


@dataclass(frozen=True, slots=True)
class Shifted:
    """What a candidate makes of one arrival under windows that are `shift_s` later; residual_s is
    pick minus arrival. Both are NaN where there is no pick from the floor on."""

    candidate: str
    shift_s: float
    residual_s: float
    probability: float


def shift_picks(
    archive: Archive,
    trace: TraceId,
    phase: str,
    time_ns: int,
    candidates: Sequence[Candidate],
    count: int,
) -> Iterator[Shifted]:
    """`count` sets of windows, evenly over 1 s, the first of them the run's own.

    Raises what the archive raises.
    """
    for (rate, quality), group in groupby(sorted(candidates, key=_ground), key=_ground):
        alike = list(group)
        begin, end = time_ns - AROUND_NS, time_ns + AROUND_NS
        [span] = spans_over(archive, trace, begin, end, rate, quality)
        if span.refusal() is not None:
            continue
        for shift in sorted({round(k * rate / count) for k in range(count)}):
            moved = shifted(span, shift)
            step_ns = grid_time(shift, rate)
            for sharing in sharing_windows(alike):
                for candidate, curve in zip(sharing, curves_of([moved], sharing)[0], strict=True):
                    picks = moved.picked(candidate, curve).picks
                    own = np.array([name == phase for name in picks["phase"].to_pylist()], bool)
                    times = picks["time"].to_numpy().astype(np.int64) - step_ns
                    residual = (times + picks["offset_ns"].to_numpy() - time_ns) / NS
                    found = _strongest(residual, picks["probability"].to_numpy(), own)
                    yield Shifted(candidate.name, shift / rate, *found)


def shifted(span: Span, samples: int) -> Span:
    """The same span, told to stand so many samples later."""
    step_ns = grid_time(samples, round(span.waveform.rate))
    z, n, e = (table + np.array([samples, 0]) for table in span.waveform.offsets)
    return replace(
        span,
        first=span.first + samples,
        last=span.last + samples,
        waveform=replace(span.waveform, start=span.waveform.start + samples, offsets=(z, n, e)),
        flags=[(bits, low + step_ns, high + step_ns) for bits, low, high in span.flags],
    )


def _strongest(
    residual: NDArray[np.float64], probability: NDArray[np.float32], own: NDArray[np.bool_]
) -> tuple[float, float]:
    near = np.flatnonzero(own & (np.abs(residual) <= NEAR_S))
    if not near.size:
        return np.nan, np.nan
    best = near[probability[near].argmax()]
    return float(residual[best]), float(probability[best])


def _ground(candidate: Candidate) -> tuple[int, Quality]:
    return candidate.ground
