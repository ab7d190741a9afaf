"""Scores of labelled traces in a terminal: recall and timing side by side, with their counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from catalog.schema import PHASES
from eval.metrics import CONFIDENCE
from eval.strata import ALL, bin_order
from eval.thresholds import Thresholds, named

UNDEFINED = "undefined"
Row = dict[str, Any]


def oracle_tables(
    scores: pa.Table, thresholds: Thresholds, strata: Sequence[str], title: str
) -> Group:
    """The pooled scores with intervals, then those of each stratum that has several bins."""
    rows = scores.to_pylist()
    tables = [_table(rows, thresholds, ALL, title, intervals=True)]
    for stratum in strata:
        if stratum != ALL and _bins(rows, stratum) > 1:
            tables.append(_table(rows, thresholds, stratum, f"by {stratum}", intervals=False))
    return Group(*tables)


def composition_table(composition: pa.Table) -> Table:
    """What each bin is made of; alike for all candidates but for what could not be run."""
    table = _new("What the bins hold", "")
    for heading in ("traces", "not run", "P", "S", "both", "events", "stations"):
        table.add_column(heading, justify="right")
    seen = set()
    rows = composition.to_pylist()
    strata = list(dict.fromkeys(row["stratum"] for row in rows))
    shown = {stratum for stratum in strata if stratum == ALL or _bins(rows, stratum) > 1}
    rows.sort(key=lambda row: (strata.index(row["stratum"]), bin_order(row["bin"])))
    for row in rows:
        if row["stratum"] not in shown:
            continue
        counts = tuple(
            row[name]
            for name in (
                *("traces", "not_read", "labelled_P", "labelled_S", "labelled_both"),
                *("events", "stations"),
            )
        )
        if (row["stratum"], row["bin"], counts) not in seen:
            seen.add((row["stratum"], row["bin"], counts))
            name = row["bin"] if row["stratum"] == ALL else f"{row['stratum']}: {row['bin']}"
            table.add_row(name, *(f"{count:,}" for count in counts))
    return table


def unread_table(unread: pa.Table) -> Table:
    """Why traces are in no figure: UNREAD_SCHEMA."""
    table = _new("Not run, and in no figure", "")
    table.add_column("traces", justify="right")
    table.add_column("the first of them, and why", overflow="fold")
    for row in unread.to_pylist():
        table.add_row(row["outcome"], f"{row['traces']:,}", f"{row['example']}: {row['why']}")
    return table


def tasks_table(found: pa.Table) -> Table:
    """Muenchmeyer's tasks, a row a figure: TASK_SCHEMA."""
    table = _new("Tasks of Muenchmeyer et al. (2022)", "")
    for heading in ("dataset", "metric"):
        table.add_column(heading, overflow="fold")
    for heading in ("value", f"{CONFIDENCE:.0%}", "n", "threshold"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.to_pylist():
        ends = [f"{end:.3f}" for end in (row["low"], row["high"]) if end is not None]
        table.add_row(
            row["candidate"],
            row["dataset"],
            " ".join(part for part in (row["phase"], row["metric"]) if part),
            UNDEFINED if row["value"] is None else f"{row['value']:.3f}",
            "-".join(ends),
            f"{row['n']:,}",
            "" if row["threshold"] is None else f"{row['threshold']:.3g}",
        )
    return table


def _bins(rows: Sequence[Row], stratum: str) -> int:
    return len({row["bin"] for row in rows if row["stratum"] == stratum})


def _table(
    rows: Sequence[Row], thresholds: Thresholds, stratum: str, title: str, intervals: bool
) -> Table:
    over = sorted({row["interval_over"] for row in rows if row["stratum"] == stratum})
    caption = f"Below each value its {CONFIDENCE:.0%} interval, over {' or '.join(over)}."
    table = _new(title, caption if intervals else "")
    for heading in (
        *("found of\nlabelled", "recall\n(%)", "within 1 s\n(%)"),
        *("MAE of\nfound (ms)", "over 1 s of\nfound (%)"),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    own = [row for row in rows if row["stratum"] == stratum]
    cells = {(r["bin"], r["phase"], r["candidate"], r["metric"], r["threshold"]): r for r in own}
    candidates = sorted({row["candidate"] for row in own})
    for each in sorted({row["bin"] for row in own}, key=bin_order):
        for phase in PHASES:
            heading = phase if stratum == ALL else f"{each}, {phase}"
            table.add_row(Text(heading, style="bold"))
            for candidate in candidates:
                t = thresholds.at(candidate, phase)
                wanted = [
                    (f"recall_{named(t)}", 100, ".1f"),
                    (f"recall_1.0s_{named(t)}", 100, ".1f"),
                    (f"mae_cond_{named(t)}", 1000, ".0f"),
                    ("out_gt1.0s_cond", 100, ".1f"),
                ]
                found = [
                    (cells.get((each, phase, candidate, name, t)), scale, form)
                    for name, scale, form in wanted
                ]
                recall = found[0][0]
                if recall is None:
                    continue
                table.add_row(
                    f"  {candidate}",
                    f"{recall['count'] or 0:,}/{recall['n']:,}",
                    *(_cell(row, scale, form, intervals) for row, scale, form in found),
                )
    return table


def _new(title: str, caption: str) -> Table:
    table = Table(
        title=title,
        caption=caption or None,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("", overflow="fold")
    return table


def _cell(row: Row | None, scale: float, form: str, interval: bool) -> Text:
    if row is None or row["value"] is None:
        return Text(UNDEFINED, style="dim")
    text = Text(format(row["value"] * scale, form))
    if interval:
        ends = [end for end in (row["low"], row["high"]) if end is not None]
        known = "-".join(format(end * scale, form) for end in ends)
        text.append(f"\n{known or 'no interval'}", style="dim")
    return text
