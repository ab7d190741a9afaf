"""One span of one trace, for several candidates: samples -> curves -> rows.

assembled samples -> windows -> probabilities -> curve -> peaks -> rows. Rows depend on the data
around them and never on where the span was cut: that is what the halo is for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.schema import DAY_NS, PHASES, Flag, Outcome, TraceId
from workers.archives.objects import SPILL_NS
from workers.candidate import Candidate
from workers.losses import NO_NUMBERS, beside
from workers.orientation import unturned
from workers.peaks import REACH_S, Peaks, above, find_peaks, saturation
from workers.phasenet import WINDOW
from workers.picked import Counted, Picked
from workers.quality import Quality, context, mended, screened
from workers.recipe import Curve
from workers.resampling import FASTEST, SLOWEST, on_grid, reach_s, resamples
from workers.rows import SPAN_SCHEMA, Found, Ground, rows, varies
from workers.waveform import (
    ALIASES,
    NS,
    TILTED,
    Reading,
    Told,
    Waveform,
    grid_index,
    grid_time,
    same_rate,
    stretches,
    words,
)
from workers.windows import segments, window_starts

IntArray = NDArray[np.int64]

DEAD = "every component is constant"


def reach(rate: int) -> int:
    """Samples of the curve, either side of a peak, that its row may depend on (peaks.py)."""
    return REACH_S * rate


def halo(rate: int) -> int:
    """Samples read on both sides of a span: 9,002 at 100 Hz, and 1,720 for what is wrong with them.

    A row depends on the curve up to `reach` + 1 samples away, the curve on windows that reach one
    window further, and what stands in a window on the `context` of its samples.
    """
    return reach(rate) + 1 + WINDOW + context(rate)


def margin_ns(rate: int) -> int:
    """What is read on both sides of a span: the halo, and what resampling looks at beside it."""
    return ceil(((halo(rate) + 2) / rate + reach_s(rate)) * NS)


EDGE_S = 3
"""Of a halo, in which what is not there is more than a gap between fragments."""


@dataclass(frozen=True, slots=True)
class Span:
    """One trace on the grid of one rate: samples [first, last) and a halo on both sides."""

    trace: TraceId
    first: int
    last: int
    waveform: Waveform
    flags: Sequence[tuple[int, int, int]]
    told: Sequence[str]  # problems met of this trace
    at_large: Sequence[str]  # and of its objects, of no trace in particular
    beside: Sequence[str]  # and what the halo lacks
    segments: Sequence[tuple[int, int]]  # columns of the waveform, [start, stop)
    other_rates: Sequence[float]  # Hz, of data inside the span that are not on this grid
    unturned: str  # of U, V or W inside the span that are never all there, in words
    recorded: tuple[Counted, Counted, Counted]
    repaired: int
    absent: Sequence[tuple[int, int]]  # ns, of the days around that no object is named for

    @classmethod
    def of(
        cls,
        reading: Reading,
        trace: TraceId,
        start_ns: int,
        end_ns: int,
        rate: int,
        quality: Quality = "strict",
    ) -> Span:
        """[start_ns, end_ns) and its halo on the grid of `rate` Hz, masked as `quality` says."""
        first, last = (-(-ns * rate // NS) for ns in (start_ns, end_ns))
        margin = halo(rate)
        begin, end = first - margin, last + margin
        core = slice(margin, margin + last - first)
        if quality == "strict":
            waveform = on_grid(reading.fragments, rate, begin, end, screened)
            recorded = _recorded(waveform, core)
            waveform = mended(waveform, reading.flags)
        else:
            waveform = on_grid(reading.fragments, rate, begin, end)
            recorded = _recorded(waveform, core)
        inside = [
            f
            for f in reading.fragments
            if f.component in ALIASES
            and f.start * NS / f.rate < end_ns
            and f.stop * NS / f.rate > start_ns
        ]
        near = list(beside(reading, margin_ns(rate)))
        marks = {(bits, low, high) for bits, _, low, high in near}

        def overlapping(told: Iterable[Told]) -> Iterator[Told]:
            return (one for one in told if one[1] < end_ns and one[2] > start_ns)

        lacking = [(f"beside this span {why}", low, high) for _, why, low, high in near]
        turned = waveform.marks.get(Flag.ROTATED)
        tilted = {f.component for f in inside if f.component in TILTED}
        return cls(
            trace,
            first,
            last,
            waveform,
            sorted({*reading.flags, *marks}),
            words(overlapping(reading.detail)),
            words(overlapping(reading.at_large)),
            words(overlapping(lacking)),
            segments(waveform.mask, waveform.marks.get(Flag.FILLED)),
            sorted({f.rate for f in inside if not same_rate(f.rate, rate)}),
            unturned(tilted) if turned is None or not turned[core].any() else "",
            recorded,
            sum(start_ns <= ns < end_ns for ns in reading.repairs),
            reading.absent,
        )

    @property
    def core(self) -> slice:
        """Columns of the span itself, without halo."""
        return slice(self.first - self.waveform.start, self.last - self.waveform.start)

    def refusal(self) -> Picked | None:
        """Why there is nothing to run over, or None."""
        rate, met = self.waveform.rate, self._flags()
        if any(one.number for one in self.recorded):
            if not self.windows().size:
                return self._facts(Outcome.TOO_SHORT, f"no stretch of {WINDOW / rate:g} s")
            if not self._components(WINDOW // 2)[0]:
                return self._facts(Outcome.DEAD, DEAD)
            return None
        if self.left_out:
            return Picked(
                Outcome.WRONG_RATE,
                f"data at {_hertz(self.left_out)}; the model runs at {rate:g} Hz, to which "
                f"{SLOWEST * rate:g} to {FASTEST * rate:g} Hz are resampled",
                sampling_rate=self.left_out[-1],
                repaired=self.repaired,
                met=met | (Flag.BREAKS_OFF if self.absent else 0),
            )
        why = self.unturned or (NO_NUMBERS if met & Flag.NOT_FINITE and not self.told else "")
        there = why or self.told  # objects that are its own, but nothing to be read of them
        outcome = Outcome.BAD_FORMAT if there else Outcome.NO_DATA
        met |= Flag.BREAKS_OFF if there and self.absent else 0
        said = (*self.told, *self.beside, *self.at_large)
        return Picked(outcome, why, said, repaired=self.repaired, met=met)

    def windows(self) -> IntArray:
        """Columns [w] at which windows begin, ascending; none where none reaches the span."""
        waveform = self.waveform
        starts = [
            window_starts(waveform.start + a, waveform.start + b) - waveform.start
            for a, b in self.segments
            if b > self.core.start and a < self.core.stop and b - a >= WINDOW
        ]
        return np.concatenate(starts) if starts else np.zeros(0, np.int64)

    def _zones(self) -> Iterator[tuple[int, int]]:
        """Columns [a, b) where the curve is the uncut segment's own."""
        n, edge = self.waveform.data.shape[1], context(round(self.waveform.rate))
        for a, b in self.segments:
            if b - a >= WINDOW:
                yield (a if a > edge else edge + WINDOW), (b if b < n - edge else n - edge - WINDOW)

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
        picks = rows(Ground(self.trace, self.waveform, self.flags), Found.of(found))
        if not picks.num_rows and self._is_dead():
            return self._facts(Outcome.DEAD, DEAD, saturated=saturated)
        return self._facts(Outcome.PICKED, "", picks, saturated)

    def _is_dead(self) -> bool:
        """Whether no component lives in the span, more of which has samples than a window from
        beyond its ends reaches."""
        here = self.waveform.mask[:, self.core].any(axis=0)
        return int(np.count_nonzero(here)) > WINDOW and not self._components()[0]

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

    def _components(self, beside: int = 0) -> tuple[int, int]:
        """Bits of the components that vary, and of those that have samples, in the span or up to
        `beside` columns from it."""
        here = slice(max(self.core.start - beside, 0), self.core.stop + beside)
        mask = self.waveform.mask[:, here]
        return _bits(varies(self.waveform.data[:, here], mask)), _bits(np.asarray(mask.any(axis=1)))

    def _breaks_off(self, column: int) -> bool:
        """Whether a column is a midnight with data on one side, and none in the last EDGE_S of the
        halo on the other: a day's last record may reach over it, the next object not be there."""
        if grid_time(self.waveform.start + column, self.waveform.rate) % DAY_NS:
            return False
        margin = self.core.start
        before = self.waveform.mask[:, column - margin : column]
        after = self.waveform.mask[:, column : column + margin]
        edge = EDGE_S * self.waveform.rate
        ends = before.any() and not after[:, -edge:].any()
        begins = after.any() and not before[:, :edge].any()
        return bool(ends or begins)

    def _spills(self) -> bool:
        """Whether there are samples so near a day without objects that these may be of its own, or
        that its own may reach to them."""
        rate = self.waveform.rate
        for start_ns, end_ns in self.absent:
            near = (grid_index(ns, rate) for ns in (start_ns - SPILL_NS, end_ns + SPILL_NS))
            low, high = (min(max(k, self.first), self.last) - self.waveform.start for k in near)
            if self.waveform.mask[:, low:high].any():
                return True
        return False

    def _flags(self) -> int:
        """Bits that hold anywhere in the span."""
        rate = self.waveform.rate
        low, high = grid_time(self.first, rate), grid_time(self.last, rate)
        flags = Flag.OTHER_RATE if self.left_out else 0
        ends = (self.core.start, self.core.stop)
        there = any(one.number for one in self.recorded)
        if there and (any(map(self._breaks_off, ends)) or self._spills()):
            flags |= Flag.BREAKS_OFF
        for bit, where in self.waveform.marks.items():
            if where[self.core].any():
                flags |= bit
        for bits, start, end in self.flags:
            if start < high and end > low:
                flags |= bits
        return flags

    @property
    def left_out(self) -> list[float]:
        """Those of the other rates that are not resampled."""
        return [other for other in self.other_rates if not resamples(other, self.waveform.rate)]

    @property
    def brought(self) -> list[float]:
        """Those that are."""
        return [other for other in self.other_rates if resamples(other, self.waveform.rate)]

    def _said(self) -> Iterator[str]:
        """What became of data that are not picked as they are, in words."""
        yield from self.told
        yield from self.beside
        for rates, verb in ((self.brought, "resampled"), (self.left_out, "left out")):
            if rates:
                yield f"data at {_hertz(rates)} {verb}"
        if self.unturned:
            yield self.unturned
        yield from self.at_large

    def _rates(self) -> tuple[float, float]:
        """Hz, of the span's data: the model's where any stand on its grid, else the highest; and
        the highest that was resampled, or 0."""
        own, brought = float(self.waveform.rate), self.brought[-1] if self.brought else 0.0
        resampled = self.waveform.marks.get(Flag.RESAMPLED)
        if resampled is None or not brought:
            return own, 0.0
        beside = self.waveform.mask[:, self.core].any(axis=0) & ~resampled[self.core]
        return own if beside.any() else brought, brought

    def _facts(
        self, outcome: Outcome, why: str, picks: pa.Table | None = None, saturated: int = 0
    ) -> Picked:
        """What became of the span, with all that is true of its data whatever the candidate."""
        core = self.core
        mask = self.waveform.mask[:, core]
        living, present = self._components()
        segments = np.array(self.segments, np.int64).reshape(-1, 2)
        short = segments[np.diff(segments)[:, 0] < WINDOW]
        sampling_rate, resampled_from = self._rates()
        return Picked(
            outcome=outcome,
            why=why,
            said=tuple(self._said()),
            picks=SPAN_SCHEMA.empty_table() if picks is None else picks,
            seconds=int(mask.any(axis=0).sum()) / self.waveform.rate,
            contiguous=Counted.of(segments, core),
            short=Counted.of(short, core),
            recorded=self.recorded,
            living=living,
            present=present,
            sampling_rate=sampling_rate,
            resampled_from=resampled_from,
            repaired=self.repaired,
            saturated=saturated,
            met=self._flags(),
        )


def _bits(rows: NDArray[np.bool_]) -> int:
    return sum(1 << k for k in np.flatnonzero(rows).tolist())


def _recorded(waveform: Waveform, core: slice) -> tuple[Counted, Counted, Counted]:
    """Stretches of each component as they were recorded; a spike parts none."""
    spike = waveform.marks.get(Flag.SPIKE)

    def of(has: NDArray[np.bool_]) -> Counted:
        if has.all():
            return Counted(1, enters=True, leaves=True)
        return Counted.of(stretches(has if spike is None else has | spike), core)

    z, n, e = waveform.mask
    return of(z), of(n), of(e)


def _hertz(rates: Sequence[float]) -> str:
    return ", ".join(f"{rate:.9g}" for rate in rates) + " Hz"
