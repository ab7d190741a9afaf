"""A window's waveforms and curves, for figures, viewer and arena."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from catalog.schema import TraceId
from workers.archives import Archive
from workers.candidate import Candidate
from workers.pipeline import curves_of, read_span, sharing_windows
from workers.span import Span
from workers.waveform import grid_time


@dataclass(frozen=True, slots=True)
class Snippet:
    """waveform: float32 [3, n], rows Z N E, NaN where there is no sample; curves: candidate ->
    float32 [PHASES, n]; start_ns: grid time of column 0; rate: Hz."""

    rate: int
    start_ns: int
    waveform: NDArray[np.float32]
    curves: Mapping[str, NDArray[np.float32]]


def snippet(
    archive: Archive, trace: TraceId, start_ns: int, end_ns: int, candidates: Sequence[Candidate]
) -> Snippet:
    """What the candidates (all of one rate and quality) saw and said over [start_ns, end_ns).

    The curves are those of a whole run: read with the same halo, cut to the window at the end.
    """
    ((rate, quality),) = {candidate.ground for candidate in candidates}
    reading = read_span(archive, trace, start_ns, end_ns, candidates)
    span = Span.of(reading, trace, start_ns, end_ns, rate, quality)
    core, waveform = span.core, span.waveform
    samples = np.where(waveform.mask[:, core], waveform.data[:, core], np.nan)
    curves = {}
    for group in sharing_windows(candidates):
        for candidate, curve in zip(group, curves_of([span], group)[0], strict=True):
            curves[candidate.name] = curve[:, core].cpu().numpy()
    return Snippet(rate, grid_time(span.first, rate), samples.astype(np.float32), curves)


def snippets(
    archive: Archive, trace: TraceId, start_ns: int, end_ns: int, candidates: Sequence[Candidate]
) -> Iterator[Snippet]:
    """As `snippet`, for candidates of any rate and quality: one for each of their grounds."""
    for _, group in groupby(sorted(candidates, key=_ground), key=_ground):
        yield snippet(archive, trace, start_ns, end_ns, list(group))


def _ground(candidate: Candidate) -> tuple[int, str]:
    return candidate.ground
