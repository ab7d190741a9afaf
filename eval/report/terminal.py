"""Scores as a table in the terminal, no wider than 80 columns."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from eval.continuous import ALL_PHASES
from eval.metrics import CONFIDENCE, within


def scores_table(scores: pa.Table) -> Table:
    """A rich table of `eval.continuous.score`: a row for each candidate and phase.

    Each cell is the value, its counts and its interval. Raises ValueError for scores of more than
    one tolerance.
    """
    tolerances = sorted(set(scores["tolerance_s"].to_pylist()))
    if len(tolerances) != 1:
        raise ValueError(f"scores: a table shows one tolerance; tolerance_s holds {tolerances}")
    (tolerance_s,) = tolerances
    table = Table(
        title=f"Picks against complete truth, matched within {tolerance_s:g} s",
        caption=(
            f"Below each value: its counts, and its {CONFIDENCE:.0%} interval if all were "
            "independent.\nMedian and MAE are of pick minus arrival over matched pairs."
        ),
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("candidate\nand phase", overflow="fold")
    for heading in (
        "recall\n(%)",
        "precision\n(%)",
        "false picks/\nstation-hour",
        "median\n(ms)",
        "MAE\n(ms)",
    ):
        table.add_column(heading, justify="right", no_wrap=True)

    previous = None
    for row in scores.to_pylist():
        if row["candidate"] != previous:
            table.add_row(Text(row["candidate"], style="bold"))
        previous = row["candidate"]
        matched, false, hours = row["matched"], row["false_picks"], row["station_hours"]
        table.add_row(
            f"  {row['phase']}",
            _cell(row, within("recall", tolerance_s), ".1f", f"{matched}/{row['arrivals']}", 100),
            _cell(row, within("precision", tolerance_s), ".1f", f"{matched}/{row['picks']}", 100),
            _cell(
                row,
                within("false_picks_per_station_hour", tolerance_s),
                ".3g",
                f"{false} in {hours:.4g} h",
            ),
            _cell(row, "median_matched_s", "+.0f", f"of {matched}", 1000),
            _cell(row, "mae_matched_s", ".0f", f"of {matched}", 1000),
            end_section=row["phase"] == ALL_PHASES,
        )
    return table


def _cell(row: Mapping[str, Any], name: str, form: str, counts: str, scale: float = 1) -> Group:
    """Three lines: the value of a metric, what it was counted from, low to high."""
    value, low, high = (
        "-" if math.isnan(row[key]) else format(scale * row[key], form)
        for key in (name, f"{name}_low", f"{name}_high")
    )
    joint = " to " if form.startswith("+") else "-"
    interval = "-" if low == high == "-" else f"{low}{joint}{high}"
    return Group(Text(value, style="bold"), Text(counts), Text(interval, style="dim"))
