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

from catalog.schema import PHASES, Flag, Outcome, TraceId
from workers.engines import Engine
from workers.peaks import REACH_S, Peaks, above, find_peaks, saturation
from workers.phasenet import WINDOW
from workers.recipe import Curve, Recipe
from workers.resampling import FASTEST, SLOWEST, on_grid, resamples
from workers.rows import SPAN_SCHEMA, Found, Ground, rows, varies
from workers.waveform import ALIASES, NS, Reading, Waveform, grid_time, same_rate
from workers.weights import Preparation, Weights
from workers.windows import segments, window_starts

IntArray = NDArray[np.int64]

DEAD = "every component is constant"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A named weight set under test, ready to run: weights, or the ensemble of several."""

    name: str
    preparation: Preparation
    engine: Engine = field(repr=False)
    recipe: Recipe = field(repr=False)
    floors: Mapping[str, float]  # phase -> the lowest probability that is stored

    @classmethod
    def of(
        cls,
        name: str,
        weights: Sequence[Weights],
        engine: Engine,
        floors: Mapping[str, float],
        stacking: str = "avg",
        blinding: tuple[int, int] = (0, 0),
    ) -> Candidate:
        """A candidate whose networks the engine has loaded."""
        networks = tuple(engine.load(each) for each in weights)
        recipe = Recipe(networks, stacking, blinding)
        return cls(name, weights[0].preparation, engine, recipe, floors)

    @property
    def rate(self) -> int:
        return self.preparation.sampling_rate


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
    resampled: NDArray[np.bool_] | None = None  # columns that come from them; None: no column

    @classmethod
    def of(cls, reading: Reading, trace: TraceId, start_ns: int, end_ns: int, rate: int) -> Span:
        first, last = (-(-ns * rate // NS) for ns in (start_ns, end_ns))
        margin = halo(rate)
        grid = on_grid(reading.fragments, rate, first - margin, last + margin)
        others = {
            f.rate
            for f in reading.fragments
            if not same_rate(f.rate, rate)
            and f.component in ALIASES
            and f.start * NS / f.rate < end_ns
            and f.stop * NS / f.rate > start_ns
        }
        return cls(
            trace,
            first,
            last,
            grid.waveform,
            reading.flags,
            "; ".join(reading.detail),
            segments(grid.waveform.mask),
            sorted(others),
            grid.resampled,
        )

    @property
    def core(self) -> slice:
        """Columns of the span itself, without halo."""
        return slice(self.first - self.waveform.start, self.last - self.waveform.start)

    def refusal(self) -> Picked | None:
        """Why there is nothing to run over, or None."""
        rate = self.waveform.rate
        if self.waveform.mask[:, self.core].any():
            if not self.windows().size:
                return self._facts()(Outcome.TOO_SHORT, f"no stretch of {WINDOW / rate:g} s")
            if not self._live_components(WINDOW // 2):
                return self._facts()(Outcome.DEAD, DEAD)
            return None
        if self.left_out:
            return Picked(
                Outcome.WRONG_RATE,
                f"data at {_hertz(self.left_out)}; the model runs at {rate:g} Hz, to which "
                f"{SLOWEST * rate:g} to {FASTEST * rate:g} Hz are resampled",
                sampling_rate=self.left_out[-1],
                flags=self._flags(),
            )
        outcome = Outcome.BAD_FORMAT if self._flags() & Flag.SALVAGED else Outcome.NO_DATA
        return Picked(outcome, self.detail, flags=self._flags())

    def windows(self) -> IntArray:
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

    def picked(self, candidate: Candidate, curves: Curve) -> Picked:
        """The span's picks, from the candidate's probabilities [PHASES, n] over its columns."""
        found, saturated = [], 0
        limit = reach(candidate.rate)
        for phase, curve in zip(PHASES, curves, strict=True):
            floor = candidate.floors[phase]
            for a, b in self._zones():
                values, columns = above(curve[a:b], floor / 2)
                columns += a
                full = columns[saturation(values, floor, limit)]
                saturated += int(((full >= self.core.start) & (full < self.core.stop)).sum())
                found.append(self._inside(phase, find_peaks(values, floor, limit), columns))
        ground = Ground(self.trace, self.waveform, self.resampled, self.flags)
        return self._facts()(
            Outcome.PICKED, "", picks=rows(ground, Found.of(found)), saturated=saturated
        )

    def _inside(self, phase: str, peaks: Peaks, columns: IntArray) -> Found:
        """The peaks that stand inside the span. columns: of each sample that has peaks."""
        column = columns[peaks.index]
        every = Found(
            np.full(len(column), phase),
            column,
            peaks.probability,
            peaks.saddle,
            peaks.onset - peaks.index,
            peaks.end - peaks.index,
        )
        return every[(column >= self.core.start) & (column < self.core.stop)]

    def _live_components(self, beside: int = 0) -> int:
        """Components whose samples vary in the span, or up to `beside` columns from it."""
        here = slice(max(self.core.start - beside, 0), self.core.stop + beside)
        return int(varies(self.waveform.data[:, here], self.waveform.mask[:, here]).sum())

    def _flags(self) -> int:
        """Bits that hold anywhere in the span."""
        rate, conflict = self.waveform.rate, self.waveform.conflict
        low, high = grid_time(self.first, rate), grid_time(self.last, rate)
        flags = Flag.OTHER_RATE if self.left_out else 0
        if self.resampled is not None and self.resampled[self.core].any():
            flags |= Flag.RESAMPLED
        for bits, start, end in self.flags:
            if start < high and end > low:
                flags |= bits
        if conflict is not None and conflict[self.core].any():
            flags |= Flag.CONFLICT
        return flags

    @property
    def left_out(self) -> list[float]:
        """Those of the other rates that are not resampled."""
        return [other for other in self.other_rates if not resamples(other, self.waveform.rate)]

    @property
    def brought(self) -> list[float]:
        """Those that are."""
        return [other for other in self.other_rates if resamples(other, self.waveform.rate)]

    def _other_rates(self) -> list[str]:
        """What became of data at other rates, in words."""
        said = [(self.brought, "resampled"), (self.left_out, "left out")]
        return [f"data at {_hertz(rates)} {verb}" for rates, verb in said if rates]

    def _data_rate(self) -> float:
        """Hz, of the span's data: the model's where any stand on its grid, else the highest."""
        if self.resampled is None:
            return float(self.waveform.rate)
        own = self.waveform.mask[:, self.core].any(axis=0) & ~self.resampled[self.core]
        return self.brought[-1] if self.brought and not own.any() else float(self.waveform.rate)

    def _facts(self) -> _Facts:
        core, rate = self.core, self.waveform.rate
        mask = self.waveform.mask[:, core]
        flags = self._flags()
        live = self._live_components()
        if live < int(mask.any(axis=1).sum()):
            flags |= Flag.DEAD_COMPONENT
        return _Facts(
            detail="; ".join(part for part in (self.detail, *self._other_rates()) if part),
            seconds=int(mask.any(axis=0).sum()) / rate,
            segments=sum(a < core.stop and b > core.start for a, b in self.segments),
            n_components=live,
            sampling_rate=self._data_rate(),
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


def _hertz(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:.9g}" for rate in rates) + " Hz"
