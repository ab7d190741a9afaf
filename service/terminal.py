"""How rows, times and money look in a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.table import Table


def rows_table(rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> Table:
    """Query rows for a terminal."""
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    return table


def duration(hours: float) -> str:
    """`45 s`, `12 min`, `3.4 h`, `12 days`: as exactly as one reads it."""
    seconds = hours * 3600
    for unit, size, least in (("days", 86400, 172800), ("h", 3600, 5400), ("min", 60, 90)):
        if seconds >= least:
            value = seconds / size
            return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"
    return f"{seconds:.0f} s"


def money(dollars: float) -> str:
    """`$1,234`, `$12.34`, `$0.0012`: cents, or two digits where that is less."""
    if dollars >= 1000:
        return f"${dollars:,.0f}"
    if dollars >= 0.1 or dollars == 0:
        return f"${dollars:.2f}"
    digits = f"{dollars:.2g}"
    return f"${float(digits):.12f}".rstrip("0") if "e" in digits else f"${digits}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)
