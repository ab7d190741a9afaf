"""Picks over continuous data against reference arrivals: matched pairs, and scores per candidate.

Tables in, tables out. Picks have the columns of `catalog.schema.PICK_SCHEMA` that are named here
and `candidate`, and are already cut at the thresholds to be judged. Arrivals have
`ARRIVAL_SCHEMA`. A pick can match an arrival of the same network, station, location and phase (a
null location is an empty one). The band does not count, so a station picked on two bands makes two
picks of one arrival, and one of them is extra.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import PHASES
from catalog.truth import ARRIVAL_SCHEMA
from eval.matching import Indices, Times, match, tolerance_ns
from eval.metrics import score_complete_truth

ALL_PHASES = "+".join(PHASES)
"""The phase of a row that pools all phases."""

MATCHED_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("network", pa.string()),
        ("station", pa.string()),
        ("location", pa.string()),
        ("phase", pa.string()),
        ("event", pa.string()),
        ("arrival_time", pa.timestamp("ns", tz="UTC")),
        ("pick_time", pa.timestamp("ns", tz="UTC")),  # true: grid sample plus offset_ns
        ("residual_s", pa.float64()),  # pick minus arrival
        ("probability", pa.float32()),
    ]
)

_KEY = ("network", "station", "location", "phase")
PICK_COLUMNS = ("candidate", *_KEY, "time", "offset_ns", "probability")


def matched(picks: pa.Table, arrivals: pa.Table, tolerance_s: float = 0.5) -> pa.Table:
    """The best one-to-one pairs of each candidate, station and phase (`eval.matching.match`).

    Returns MATCHED_SCHEMA, sorted by candidate, station, phase and time. Raises ValueError, naming
    the table and the column, for a column that is missing, holds nulls, or an unknown phase.
    """
    picks = checked(picks, PICK_COLUMNS, "picks")
    arrivals = checked(arrivals, ARRIVAL_SCHEMA.names, "arrivals")
    arrival_row, pick_row = paired_rows(picks, arrivals, tolerance_s)
    arrival_times, pick_times = nanoseconds(arrivals), true_times(picks)
    residuals = (pick_times[pick_row] - arrival_times[arrival_row]) / 1e9
    chosen, reference = picks.take(pick_row), arrivals.take(arrival_row)
    columns = {name: chosen[name] for name in ("candidate", *_KEY, "probability")} | {
        "event": reference["event"],
        "arrival_time": reference["time"],
        "pick_time": pa.array(pick_times[pick_row]),
        "residual_s": pa.array(residuals),
    }
    return pa.table(
        [columns[field.name].cast(field.type) for field in MATCHED_SCHEMA], MATCHED_SCHEMA
    )


def paired_rows(picks: pa.Table, arrivals: pa.Table, tolerance_s: float) -> tuple[Indices, Indices]:
    """(arrival rows, pick rows) of the pairs of `matched`, of tables that are `checked`."""
    pick_times, arrival_times = true_times(picks), nanoseconds(arrivals)
    arrival_rows: list[Indices] = []
    pick_rows: list[Indices] = []
    for among_arrivals, among_picks in _groups(picks, pick_times, arrivals, arrival_times):
        pairs = match(
            arrival_times[among_arrivals], pick_times[among_picks], tolerance_ns(tolerance_s)
        )
        arrival_rows.append(among_arrivals[pairs[0]])
        pick_rows.append(among_picks[pairs[1]])
    no_row = np.empty(0, np.intp)
    return np.concatenate([no_row, *arrival_rows]), np.concatenate([no_row, *pick_rows])


def score(
    picks: pa.Table,
    arrivals: pa.Table,
    station_hours: float | pa.Table,
    tolerance_s: float = 0.5,
    candidates: Sequence[str] = (),
) -> pa.Table:
    """One row for each candidate and phase, then both phases: `metrics.score_complete_truth`.

    The truth must be complete (planted arrivals, or none on verified noise), picks and arrivals
    must be cut to the same time span, and every arrival counts, also one that fell in a gap.

    station_hours: hours of data picked, over all stations: one number for all candidates, or a
    table with the columns `candidate` and `hours`, whose rows are summed for each candidate.
    candidates: names to be scored even if they made no pick. Those of the picks and of the table
    of hours are always scored.
    """
    pairs = matched(picks, arrivals, tolerance_s)
    picks = checked(picks, PICK_COLUMNS, "picks")
    arrivals = checked(arrivals, ARRIVAL_SCHEMA.names, "arrivals")
    names = {*candidates, *pc.unique(picks["candidate"]).to_pylist()}
    if isinstance(station_hours, pa.Table):
        hours = _hours_by_candidate(station_hours)
        names |= hours.keys()
    else:
        hours = dict.fromkeys(names, float(station_hours))
    if unknown := sorted(names - hours.keys()):
        raise ValueError(f"station_hours: column 'candidate' lacks {unknown}; add their hours")

    rows = []
    for candidate in sorted(names):
        own = pc.field("candidate") == candidate
        for phase in (*PHASES, ALL_PHASES):
            of_phase = pc.field("phase").isin([phase] if phase in PHASES else list(PHASES))
            residuals = pairs.filter(own & of_phase)["residual_s"].to_numpy()
            figures = score_complete_truth(
                residuals,
                picks=picks.filter(own & of_phase).num_rows,
                arrivals=arrivals.filter(of_phase).num_rows,
                station_hours=hours[candidate],
                tolerance_s=float(tolerance_s),
            )
            rows.append({"candidate": candidate, "phase": phase, **figures})
    if not rows:
        raise ValueError("candidates: there are no picks and no names; name those to be scored")
    return pa.Table.from_pylist(rows)


def _groups(
    picks: pa.Table, pick_times: Times, arrivals: pa.Table, arrival_times: Times
) -> Iterator[tuple[Indices, Indices]]:
    """(arrival rows, pick rows) of every candidate, station and phase that has both."""
    pick_keys, arrival_keys = _codes(picks, arrivals, _KEY)
    candidates, _ = _codes(picks, picks.slice(0, 0), ("candidate",))
    arrival_order = np.lexsort((arrival_times, arrival_keys))
    sorted_keys = arrival_keys[arrival_order]
    pick_order = np.lexsort((pick_times, pick_keys, candidates))
    new_candidate = np.diff(candidates[pick_order]) != 0
    new_key = np.diff(pick_keys[pick_order]) != 0
    for group in np.split(pick_order, np.flatnonzero(new_candidate | new_key) + 1):
        if len(group):
            key = pick_keys[group[0]]
            start, end = np.searchsorted(sorted_keys, [key, key + 1])
            if end > start:
                yield arrival_order[start:end], group


def _codes(
    first: pa.Table, second: pa.Table, names: Sequence[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Integers, common to both tables and in sorted order, that stand for the named columns."""
    both = pa.concat_tables([first.select(names), second.select(names)])
    joined = pc.binary_join_element_wise(*both.columns, "\x00").combine_chunks()
    encoded = joined.dictionary_encode()
    rank = pc.rank(encoded.dictionary).to_numpy().astype(np.int64)
    codes = rank[encoded.indices.to_numpy()]
    return codes[: len(first)], codes[len(first) :]


