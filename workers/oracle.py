"""Candidates on labelled traces, told where to look: the per-trace table (TRACE_SCHEMA).

The window of a trace, RULE 2: 3001 samples of the candidate's grid in which the label of P (of S,
where P has none) stands at sample 1000, moved as little as keeps the window inside the trace. S
counts where it falls into the same window. What a candidate says of a phase is its highest
probability within 5 s of the label, inclusive and inside the window, and where that stands.

A candidate's score depends on where in the window the label stands (one weak P moved by 0.18 s, its
probability between 0.47 and 0.72, over shifts of 1 s): scores of another rule are not comparable,
and the rule is part of what a table is kept under.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.examined import EXAMINED_SCHEMA
from catalog.schema import PHASES, Outcome
from workers.candidate import Candidate
from workers.labelled.traces import Description, LabelledTrace, Unreadable, snr_db
from workers.labelled_windows import (
    FloatArray,
    NotRun,
    Window,
    gridded,
    seen_alike,
    window_at,
    window_curves,
)
from workers.phasenet import WINDOW

RULE = 2
BEFORE = 1000
"""Samples of the window before the label that it is cut by."""

WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Cut:
    """A window with its labels: phase -> sample of the window, which may be a fraction."""

    window: Window
    labels: Mapping[str, float]


def examine(
    traces: Iterable[LabelledTrace | Unreadable], candidates: Sequence[Candidate]
) -> dict[str, pa.Table]:
    """What each candidate says of each trace, in the order of the traces: EXAMINED_SCHEMA.

    Traces that are said to be noise have no row. All of them are in memory at once: give few.
    """
    kept = [trace for trace in traces if not trace.about.noise]
    rows: dict[str, list[dict[str, Any]]] = {}
    for group in seen_alike(candidates):
        cuts = [_cut(trace, group[0]) for trace in kept]
        windows = [cut.window for cut in cuts if isinstance(cut, Cut)]
        for candidate, curves in zip(group, window_curves(group, windows), strict=True):
            seen = iter(curves)
            rows[candidate.name] = [
                _facts(trace) | (_said(cut, next(seen)) if isinstance(cut, Cut) else _unsaid(cut))
                for trace, cut in zip(kept, cuts, strict=True)
            ]
    return {name: pa.Table.from_pylist(each, EXAMINED_SCHEMA) for name, each in rows.items()}


def _cut(trace: LabelledTrace | Unreadable, candidate: Candidate) -> Cut | NotRun:
    if isinstance(trace, Unreadable):
        return NotRun(trace.outcome, trace.detail)
    try:
        return labelled_window(trace, candidate)
    except NotRun as reason:
        return reason


def labelled_window(trace: LabelledTrace, candidate: Candidate) -> Cut:
    """The window of a trace (RULE). Raises NotRun, also for a trace without a label inside it."""
    given = trace.about.labels
    if not given:
        raise NotRun(Outcome.NO_DATA, "no arrival of P or S is labelled")
    size = trace.samples.shape[1]
    labels = {
        phase: sample * candidate.rate / trace.rate
        for phase, sample in given.items()
        if 0 <= sample < size
    }
    if not labels:
        where = ", ".join(f"{phase} at sample {sample:g}" for phase, sample in given.items())
        raise NotRun(Outcome.BAD_FORMAT, f"labels outside its {size} samples: {where}")
    window = window_at(gridded(trace, candidate), around(labels))
    inside = {
        phase: sample - window.start
        for phase, sample in labels.items()
        if 0 <= round(sample) - window.start < WINDOW
    }
    if not inside:
        raise NotRun(Outcome.TOO_SHORT, "its label stands where the resampled trace has ended")
    return Cut(window, inside)


def around(labels: Mapping[str, float]) -> int:
    """Where the window of a trace begins, by its label of P, or of S where P has none."""
    return round(labels.get("P", labels.get("S", 0.0))) - BEFORE


def _said(cut: Cut, curves: FloatArray) -> dict[str, Any]:
    """curves: [PHASES, 3001]."""
    rate = cut.window.rate
    row: dict[str, Any] = {
        "outcome": Outcome.PICKED.value,
        "n_components": cut.window.n_components,
    }
    for phase, curve in zip(PHASES, curves, strict=True):
        p = phase.lower()
        label = cut.labels.get(phase)
        if label is None:
            row[f"{p}_in_window"] = -1
            continue
        low = max(0, ceil(label - WITHIN_S * rate))
        high = min(WINDOW - 1, floor(label + WITHIN_S * rate))
        peak = low + int(np.argmax(curve[low : high + 1]))
        row[f"{p}_in_window"] = round(label)
        row[f"{p}_prob"] = float(curve[peak])
        row[f"{p}_residual_s"] = (peak - label) / rate
    return row


def _unsaid(reason: NotRun) -> dict[str, Any]:
    nowhere = {f"{phase.lower()}_in_window": -1 for phase in PHASES}
    return {"outcome": reason.outcome.value, "detail": str(reason)} | nowhere


def _facts(trace: LabelledTrace | Unreadable) -> dict[str, Any]:
    about = trace.about
    snr = about.snr_db
    if snr is None and isinstance(trace, LabelledTrace):
        snr = snr_db(trace)
    return facts(about) | {"snr_db": snr}


def facts(about: Description) -> dict[str, Any]:
    """The columns of a table that are the trace's own."""
    return {
        "trace_name": about.trace_name,
        "chunk": about.chunk,
        "event_id": about.event_id,
        "station": about.station,
        "distance_km": about.distance_km,
        "depth_km": about.depth_km,
        "magnitude": about.magnitude,
        "snr_db": about.snr_db,
        "strata": list(about.strata.items()),
    }
