"""One span of one trace, for several candidates: samples -> curves -> rows.

assembled samples -> windows -> probabilities -> curve -> peaks -> rows. Rows depend on the data
around them and never on where the span was cut: that is what the halo is for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.schema import PHASES, PICK_SCHEMA, Flag, Outcome, TraceId
from workers.amplitude import NOISE_S, SIGNAL_S, half_range
from workers.engines import Engine
from workers.peaks import REACH_S, Peaks, find_peaks, saturation
from workers.phasenet import WINDOW
from workers.waveform import ALIASES, NS, Reading, Waveform, assemble, grid_time, same_rate
from workers.weights import Weights
from workers.windows import Stack, cut, segments, window_starts

FloatArray = NDArray[np.float32]
IntArray = NDArray[np.int64]

SPAN_SCHEMA = pa.schema([field for field in PICK_SCHEMA if field.name not in ("run", "shard")])
"""Picks before they belong to a run."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A named weight set under test, ready to run."""

    name: str
    weights: Weights = field(repr=False)
    engine: Engine = field(repr=False)
    floors: Mapping[str, float]  # phase -> the lowest probability that is stored
    stacking: str = "avg"
    blinding: tuple[int, int] = (0, 0)

    @property
    def rate(self) -> int:
        return self.weights.preparation.sampling_rate


@dataclass(frozen=True, slots=True)
class Picked:
    """What became of one span for one candidate. picks: SPAN_SCHEMA, sorted by time and phase."""

    outcome: Outcome
    detail: str = ""
    picks: pa.Table = field(default_factory=SPAN_SCHEMA.empty_table)
    seconds: float = 0.0
    segments: int = 0
    n_components: int = 0
    sampling_rate: float = 0.0
    saturated: int = 0
    flags: int = 0


def reach(rate: int) -> int:
    return REACH_S * rate


def halo(rate: int) -> int:
    """Samples read on both sides of a span: 9,002 at 100 Hz.

    A row depends on the curve up to `reach` + 1 samples away, the curve on windows that reach one
    window further.
    """
    return reach(rate) + 1 + WINDOW


