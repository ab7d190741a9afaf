"""What an evaluation prints: its tables, or all of them as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from rich.console import Console

from service.terminal import rows_table


def show(
    out: Console, as_json: bool, tables: Mapping[str, pa.Table], facts: Mapping[str, Any]
) -> None:
    """Tables by name, and single facts. Columns that are null throughout are not printed."""
    if as_json:
        rows = {name: _plain(table.to_pylist()) for name, table in tables.items()}
        print(json.dumps({**facts, **rows}, default=str, indent=1, allow_nan=False))
        return
    for name, fact in facts.items():
        out.print(f"{name}: {fact}")
    for name, table in tables.items():
        if table.num_rows:
            columns = [c for c in table.column_names if table[c].null_count < table.num_rows]
            out.print(name)
            out.print(rows_table(_rounded(table.to_pylist()), columns))


def _plain(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """null for NaN, which JSON has not."""
    return [
        {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
        for row in rows
    ]


def _rounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {k: float(f"{v:.3g}") if isinstance(v, float) else v for k, v in row.items()}
        for row in rows
    ]
