"""Waveforms of misses and extras: what a number looks like."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
from markupsafe import Markup

from catalog.examined import SNIPPET_SCHEMA
from catalog.schema import COMPONENTS, PHASES
from eval.report.figure import Mark, WindowView, windows_figure
from eval.report.rows import code, rows_of
from eval.report.section import Figures, Panel, Part, Section, Subject, missing
from eval.report.svg import THEME, inline

_WIDTH_IN = 6.4


def examples_section(subject: Subject) -> Section:
    parts: list[Part] = []
    if "snippets" in subject.tables:
        table = in_integers(subject.tables["snippets"])
        rows = rows_of({"snippets": table}, "snippets", table.schema)
        panels = [_panel(row.values) for row in rows]
        if panels:
            parts.append(Figures(panels))
    if not parts:
        parts.append(missing(subject, "snippets"))
    return Section(
        "examples",
        "Misses and extras",
        "Dashed lines are arrivals, triangles picks. They were drawn by chance from all misses and "
        "from the surest extras, and stand for no share of anything.",
        parts,
    )


def in_integers(table: pa.Table) -> pa.Table:
    """The table with times as int64 nanoseconds. Raises ValueError for other columns than
    SNIPPET_SCHEMA."""
    if table.schema.names != SNIPPET_SCHEMA.names:
        raise ValueError(
            f"table 'snippets': columns {table.schema.names}, not {SNIPPET_SCHEMA.names}"
        )
    marks = pa.list_(
        pa.struct([("candidate", pa.string()), ("phase", pa.string()), ("time", pa.int64())])
    )
    fields = [
        field.with_type({"start": pa.int64(), "marks": marks}.get(field.name, field.type))
        for field in SNIPPET_SCHEMA
    ]
    return table.cast(pa.schema(fields))


def view_of(row: Mapping[str, Any]) -> WindowView:
    """One row of SNIPPET_SCHEMA, times in integers, as it is drawn."""
    waveform = np.array(row["waveform"], np.float64).reshape(len(COMPONENTS), -1)
    names = list(dict.fromkeys(curve["candidate"] for curve in row["curves"]))
    curves = {
        name: np.stack(
            [
                next(
                    np.array(curve["probability"], np.float64)
                    for curve in row["curves"]
                    if (curve["candidate"], curve["phase"]) == (name, phase)
                )
                for phase in PHASES
            ]
        )
        for name in names
    }
    marks = [(mark["candidate"], Mark(mark["phase"], mark["time"])) for mark in row["marks"]]
    return WindowView(
        waveform=waveform,
        rate=row["sampling_rate"],
        start_ns=row["start"],
        title=row["trace"],
        curves=curves,
        picks={name: [mark for of, mark in marks if of == name] for name in names},
        arrivals=[mark for of, mark in marks if of is None],
    )


def _panel(row: Mapping[str, Any]) -> Panel:
    view = view_of(row)
    what = {"miss": "missed", "extra": "picked without an arrival"}.get(row["kind"], row["kind"])
    said = f"{row['phase']} {what} by {row['candidate']} at {row['trace']}"
    with matplotlib.rc_context(THEME):
        svg = inline(
            windows_figure([view], _WIDTH_IN), f"Three components and probabilities: {said}"
        )
    caption = Markup("<b>{}</b>: {} {} by {}").format(
        row["kind"], row["phase"], what, code(row["candidate"])
    )
    return Panel(caption, svg, wide=True)
