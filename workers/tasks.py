"""Windows for the three tasks of Muenchmeyer et al. (2022): TASK_WINDOW_SCHEMA.

- `detection`: the window of 30 s that the benchmark cuts (workers/oracle.py) of each labelled
  trace, and the middle one of each trace that is said to be noise; score = max(P + S), which is
  1 - noise for networks of P, S and noise.
- `phase_id`: a window of 10 s that holds exactly one arrival, P or S; score = max P / max S.
- `onset`: in the same window, the peak of that phase against its label, without any threshold.

In a window of 10 s the label stands in the middle, or, where another arrival would fall in, at the
first of a quarter, three quarters, a tenth and nine tenths of it where none does; a label that
fits nowhere gives no window, as the task asks. Around it the network sees 30 s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.examined import TASK_WINDOW_SCHEMA
from catalog.schema import PHASES, Outcome
from workers.candidate import Candidate
from workers.labelled.traces import Description, LabelledTrace, Unreadable
from workers.labelled_windows import (
    FloatArray,
    NotRun,
    Window,
    gridded,
    seen_alike,
    window_at,
    window_curves,
)
from workers.oracle import around
from workers.phasenet import WINDOW

TASK_RULE = 2
PICK_S = 10
PLACES = (0.5, 0.25, 0.75, 0.1, 0.9)
"""Of the label in a window of 10 s, in order of preference."""

LEAST = 1e-30
"""A probability below any that a float32 softmax gives, so that a ratio is finite."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A window of one task. low, high: samples of it that are judged. label: sample of it."""

    about: Description
    task: str
    window: Window | NotRun
    positive: bool
    phase: str | None = None
    low: int = 0
    high: int = WINDOW
    label: float = 0.0


def task_windows(
    traces: Iterable[LabelledTrace | Unreadable], candidates: Sequence[Candidate]
) -> dict[str, pa.Table]:
    """What each candidate says in every window of the tasks: TASK_WINDOW_SCHEMA."""
    kept, tables = list(traces), {}
    for group in seen_alike(candidates):
        asked = [each for trace in kept for each in _asked(trace, group[0])]
        windows = [each.window for each in asked if isinstance(each.window, Window)]
        for candidate, curves in zip(group, window_curves(group, windows), strict=True):
            seen = iter(curves)
            rows = [row for each in asked for row in _rows(each, seen)]
            tables[candidate.name] = pa.Table.from_pylist(rows, TASK_WINDOW_SCHEMA)
    return tables


def _asked(trace: LabelledTrace | Unreadable, candidate: Candidate) -> Iterator[_Asked]:
    about = trace.about
    if not (about.noise or about.labels):
        return
    if isinstance(trace, Unreadable):
        reason = NotRun(trace.outcome, trace.detail)
        yield _Asked(about, "detection", reason, not about.noise)
        return
    scale, size = candidate.rate / trace.rate, trace.samples.shape[1]
    labels = {p: s * scale for p, s in about.labels.items() if 0 <= s < size}
    try:
        waveform = gridded(trace, candidate)
        n = waveform.data.shape[1]
        if about.noise:
            middle = window_at(waveform, (n - WINDOW) // 2)
            yield _Asked(about, "detection", middle, False)
            return
        if not labels:
            return  # the benchmark's own table says so
        yield _Asked(about, "detection", window_at(waveform, around(labels)), True)
    except NotRun as reason:
        yield _Asked(about, "detection", reason, not about.noise)
        return
    long = PICK_S * candidate.rate
    arrivals = [sample * scale for _, sample in about.arrivals]
    for phase, label in labels.items():
        start = _alone(label, arrivals, long, n)
        if start is None:
            continue
        try:
            window = window_at(waveform, start + long // 2 - WINDOW // 2)
        except NotRun as reason:
            yield _Asked(about, "phase_id", reason, phase == "P", phase)
            continue
        low = start - window.start
        yield _Asked(
            about, "phase_id", window, phase == "P", phase, low, low + long, label - window.start
        )


def _alone(label: float, arrivals: Sequence[float], long: int, n: int) -> int | None:
    """Where a window of `long` samples begins that holds this arrival and no other."""
    for place in PLACES:
        start = round(label - place * long)
        inside = sum(start <= arrival < start + long for arrival in arrivals)
        if start >= 0 and start + long <= n and inside == 1:
            return start
    return None


def _rows(asked: _Asked, seen: Iterator[FloatArray]) -> Iterator[dict[str, Any]]:
    about = asked.about
    row: dict[str, Any] = {
        "trace_name": about.trace_name,
        "chunk": about.chunk,
        "event_id": None if about.noise else about.event_id,
        "station": about.station,
        "split": about.split,
        "task": asked.task,
        "phase": asked.phase,
        "positive": asked.positive,
        "outcome": Outcome.PICKED.value,
    }
    if isinstance(asked.window, NotRun):
        yield row | {"outcome": asked.window.outcome.value, "detail": str(asked.window)}
        return
    curves = next(seen)[:, max(asked.low, 0) : asked.high].astype(np.float64)
    if asked.phase is None:
        yield row | {"score": float(curves.sum(axis=0).max())}
        return
    p, s = curves.max(axis=1)
    yield row | {"score": float(p / max(s, LEAST))}
    peak = max(asked.low, 0) + int(np.argmax(curves[PHASES.index(asked.phase)]))
    residual = (peak - asked.label) / asked.window.rate
    yield row | {"task": "onset", "positive": None, "residual_s": residual}
