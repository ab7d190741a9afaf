"""What each candidate made of each window: matches, errors and residuals, all phases together.

Candidates stand at thresholds of equal false picks per hour (`eval.noise.thresholds_at`), for
whoever picks more finds more; every tally carries, in words, how its thresholds were solved.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from catalog.schema import PHASES
from catalog.truth import ARRIVAL_SCHEMA
from eval import traces as per_trace
from eval.arena.windows import traces_called
from eval.continuous import PICK_COLUMNS, checked, nanoseconds, true_times
from eval.matching import Times, match, tolerance_ns
from eval.strata import ALL, bins_of
from eval.thresholds import Frozen, picks_at

MATCH_S = 0.5
"""A pick this near to an arrival (inclusive) is of it."""

TALLY_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("window", pa.string()),
        ("stratum", pa.string()),
        ("matched", pa.int64()),
        ("errors", pa.int64()),  # misses and extras
        ("residual_s", pa.float64()),  # mean |pick - arrival| of the matched; null without one
        ("thresholds", pa.string()),  # how they were solved
    ]
)

WINDOW_SCHEMA = pa.schema(
    [
        ("window", pa.string()),
        ("stratum", pa.string()),
        ("network", pa.string()),
        ("station", pa.string()),
        ("location", pa.string()),
        ("start", pa.timestamp("ns", tz="UTC")),
        ("end", pa.timestamp("ns", tz="UTC")),  # exclusive
    ]
)
"""Stretches of continuous data, one station each."""

_PLACE = ("network", "station", "location", "phase")


def of_traces(traces: pa.Table, thresholds: Frozen, strata: Sequence[str] = (ALL,)) -> pa.Table:
    """TALLY_SCHEMA of labelled traces that have a label and were read.

    traces: TRACE_SCHEMA. A peak that reaches the threshold is a pick; farther than MATCH_S from the
    label it is an extra, and the arrival a miss. strata: of `eval.strata.bins_of`, joined.
    """
    table = per_trace.conformed(traces)
    parts = [TALLY_SCHEMA.empty_table()]
    for candidate, own in per_trace.by_candidate(table):
        labels, matched, errors = (np.zeros(own.num_rows, np.int64) for _ in range(3))
        residual = np.zeros(own.num_rows)
        for phase in PHASES:
            rows = per_trace.phase_rows(own, phase)
            threshold = thresholds.thresholds.at(candidate, phase)
            size = np.abs(rows.residual_s)
            picked = rows.labelled & (rows.probability >= threshold)
            right = picked & (size <= MATCH_S)
            labels += rows.labelled
            matched += right
            errors += (rows.labelled & ~right).astype(np.int64) + (picked & ~right)
            residual += np.where(right, size, 0.0)
        columns = {
            "candidate": own["weight"],
            "window": traces_called(own),
            "stratum": joined([bins_of(own, stratum) for stratum in strata]),
            "matched": matched,
            "errors": errors,
            "residual_s": pa.array(residual / np.maximum(matched, 1), mask=matched == 0),
            "thresholds": pa.repeat(thresholds.rule, own.num_rows),
        }
        parts.append(pa.table(columns, TALLY_SCHEMA).filter(pa.array(labels > 0)))
    return pa.concat_tables(parts)


def of_picks(
    picks: pa.Table,
    arrivals: pa.Table,
    windows: pa.Table,
    thresholds: Frozen,
    candidates: Sequence[str],
) -> pa.Table:
    """TALLY_SCHEMA of windows of continuous data.

    picks: as the catalogue stores them, with `saddle`. arrivals: ARRIVAL_SCHEMA; where they are not
    complete, extras count against a candidate that is right. windows: WINDOW_SCHEMA. candidates:
    all who ran there, also those without a pick. Raises ValueError for a window that stands twice.
    """
    windows = windows.select(WINDOW_SCHEMA.names).cast(WINDOW_SCHEMA)
    names = windows["window"].to_pylist()
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"windows: {per_trace.few(twice)} stands more than once")
    picks = checked(picks_at(picks, thresholds.thresholds), PICK_COLUMNS, "picks")
    arrivals = checked(arrivals, ARRIVAL_SCHEMA.names, "arrivals")
    picked = _by_place(picks, ("candidate", *_PLACE), true_times(picks))
    read = _by_place(arrivals, _PLACE, nanoseconds(arrivals))
    starts, ends = (windows[n].cast(pa.int64()).to_pylist() for n in ("start", "end"))
    rows = []
    for window, start, end in zip(windows.to_pylist(), starts, ends, strict=True):
        station = (window["network"], window["station"], window["location"] or "")
        for candidate in candidates:
            matched, errors, residual_ns = 0, 0, 0
            for phase in PHASES:
                truth = _within(read.get((*station, phase)), start, end)
                found = _within(picked.get((candidate, *station, phase)), start, end)
                arrival, pick = match(truth, found, tolerance_ns(MATCH_S))
                matched += len(arrival)
                errors += len(truth) + len(found) - 2 * len(arrival)
                residual_ns += int(np.abs(truth[arrival] - found[pick]).sum())
            rows.append(
                {
                    "candidate": candidate,
                    "window": window["window"],
                    "stratum": window["stratum"],
                    "matched": matched,
                    "errors": errors,
                    "residual_s": residual_ns / 1e9 / matched if matched else None,
                    "thresholds": thresholds.rule,
                }
            )
    return pa.Table.from_pylist(rows, TALLY_SCHEMA)


def joined(bins: Sequence[npt.NDArray[np.object_]]) -> pa.Array:
    """One stratum [rows] of several: `local (<150km) | 10-20 dB`."""
    return pa.array([" | ".join(parts) for parts in zip(*bins, strict=True)], pa.string())


def _by_place(table: pa.Table, names: Sequence[str], times: Times) -> dict[tuple[str, ...], Times]:
    """Sorted times of each combination of the named columns."""
    places: dict[tuple[str, ...], list[int]] = {}
    keys = zip(*(table[name].to_pylist() for name in names), strict=True)
    for key, time in zip(keys, times.tolist(), strict=True):
        places.setdefault(key, []).append(time)
    return {key: np.array(sorted(found), np.int64) for key, found in places.items()}


def _within(times: Times | None, start: int, end: int) -> Times:
    if times is None:
        return np.empty(0, np.int64)
    return times[np.searchsorted(times, start) : np.searchsorted(times, end)]
