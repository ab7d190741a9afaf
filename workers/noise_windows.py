"""Noise windows out of an archive, without any candidate's opinion of them.

A window is noise where no known event's waves can be (workers/wavetrain.py), no analyst read an
arrival nearby, the data are whole, and no second of it is much louder than the minutes around it.
That last screen catches events nobody listed, and footsteps and trucks with them: it knows energy,
not phases, and the rates counted on what is left are those of undisturbed ground. Every window
keeps its `energy_ratio`, so that a stricter or a looser set can be made of the same table.

Windows begin at multiples of their length from the Unix epoch, and which of them are drawn depends
on the seed, the station and the hour alone: not on the other stations, nor on what was read first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.signal import butter, sosfilt

from catalog.schema import Flag, TraceId, digest
from catalog.truth import NOISE_SCHEMA
from workers.span import Span
from workers.waveform import NS, BoolArray, grid_time

RULE_VERSION = 1
HOUR_NS = 3600 * NS
BEFORE_ARRIVAL_S, AFTER_ARRIVAL_S = 60.0, 300.0
"""Around an analyst's arrival: it may be S, and its coda goes on."""

FAULTS = (
    Flag.CONFLICT | Flag.SALVAGED | Flag.NOT_FINITE | Flag.TRUNCATED | Flag.FILLED | Flag.SPIKE
    | Flag.CLIPPED | Flag.CALIBRATION | Flag.CLOCK | Flag.HALO_LOST
)  # fmt: skip
"""Bits of a pick's flags that no noise window may have."""

Seconds = NDArray[np.float64]
Spans = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class NoiseRule:
    """What is noise.

    length_s: of a window, whole seconds. per_hour: windows drawn at most, of a station and UTC
    hour. energy_ratio: the loudest second of a window and 5 s beside it, in rms above 1 Hz of all
    components, over the median of the 10 minutes around it; at most. gap_s: how far data go on
    beyond the window.
    """

    length_s: int = 30
    per_hour: int = 30
    energy_ratio: float = 3.0
    gap_s: int = 5

    def facts(self) -> dict[str, object]:
        """The rule as a table's metadata tell it."""
        return {"rule_version": RULE_VERSION} | asdict(self)


def around_arrivals(times: NDArray[np.int64]) -> Spans:
    """[k, 2] ns: what an analyst's arrivals [k] keep from being noise."""
    edges = np.array([-BEFORE_ARRIVAL_S, AFTER_ARRIVAL_S]) * NS
    return np.asarray(times[:, None] + edges.astype(np.int64))


def noise_windows(
    spans: Iterable[Span], busy: Spans, rule: NoiseRule, seed: int
) -> tuple[pa.Table, Counter[str]]:
    """Windows drawn from the spans of one trace: NOISE_SCHEMA, and why how many others are not.

    busy: [k, 2] ns, [from, to), where waves may be. The reasons are told in this order, and a
    window counts for its first: `waves`, `gap`, `fault`, `loud`, `not drawn`.
    """
    parts, why = [NOISE_SCHEMA.empty_table()], Counter[str]()
    for span in spans:
        starts, ratio, reason = _looked_at(span, busy, rule)
        why.update(reason[reason != ""].tolist())
        quiet = reason == ""
        drawn = _drawn(span.trace, starts[quiet], rule, seed)
        why["not drawn"] += int(quiet.sum() - drawn.sum())
        parts.append(_table(span.trace, starts[quiet][drawn], ratio[quiet][drawn], rule))
    return pa.concat_tables(parts), +why