def checked(table: pa.Table, names: Sequence[str], called: str) -> pa.Table:
    """The named columns, text as plain strings; ValueError for what cannot be matched."""
    columns = {}
    for name in names:
        if name not in table.column_names:
            raise ValueError(f"{called}: no column {name!r}; the columns needed are {list(names)}")
        column = table[name]
        if pa.types.is_dictionary(column.type) or pa.types.is_large_string(column.type):
            column = column.cast(pa.string())
        if name == "location":
            column = pc.fill_null(column.cast(pa.string()), "")
        if column.null_count and name != "event":
            raise ValueError(f"{called}: column {name!r} holds {column.null_count} nulls; fill it")
        columns[name] = column
    strange = set(pc.unique(columns["phase"]).to_pylist()) - set(PHASES)
    if strange:
        raise ValueError(
            f"{called}: column 'phase' holds {sorted(strange)}; map every phase to one of {PHASES}"
        )
    return pa.table(columns)


def true_times(picks: pa.Table) -> Times:
    """Times of the peaks' samples, int64 nanoseconds: the grid's plus `offset_ns`."""
    offsets: Times = picks["offset_ns"].to_numpy().astype(np.int64)
    return nanoseconds(picks) + offsets


def nanoseconds(table: pa.Table) -> Times:
    """`time` as int64 nanoseconds since the Unix epoch; a time without a zone is UTC."""
    times: Times = table["time"].cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64()).to_numpy()
    return times


def _hours_by_candidate(table: pa.Table) -> dict[str, float]:
    for name in ("candidate", "hours"):
        if name not in table.column_names:
            raise ValueError(f"station_hours: no column {name!r}; give 'candidate' and 'hours'")
    hours: dict[str, float] = {}
    for candidate, value in zip(
        table["candidate"].to_pylist(), table["hours"].to_pylist(), strict=True
    ):
        hours[candidate] = hours.get(candidate, 0.0) + value
    return hours
