"""Windows of continuous data that are worth judging: where a candidate picked, or an arrival is.

The first pick of a window stands at a place that is drawn anew for each: nobody can learn where to
look. It is drawn by the pick and the seed alone, so that whoever proposes windows of the same
picks, for people or for the rule, proposes the same. Two candidates disagree on a window by what
they make of it against each other, so that no reference is needed.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa

from catalog.schema import DAY_NS, PHASES, TraceId, day_of, day_start_ns, digest
from catalog.truth import ARRIVAL_SCHEMA
from eval.arena.battles import DISAGREEMENT_SCHEMA
from eval.arena.tallies import MATCH_S, WINDOW_SCHEMA, joined
from eval.arena.windows import Stretch
from eval.continuous import nanoseconds, true_times
from eval.matching import Times, match, tolerance_ns
from eval.strata import distance_bins, snr_bins, with_pick_snr

NS, GRID_NS = 10**9, 10**7
WINDOW_S = 60
WINDOWS = 1000
"""So many at most: the sample is drawn by the seed, so that a large catalogue costs no more."""

LEAD = (0.15, 0.4)
"""Where the first pick of a window stands, as a share of its length."""

KM_PER_S = 8.0
"""Distance of a second between P and S, near enough to tell local from regional."""

PROPOSAL_SCHEMA = pa.schema([*WINDOW_SCHEMA, ("band", pa.string())])


@dataclass(frozen=True, slots=True)
class Proposals:
    """windows: PROPOSAL_SCHEMA. disagreements: DISAGREEMENT_SCHEMA."""

    windows: pa.Table
    disagreements: pa.Table


@dataclass(frozen=True, slots=True)
class _Onset:
    candidate: str | None  # None: an arrival of the reference
    phase: str
    time: int
    snr_db: float


def propose(
    picks: pa.Table, days: pa.Table, arrivals: pa.Table, seconds: int, most: int, seed: int
) -> Proposals:
    """Windows of `seconds` on station-days, `most` of them, drawn alike from all there are.

    picks: of the catalogue, at the thresholds that are to be judged. days: `network`, `station`,
    `location`, `band`, `day` and `candidates`, a list of who picked that station-day. arrivals:
    ARRIVAL_SCHEMA, may be empty. A pair of which neither picked anything on a window is left out.
    """
    onsets = _onsets(picks)
    read = _arrivals(arrivals)
    windows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    numbers: list[tuple[float, float]] = []
    for row in days.sort_by([(name, "ascending") for name in days.column_names[:5]]).to_pylist():
        trace = TraceId(*(row[name] for name in ("network", "station", "location", "band")))
        begin = day_start_ns(row["day"])
        mine = [o for o in onsets.get((trace, row["day"]), ()) if o.candidate in row["candidates"]]
        truth = read.get((trace.network, trace.station, trace.location), [])
        mine += [o for o in truth if begin <= o.time < begin + DAY_NS]
        for start, end, inside in _cut(mine, trace, begin, seconds * NS, seed):
            window = Stretch(trace, start, end).name
            found = list(_pairs(window, inside, sorted(row["candidates"])))
            if found:
                pairs += found
                codes = {n: row[n] for n in ("network", "station", "location", "band")}
                windows.append({"window": window, "start": start, "end": end, **codes})
                numbers.append((_distance_km(inside), _snr_db(inside)))
    if len(windows) > most:
        chance = [_chance(row["window"], seed) for row in windows]
        kept = np.sort(np.argsort(chance)[:most])
        windows, numbers = [windows[k] for k in kept], [numbers[k] for k in kept]
        names = {row["window"] for row in windows}
        pairs = [row for row in pairs if row["window"] in names]
    kilometres, decibels = np.array(numbers, np.float64).reshape(-1, 2).T
    networks = np.array([row["network"] for row in windows], object)
    strata = joined([distance_bins(kilometres), snr_bins(decibels), networks]).to_pylist()
    rows = [row | {"stratum": stratum} for row, stratum in zip(windows, strata, strict=True)]
    return Proposals(
        pa.Table.from_pylist(rows, PROPOSAL_SCHEMA),
        pa.Table.from_pylist(pairs, DISAGREEMENT_SCHEMA),
    )


def _onsets(picks: pa.Table) -> dict[tuple[TraceId, Any], list[_Onset]]:
    found = defaultdict(list)
    table = with_pick_snr(picks)
    for row, time in zip(
        table.drop_columns(["time"]).to_pylist(), true_times(picks).tolist(), strict=True
    ):
        trace = TraceId(row["network"], row["station"], row["location"], row["band"])
        snr_db = np.nan if row["snr_db"] is None else row["snr_db"]
        found[trace, day_of(time)].append(_Onset(row["candidate"], row["phase"], time, snr_db))
    return found


def _arrivals(arrivals: pa.Table) -> dict[tuple[str, str, str], list[_Onset]]:
    found = defaultdict(list)
    table = arrivals.select(ARRIVAL_SCHEMA.names)
    for row, time in zip(
        table.drop_columns(["time"]).to_pylist(), nanoseconds(table).tolist(), strict=True
    ):
        key = row["network"], row["station"], row["location"] or ""
        found[key].append(_Onset(None, row["phase"], time, np.nan))
    return found


def _cut(
    onsets: Sequence[_Onset], trace: TraceId, day_ns: int, length: int, seed: int
) -> Iterator[tuple[int, int, list[_Onset]]]:
    """(start, end, what is new in it) of windows inside one day.

    Every onset is new in one window. What stood before the first of them is context, which the
    window before may have shown.
    """
    onsets = sorted(onsets, key=_time)
    k = 0
    while k < len(onsets):
        chance = _chance(f"{trace} {onsets[k].time}", seed)
        lead = round((LEAD[0] + chance * (LEAD[1] - LEAD[0])) * length)
        start = (onsets[k].time - lead) // GRID_NS * GRID_NS
        start = min(max(start, day_ns), day_ns + DAY_NS - length)
        until = bisect_left(onsets, start + length, key=_time)
        yield start, start + length, onsets[k:until]
        k = until


def _chance(name: str, seed: int) -> float:
    """A number of [0, 1) drawn by a name and the seed."""
    return int(digest([name, seed])[:12], 16) / 16.0**12


def _time(onset: _Onset) -> int:
    return onset.time


def _pairs(
    window: str, onsets: Sequence[_Onset], candidates: Sequence[str]
) -> Iterator[dict[str, Any]]:
    for left, right in combinations(candidates, 2):
        if any(onset.candidate in (left, right) for onset in onsets):
            score = _disagreement(onsets, left, right)
            yield {"window": window, "left": left, "right": right, "score": score}


def _disagreement(onsets: Sequence[_Onset], left: str, right: str) -> float:
    """With d picks that only one of them has d / (1 + d), else the mean difference in seconds."""
    apart, both, differences = 0, 0, 0.0
    for phase in PHASES:
        a, b = (_times(onsets, name, phase) for name in (left, right))
        i, j = match(a, b, tolerance_ns(MATCH_S))
        apart += len(a) + len(b) - 2 * len(i)
        both += len(i)
        differences += float(np.abs(a[i] - b[j]).sum()) / NS
    return apart / (1 + apart) if apart else differences / max(both, 1)


def _times(onsets: Sequence[_Onset], candidate: str | None, phase: str) -> Times:
    times = [o.time for o in onsets if o.candidate == candidate and o.phase == phase]
    return np.array(times, np.int64)


def _distance_km(onsets: Sequence[_Onset]) -> float:
    """Of the reference's P and S, NaN without both: candidates have no say in it."""
    p, s = (_times(onsets, None, phase) for phase in PHASES)
    later = s[s > p[0]] if len(p) else s[:0]
    return float(later[0] - p[0]) / NS * KM_PER_S if len(later) else float("nan")


def _snr_db(onsets: Sequence[_Onset]) -> float:
    """The highest that any pick has, NaN without one."""
    known = [onset.snr_db for onset in onsets if np.isfinite(onset.snr_db)]
    return max(known) if known else float("nan")