def _looked_at(
    span: Span, busy: Spans, rule: NoiseRule
) -> tuple[NDArray[np.int64], Seconds, NDArray[np.object_]]:
    """Starts [k] ns of the windows inside the span, energy ratios, and why each is no noise."""
    rate, core, waveform = round(span.waveform.rate), span.core, span.waveform
    length = rule.length_s * NS
    begin, stop = (grid_time(index, rate) for index in (span.first, span.last))
    starts = np.arange(-(-begin // length), stop // length) * length
    reason = np.full(len(starts), "", object)
    level = loudness(waveform.data, waveform.mask, rate)
    usual = _usual(level)
    faulty = np.zeros(waveform.mask.shape[1], bool)
    for bit, where in waveform.marks.items():
        if bit & FAULTS:
            faulty |= where
    present = waveform.mask[:, core].any(axis=1)
    whole = np.zeros_like(faulty)
    if present.any():
        whole |= waveform.mask[present].all(axis=0)
    ratio = np.full(len(starts), np.nan)
    ahead = core.start - rule.gap_s * rate
    for k, start in enumerate(starts.tolist()):
        a = ahead + (start - begin) * rate // NS
        b = a + (rule.length_s + 2 * rule.gap_s) * rate
        seconds = slice(-(-a // rate), b // rate)
        if ((busy[:, 0] < start + length) & (busy[:, 1] > start)).any():
            reason[k] = "waves"
        elif not whole[a:b].all():
            reason[k] = "gap"
        elif faulty[a:b].any() or _flagged(span, start, start + length):
            reason[k] = "fault"
        else:
            loudest = level[seconds].max()
            middle = usual[(a + b) // 2 // rate]
            ratio[k] = loudest / middle if middle > 0 else np.inf
            if not ratio[k] <= rule.energy_ratio:
                reason[k] = "loud"
    return starts, ratio, reason


def _flagged(span: Span, start: int, end: int) -> bool:
    return any(bits & FAULTS and low < end and high > start for bits, low, high in span.flags)


def loudness(data: NDArray[np.generic], mask: BoolArray, rate: int) -> Seconds:
    """Rms [seconds] above 1 Hz over all components of data [3, n]; NaN where any of them lacks."""
    seconds = data.shape[1] // rate
    total, has = np.zeros(seconds), np.ones(seconds, bool)
    high = butter(2, 1.0, "highpass", fs=rate, output="sos")
    for row, there in zip(data, mask, strict=True):
        if not there.any():
            continue
        first = row[there.argmax()].astype(np.float64)
        above = sosfilt(high, np.where(there, row - first, 0.0))[: seconds * rate]
        total += np.square(above).reshape(seconds, rate).mean(axis=1)
        has &= there[: seconds * rate].reshape(seconds, rate).all(axis=1)
    return np.where(has, np.sqrt(total), np.nan)


def _usual(level: Seconds, around_s: int = 601) -> Seconds:
    """The running median of a level, what is missing taken for the median of all."""
    known = level[~np.isnan(level)]
    if not known.size:
        return np.zeros_like(level)
    filled = np.where(np.isnan(level), np.median(known), level)
    return np.asarray(median_filter(filled, size=min(around_s, len(level)), mode="nearest"))


def _drawn(trace: TraceId, starts: NDArray[np.int64], rule: NoiseRule, seed: int) -> BoolArray:
    """Which windows [k] are drawn: at most `per_hour` of each UTC hour."""
    drawn = np.zeros(len(starts), bool)
    hours = starts // HOUR_NS
    for hour in np.unique(hours).tolist():
        inside = np.flatnonzero(hours == hour)
        rng = np.random.default_rng(int(digest([seed, str(trace), hour]), 16))
        drawn[rng.choice(inside, min(len(inside), rule.per_hour), replace=False)] = True
    return drawn


def _table(trace: TraceId, starts: NDArray[np.int64], ratio: Seconds, rule: NoiseRule) -> pa.Table:
    n = len(starts)
    codes = (trace.network, trace.station, trace.location, trace.band)
    times = [pa.array(t, NOISE_SCHEMA.field("start").type) for t in
             (starts, starts + rule.length_s * NS)]  # fmt: skip
    columns = [*(pa.repeat(code, n) for code in codes), *times, pa.array(ratio)]
    return pa.table(columns, schema=NOISE_SCHEMA)
