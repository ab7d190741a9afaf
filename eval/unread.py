"""Traces that could not be run: how many, and why. They are in no figure."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import Outcome
from eval.traces import conformed, keys

UNREAD_SCHEMA = pa.schema(
    [
        ("outcome", pa.string()),
        ("dataset", pa.string()),
        ("traces", pa.int64()),
        ("candidates", pa.string()),  # who could not run them, joined by commas
        ("example", pa.string()),  # chunk and trace name of the first
        ("why", pa.string()),  # of the first
    ]
)


def unread(traces: pa.Table) -> pa.Table:
    """The outcomes of a per-trace table that are none of a pick, most traces first."""
    table = conformed(traces)
    table = table.append_column("key", keys(table))
    table = table.filter(pc.not_equal(table["outcome"], Outcome.PICKED.value))
    groups: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in table.sort_by("key").to_pylist():
        groups.setdefault((row["outcome"], row["dataset"] or ""), []).append(row)
    rows = [
        {
            "outcome": outcome,
            "dataset": dataset,
            "traces": len({row["key"] for row in own}),
            "candidates": ", ".join(sorted({row["weight"] for row in own})),
            "example": " ".join(filter(None, (own[0]["chunk"], own[0]["trace_name"]))),
            "why": own[0]["detail"] or "",
        }
        for (outcome, dataset), own in groups.items()
    ]
    rows.sort(key=lambda row: -int(str(row["traces"])))
    return pa.Table.from_pylist(rows, UNREAD_SCHEMA)
