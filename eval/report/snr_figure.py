"""Figures of signal and noise: what SNR says of decisions, and how many traces a decision takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import pyarrow as pa
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from catalog.schema import PHASES
from eval.report.figure import DPI, PHASE_COLOUR, STYLE, TRACE_COLOUR, WIDTH_IN
from eval.report.score_figure import CANDIDATE_COLOURS, CANDIDATE_LINES, ROW_MARKER
from eval.strata import ALL

CHANCE = 0.5


def draw_snr(path: str | Path, table: pa.Table, kind: str = "sampling") -> None:
    """Write a picture of SNR against decision accuracy, a point a bin and measure.

    table: `eval.snr.table.SNR_SCHEMA`. kind: of the noise. Filled points are verdicts `separates`.
    Rows without either number are counted in the picture. Raises ValueError where none has both.
    """
    if not is_drawable(table, kind):
        raise ValueError(f"table: no row has snr_{kind} and a decision accuracy; nothing to draw")
    with matplotlib.rc_context(STYLE):
        snr_figure(table, kind).savefig(path, dpi=DPI)


def is_drawable(table: pa.Table, kind: str) -> bool:
    """Whether some row has an SNR of this noise and a decision accuracy."""
    return bool(_drawn(table.to_pylist(), kind))


def _drawn(rows: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [r for r in rows if r[f"snr_{kind}"] and r["decision_accuracy"] is not None]


def snr_figure(table: pa.Table, kind: str = "sampling", width_in: float = WIDTH_IN) -> Figure:
    """The figure of `draw_snr`, in the style that is in force."""
    rows = table.to_pylist()
    drawn = _drawn(rows, kind)
    measures = list(dict.fromkeys(row["measure"] for row in drawn))
    figure = Figure(figsize=(width_in, 0.5 * width_in), layout="constrained")
    axes = figure.subplots(1, len(PHASES), sharex=True, sharey=True)
    for axis, phase in zip(axes, PHASES, strict=True):
        for rank, measure in enumerate(measures):
            colour = CANDIDATE_COLOURS[rank % len(CANDIDATE_COLOURS)]
            for row in drawn:
                if (row["phase"], row["measure"]) == (phase, measure):
                    _point(axis, row, kind, colour, named=width_in == WIDTH_IN)
            axis.plot([], [], ROW_MARKER[phase], color=colour, label=measure)
        axis.set_xscale("log")
        axis.set_xlabel(f"signal to noise ({kind})")
        _share_axis(axis, phase)
    axes[0].set_ylabel("decision accuracy")
    if left_out := len(rows) - len(drawn):
        figure.text(0.99, 0.01, f"{left_out} rows without both are not drawn", ha="right")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    return figure


def draw_sizes(path: str | Path, table: pa.Table) -> None:
    """Write a picture of decision accuracy against the number of traces, a line a measure.

    table: `eval.snr.decisions.SIZE_SCHEMA`. The band holds 95 % of the draws.
    """
    if table.num_rows == 0:
        raise ValueError("table: it has no rows; there is nothing to draw")
    with matplotlib.rc_context(STYLE):
        sizes_figure(table).savefig(path, dpi=DPI)


def sizes_figure(table: pa.Table, width_in: float = WIDTH_IN) -> Figure:
    """The figure of `draw_sizes`, in the style that is in force."""
    rows = table.to_pylist()
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    figure = Figure(figsize=(width_in, 0.45 * width_in), layout="constrained")
    axes = figure.subplots(1, len(PHASES), sharex=True, sharey=True)
    for axis, phase in zip(axes, PHASES, strict=True):
        for rank, measure in enumerate(measures):
            own = [r for r in rows if (r["phase"], r["measure"]) == (phase, measure)]
            own.sort(key=lambda row: row["traces"])
            traces = [row["traces"] for row in own]
            colour = CANDIDATE_COLOURS[rank % len(CANDIDATE_COLOURS)]
            low, high = ([row[end] for row in own] for end in ("low", "high"))
            axis.fill_between(traces, low, high, color=colour, alpha=0.07, lw=0)
            line = CANDIDATE_LINES[rank % len(CANDIDATE_LINES)]
            values = [row["accuracy"] for row in own]
            axis.plot(traces, values, line, color=colour, marker="o", ms=3, label=measure)
        axis.set_xscale("log")
        axis.set_xlabel("traces")
        _share_axis(axis, phase)
    axes[0].set_ylabel("decision accuracy")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)))
    return figure


def _point(axis: Axes, row: dict[str, float | str], kind: str, colour: str, *, named: bool) -> None:
    at, value = row[f"snr_{kind}"], row["decision_accuracy"]
    face = colour if row["verdict"] == "separates" else "white"
    if row["decision_low"] is not None:
        ends = [row["decision_low"], row["decision_high"]]
        axis.plot([at, at], ends, color=colour, lw=0.7, alpha=0.35)
    marker = ROW_MARKER[str(row["phase"])]
    axis.plot(at, value, marker, color=colour, markerfacecolor=face, ms=6)
    if named and row["bin"] != ALL:
        axis.annotate(str(row["bin"]), (at, value), (4, 3), textcoords="offset points", fontsize=7)


def _share_axis(axis: Axes, phase: str) -> None:
    axis.axhline(CHANCE, color=TRACE_COLOUR, lw=0.6, ls=":")
    axis.set_ylim(-0.04, 1.04)
    axis.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set_title(phase, fontsize=10, loc="left", fontweight="bold", color=PHASE_COLOUR[phase])
    axis.grid(lw=0.4, color="#dddddd")
    axis.set_axisbelow(True)