@dataclass(frozen=True, slots=True)
class Span:
    """One trace on the grid of one rate: samples [first, last) and a halo on both sides."""

    trace: TraceId
    first: int
    last: int
    waveform: Waveform
    flags: Sequence[tuple[int, int, int]]
    detail: str
    segments: Sequence[tuple[int, int]]  # columns of the waveform, [start, stop)
    other_rates: Sequence[float]  # Hz, of data inside the span that are not on this grid

    @classmethod
    def of(cls, reading: Reading, trace: TraceId, start_ns: int, end_ns: int, rate: int) -> Span:
        first, last = (-(-ns * rate // NS) for ns in (start_ns, end_ns))
        margin = halo(rate)
        waveform = assemble(reading.fragments, rate, first - margin, last + margin)
        detail = "; ".join(reading.detail)
        stretches = segments(waveform.mask)
        others = {
            f.rate
            for f in reading.fragments
            if not same_rate(f.rate, rate)
            and f.component in ALIASES
            and f.start * NS / f.rate < end_ns
            and f.stop * NS / f.rate > start_ns
        }
        return cls(trace, first, last, waveform, reading.flags, detail, stretches, sorted(others))

    @property
    def core(self) -> slice:
        """Columns of the span itself, without halo."""
        return slice(self.first - self.waveform.start, self.last - self.waveform.start)

    def refusal(self) -> Picked | None:
        """Why there is nothing to run over, or None."""
        rate = self.waveform.rate
        if self.waveform.mask[:, self.core].any():
            if not self._windows().size:
                return self._facts()(Outcome.TOO_SHORT, f"no stretch of {WINDOW / rate:g} s")
            if not self._live_components():
                return self._facts()(Outcome.DEAD, "every component is constant")
            return None
        if self.other_rates:
            found = ", ".join(f"{other:g}" for other in self.other_rates)
            return Picked(
                Outcome.WRONG_RATE,
                f"data at {found} Hz, the model runs at {rate:g} Hz",
                sampling_rate=self.other_rates[-1],
                flags=self._flags(),
            )
        outcome = Outcome.BAD_FORMAT if self._flags() & Flag.SALVAGED else Outcome.NO_DATA
        return Picked(outcome, self.detail, flags=self._flags())

    def pick(self, waveform: Waveform, candidates: Sequence[Candidate]) -> dict[str, Picked]:
        """The span's picks by candidate name."""
        curves = self.curves(waveform, candidates)
        return {c.name: self._picked(c, curves[c.name]) for c in candidates}

    def curves(self, waveform: Waveform, candidates: Sequence[Candidate]) -> dict[str, FloatArray]:
        """Probabilities [PHASES, n] over the waveform's columns, by candidate name.

        The candidates, of one engine kind, rate and filter, share every window.
        """
        columns = self._windows()
        stacks = {
            c.name: Stack(waveform.data.shape[1], len(PHASES), c.stacking, c.blinding)
            for c in candidates
        }
        size = candidates[0].engine.batch
        windows = np.empty((size, 3, WINDOW), np.float32)
        for begin in range(0, len(columns), size):
            starts = columns[begin : begin + size]
            cut(waveform.data, starts, windows)
            for candidate in candidates:
                rows = [candidate.weights.preparation.phases.find(phase) for phase in PHASES]
                probabilities = candidate.engine.probabilities(windows)
                stack = stacks[candidate.name]
                for start, window in zip(starts, probabilities, strict=False):
                    stack.add(int(start), _phase_rows(window, rows))
        return {name: stack.curve() for name, stack in stacks.items()}

    def _windows(self) -> IntArray:
        """Columns at which windows begin, ascending; empty if none reaches the span."""
        waveform = self.waveform
        starts = [
            window_starts(waveform.start + a, waveform.start + b) - waveform.start
            for a, b in self.segments
            if b > self.core.start and a < self.core.stop and b - a >= WINDOW
        ]
        return np.concatenate(starts) if starts else np.zeros(0, np.int64)

    def _zones(self) -> Iterator[tuple[int, int]]:
        """Columns [a, b) where the curve is the uncut segment's own."""
        n = self.waveform.data.shape[1]
        for a, b in self.segments:
            if b - a >= WINDOW:
                yield (a if a > 0 else WINDOW), (b if b < n else n - WINDOW)

    def _picked(self, candidate: Candidate, curves: FloatArray) -> Picked:
        tables, saturated = [], 0
        for phase, curve in zip(PHASES, curves, strict=True):
            for a, b in self._zones():
                limit, floor = reach(candidate.rate), candidate.floors[phase]
                full = saturation(curve[a:b], floor, limit) + a
                saturated += int(((full >= self.core.start) & (full < self.core.stop)).sum())
                tables.append(self._rows(phase, find_peaks(curve[a:b], floor, limit), a))
        picks = pa.concat_tables(tables).sort_by([("time", "ascending"), ("phase", "ascending")])
        return self._facts()(Outcome.PICKED, "", picks=picks, saturated=saturated)

    def _rows(self, phase: str, peaks: Peaks, shift: int) -> pa.Table:
        """The peaks inside the span, as SPAN_SCHEMA. shift: column of the curve's first sample."""
        column = peaks.index + shift
        inside = (column >= self.core.start) & (column < self.core.stop)
        live, flags = self._surroundings(column)
        inside &= live > 0
        column, rate, waveform = column[inside], self.waveform.rate, self.waveform
        index = column + waveform.start
        milliseconds = 1000 / rate
        values: dict[str, object] = {
            "network": [self.trace.network] * len(column),
            "station": [self.trace.station] * len(column),
            "location": [self.trace.location] * len(column),
            "band": [self.trace.band] * len(column),
            "phase": [phase] * len(column),
            "time": np.array([grid_time(int(i), rate) for i in index], np.int64),
            "offset_ns": np.array([waveform.offset_ns(int(i)) for i in index], np.int32),
            "probability": peaks.probability[inside],
            "saddle": peaks.saddle[inside],
            "onset": np.rint((peaks.onset - peaks.index)[inside] * milliseconds).astype(np.int32),
            "offset": np.rint((peaks.end - peaks.index)[inside] * milliseconds).astype(np.int32),
            "amplitude": half_range(waveform.data, waveform.mask, column, rate, SIGNAL_S),
            "noise_amplitude": half_range(waveform.data, waveform.mask, column, rate, NOISE_S),
            "n_components": live[inside].astype(np.uint8),
            "flags": flags[inside].astype(np.uint16),
        }
        return pa.table(
            [pa.array(values[f.name], f.type, from_pandas=True) for f in SPAN_SCHEMA],
            schema=SPAN_SCHEMA,
        )

    def _surroundings(self, columns: IntArray) -> tuple[IntArray, IntArray]:
        """Live components and flags within half a window of each column: [k], [k].

        A component lives where its samples vary. Where none does there is nothing to pick, whatever
        the network says about a window of zeros.
        """
        waveform = self.waveform
        live = np.zeros(len(columns), np.int64)
        flags = np.zeros(len(columns), np.int64)
        for k, column in enumerate(columns):
            here = slice(max(int(column) - WINDOW // 2, 0), int(column) + WINDOW // 2 + 1)
            present = waveform.mask[:, here].any(axis=1)
            live[k] = (present & _varies(waveform.data[:, here], waveform.mask[:, here])).sum()
            if live[k] < present.sum():
                flags[k] |= Flag.DEAD_COMPONENT
            if waveform.conflict is not None and waveform.conflict[here].any():
                flags[k] |= Flag.CONFLICT
            time = grid_time(int(column) + waveform.start, waveform.rate)
            for bits, low, high in self.flags:
                if low <= time < high:
                    flags[k] |= bits
        return live, flags

    def _live_components(self) -> int:
        core = self.core
        return int(_varies(self.waveform.data[:, core], self.waveform.mask[:, core]).sum())

    def _flags(self) -> int:
        """Bits that hold anywhere in the span."""
        rate, conflict = self.waveform.rate, self.waveform.conflict
        low, high = grid_time(self.first, rate), grid_time(self.last, rate)
        flags = Flag.OTHER_RATE if self.other_rates else 0
        for bits, start, end in self.flags:
            if start < high and end > low:
                flags |= bits
        if conflict is not None and conflict[self.core].any():
            flags |= Flag.CONFLICT
        return flags

    def _left_out(self) -> str:
        if not self.other_rates:
            return ""
        found = ", ".join(f"{rate:g}" for rate in self.other_rates)
        return f"data at {found} Hz left out"

    def _facts(self) -> _Facts:
        core, rate = self.core, self.waveform.rate
        mask = self.waveform.mask[:, core]
        flags = self._flags()
        live = self._live_components()
        if live < int(mask.any(axis=1).sum()):
            flags |= Flag.DEAD_COMPONENT
        return _Facts(
            detail="; ".join(part for part in (self.detail, self._left_out()) if part),
            seconds=int(mask.any(axis=0).sum()) / rate,
            segments=sum(a < core.stop and b > core.start for a, b in self.segments),
            n_components=live,
            sampling_rate=float(rate),
            flags=flags,
        )


@dataclass(frozen=True, slots=True)
class _Facts:
    """What is true of the span's data whatever the candidate."""

    detail: str
    seconds: float
    segments: int
    n_components: int
    sampling_rate: float
    flags: int

    def __call__(
        self, outcome: Outcome, why: str, picks: pa.Table | None = None, saturated: int = 0
    ) -> Picked:
        return Picked(
            outcome=outcome,
            detail="; ".join(part for part in (why, self.detail) if part),
            picks=SPAN_SCHEMA.empty_table() if picks is None else picks,
            seconds=self.seconds,
            segments=self.segments,
            n_components=self.n_components,
            sampling_rate=self.sampling_rate,
            saturated=saturated,
            flags=self.flags,
        )


def _varies(
    data: NDArray[np.int32] | NDArray[np.float32], mask: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Per component [3]: are there samples, and do they differ?"""
    result = np.zeros(len(data), bool)
    for row, (values, has) in enumerate(zip(data, mask, strict=True)):
        present = values if has.all() else values[has]
        result[row] = present.size > 0 and present.min() != present.max()
    return result


def _phase_rows(window: FloatArray, rows: Sequence[int]) -> FloatArray:
    """[model phases, n] -> [PHASES, n]; a phase that the model lacks (-1) is never probable."""
    if min(rows) >= 0:
        return window[list(rows)]
    return np.stack([window[row] if row >= 0 else np.zeros_like(window[0]) for row in rows])
