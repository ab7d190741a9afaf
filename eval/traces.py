"""A checked per-trace table, as arrays: what benchmark and comparison read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.examined import TRACE_SCHEMA
from catalog.schema import PHASES, Outcome
from eval.intervals import Clusters, Codes

Truths = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.intp]

NEEDED = (
    "weight",
    "trace_name",
    *(
        f"{phase.lower()}_{what}"
        for phase in PHASES
        for what in ("in_window", "prob", "residual_s")
    ),
)
"""Columns a table must have; the others of TRACE_SCHEMA are taken as null where they lack."""

KEY = ("dataset", "chunk", "trace_name")


@dataclass(frozen=True, slots=True)
class PhaseRows:
    """One phase of the traces. All arrays [rows].

    labelled: the window holds a label and the trace was read. probability, residual_s: NaN where
    not labelled.
    """

    labelled: Truths
    probability: Numbers
    residual_s: Numbers


def conformed(traces: pa.Table) -> pa.Table:
    """The table with every column of TRACE_SCHEMA in its type, and further columns as they are.

    Raises ValueError, naming the column and the trace: for a needed column that lacks, for a trace
    twice of one weight, for a labelled trace without a probability or a residual unless its
    `outcome` says why, and for a probability outside [0, 1].
    """
    for name in NEEDED:
        if name not in traces.column_names:
            raise ValueError(f"traces: no column {name!r}; the columns needed are {list(NEEDED)}")
    columns = {}
    for field in TRACE_SCHEMA:
        if field.name not in traces.column_names:
            columns[field.name] = pa.nulls(traces.num_rows, field.type)
            continue
        if field.type == pa.float64() and pa.types.is_float32(traces[field.name].type):
            raise ValueError(
                f"traces: column {field.name!r} is float32, which moves values across thresholds; "
                "write float64"
            )
        columns[field.name] = traces[field.name].cast(field.type)
    columns["outcome"] = pc.fill_null(columns["outcome"], Outcome.PICKED.value)
    more = {n: traces[n] for n in traces.column_names if n not in columns}
    table = pa.table(columns | more)
    _check_keys(table)
    for phase in PHASES:
        _check_phase(table, phase)
    return table


def phase_rows(traces: pa.Table, phase: str) -> PhaseRows:
    """One phase of a `conformed` table."""
    p = phase.lower()
    read = pc.equal(traces["outcome"], Outcome.PICKED.value).to_numpy()
    labelled = (traces[f"{p}_in_window"].to_numpy() >= 0) & read
    probability, residual = (
        np.where(labelled, traces[f"{p}_{what}"].cast(pa.float64()).to_numpy(), np.nan)
        for what in ("prob", "residual_s")
    )
    return PhaseRows(labelled, probability, residual)


def peaks(traces: pa.Table) -> pa.Table:
    """Every labelled trace's peak as a pick: `candidate`, `phase`, `probability`, `residual_s`."""
    table = conformed(traces)
    parts = []
    for phase in PHASES:
        rows = phase_rows(table, phase)
        columns = {
            "candidate": table["weight"],
            "phase": pa.repeat(phase, table.num_rows),
            "probability": rows.probability,
            "residual_s": rows.residual_s,
        }
        peaks_of = pa.table(columns)
        parts.append(peaks_of.filter(pa.array(rows.labelled)))
    return pa.concat_tables(parts)


def clusters(traces: pa.Table) -> Clusters:
    """Events and stations of a `conformed` table; a trace without one is a cluster of its own.

    A column without any value gives no clusters: intervals are then not over events, or stations,
    and `Clusters.over` says so.
    """
    return Clusters(codes(traces["event_id"]), codes(traces["station"]))


def by_candidate(traces: pa.Table) -> Iterator[tuple[str, pa.Table]]:
    for weight in sorted(pc.unique(traces["weight"]).to_pylist()):
        yield weight, traces.filter(pc.equal(traces["weight"], weight))


def keys(traces: pa.Table) -> pa.Array:
    """Text [rows] that stands for dataset, chunk and trace name; a column that lacks is empty."""
    parts = [
        pc.fill_null(traces[name].cast(pa.string()), "")
        if name in traces.column_names
        else pa.repeat("", traces.num_rows)
        for name in KEY
    ]
    return pc.binary_join_element_wise(*parts, "\x00").combine_chunks()


def spoken(key: str) -> str:
    """A key of `keys` for a message: `dataset/chunk/trace_name` without what is empty."""
    return "/".join(part for part in key.split("\x00") if part)


def few(names: Sequence[str]) -> str:
    """The first three names, and how many more."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def codes(column: pa.ChunkedArray) -> Codes | None:
    """Whole numbers for the values of a column of text; each null its own, None if all are."""
    if column.null_count == len(column):
        return None
    encoded = column.combine_chunks().dictionary_encode()
    numbers: Codes = pc.fill_null(encoded.indices.cast(pa.int64()), -1).to_numpy().copy()
    alone = numbers < 0
    numbers[alone] = len(encoded.dictionary) + np.arange(int(alone.sum()))
    return numbers


def _check_keys(traces: pa.Table) -> None:
    for name in ("weight", "trace_name"):
        if traces[name].null_count:
            raise ValueError(f"traces: column {name!r} holds {traces[name].null_count} nulls")
    for weight, own in by_candidate(traces):
        counts = pc.value_counts(keys(own))
        twice = counts.filter(pc.greater(counts.field("counts"), 1)).field("values").to_pylist()
        if twice:
            raise ValueError(
                f"traces: weight {weight!r} has {few([spoken(key) for key in twice])} more than "
                "once; dataset, chunk and trace_name must be unique"
            )


def _check_phase(traces: pa.Table, phase: str) -> None:
    p = phase.lower()
    if traces[f"{p}_in_window"].null_count:
        raise ValueError(f"traces: column '{p}_in_window' holds nulls; write -1 for no label")
    rows = phase_rows(traces, phase)
    for what, values in (("prob", rows.probability), ("residual_s", rows.residual_s)):
        bad = rows.labelled & ~np.isfinite(values)
        if what == "prob":
            bad |= (values < 0) | (values > 1)
        if bad.any():
            names = traces.filter(pa.array(bad))["trace_name"].to_pylist()
            raise ValueError(
                f"traces: column '{p}_{what}' is not usable for {few(names)}, which has a label; "
                "give a value, or an outcome that says why there is none"
            )
