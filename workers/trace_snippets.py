"""A labelled trace as the oracle saw it: its window's samples, curves and picks, for the arena."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from catalog.schema import PHASES, Outcome
from workers.candidate import Candidate
from workers.labelled.traces import LabelledTrace
from workers.labelled_windows import NotRun, on_rate, seen_alike, window_curves
from workers.oracle import labelled_window
from workers.peaks import REACH_S, find_peaks
from workers.phasenet import WINDOW
from workers.snippets import Snippet
from workers.waveform import NS


@dataclass(frozen=True, slots=True)
class TraceWindow:
    """snippets: one for each rate and filter, of the window that `workers.oracle` cuts; times are
    ns from the trace's first sample. labels: phase -> ns, of those inside."""

    snippets: Sequence[Snippet]
    labels: Mapping[str, int]

    @property
    def span(self) -> tuple[int, int]:
        """[start, end) in ns, where every snippet has samples."""
        starts = [each.start_ns for each in self.snippets]
        ends = [e.start_ns + e.waveform.shape[1] * NS // e.rate for e in self.snippets]
        return max(starts), min(ends)

    def of(self, names: Collection[str]) -> TraceWindow:
        """The curves of some of the candidates alone."""
        snippets = []
        for each in self.snippets:
            curves = {name: curve for name, curve in each.curves.items() if name in names}
            if curves:
                snippets.append(replace(each, curves=curves))
        return replace(self, snippets=snippets)

    def cut(self, start_ns: int, end_ns: int) -> TraceWindow:
        """What lies in [start_ns, end_ns)."""
        return replace(self, snippets=[_cut(each, start_ns, end_ns) for each in self.snippets])


def trace_window(trace: LabelledTrace, candidates: Sequence[Candidate]) -> TraceWindow:
    """Samples before any filter of a candidate, and the curves of those that the oracle ran there.

    Raises NotRun where it ran none.
    """
    snippets, labels = [], dict[str, int]()
    why = NotRun(Outcome.NO_DATA, "no candidates")
    for group in seen_alike(candidates):
        try:
            cut = labelled_window(trace, group[0])
        except NotRun as reason:
            why = reason
            continue
        window, rate = cut.window, cut.window.rate
        inside = slice(window.start, window.start + WINDOW)
        whole = on_rate(trace, rate)
        samples = np.where(whole.mask[:, inside], whole.data[:, inside], np.nan)
        curves = [each[0] for each in window_curves(group, [window])]
        named = dict(zip((candidate.name for candidate in group), curves, strict=True))
        start = window.start * NS // rate
        snippets.append(Snippet(rate, start, samples.astype(np.float32), named))
        labels = {p: start + round(sample * NS / rate) for p, sample in cut.labels.items()}
    if not snippets:
        raise why
    return TraceWindow(snippets, labels)


def picks_of(
    snippet: Snippet, candidate: str, thresholds: Mapping[str, float]
) -> Iterator[tuple[str, int, float]]:
    """(phase, ns, probability) of the picks that stand at the thresholds, by phase and time."""
    for phase, curve in zip(PHASES, snippet.curves[candidate], strict=True):
        threshold = thresholds[phase]
        peaks = find_peaks(np.ascontiguousarray(curve), threshold, REACH_S * snippet.rate)
        stands = peaks.saddle < np.float32(threshold / 2)
        columns: NDArray[np.int64] = peaks.index[stands]
        for column, probability in zip(columns.tolist(), peaks.probability[stands], strict=True):
            yield phase, snippet.start_ns + column * NS // snippet.rate, float(probability)


def _cut(snippet: Snippet, start_ns: int, end_ns: int) -> Snippet:
    first, stop = (round((ns - snippet.start_ns) * snippet.rate / NS) for ns in (start_ns, end_ns))
    inside = slice(max(first, 0), stop)
    return Snippet(
        snippet.rate,
        snippet.start_ns + inside.start * NS // snippet.rate,
        snippet.waveform[:, inside],
        {name: curve[:, inside] for name, curve in snippet.curves.items()},
    )
