"""A figure of the scores: recall, precision and false picks of each candidate, and residuals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from catalog.schema import PHASES
from eval.continuous import ALL_PHASES
from eval.metrics import within
from eval.report.figure import DPI, PHASE_COLOUR, STYLE, TRACE_COLOUR, WIDTH_IN

ROW_COLOUR = {**PHASE_COLOUR, ALL_PHASES: TRACE_COLOUR}
ROW_MARKER = {"P": "o", "S": "s", ALL_PHASES: "D"}
CANDIDATE_LINES = ("-", "--", "-.", ":")
CANDIDATE_COLOURS = ("#000000", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#999999")


def draw_scores(path: str | Path, scores: pa.Table, matched: pa.Table) -> None:
    """Write a picture of scores and residuals of all candidates.

    scores: of `eval.continuous.score`, of one tolerance. matched: its pairs, of
    `eval.continuous.matched`.
    """
    rows = scores.to_pylist()
    candidates = list(dict.fromkeys(row["candidate"] for row in rows))
    tolerance_s = rows[0]["tolerance_s"]
    heights = [0.9 + 0.62 * len(candidates), 2.6 + 0.2 * math.ceil(len(candidates) / 3)]
    with matplotlib.rc_context(STYLE):
        layout = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
        figure = Figure(figsize=(WIDTH_IN, sum(heights) + 0.3), layout=layout)
        above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=heights)[:, 0]
        _draw_figures(above, rows, candidates, tolerance_s)
        _draw_residuals(below, matched, candidates, tolerance_s)
        figure.savefig(path, dpi=DPI)


def _draw_figures(
    part: SubFigure,
    rows: Sequence[Mapping[str, Any]],
    candidates: Sequence[str],
    tolerance_s: float,
) -> None:
    """Point and interval of recall, precision and false picks, candidates one under another."""
    panels = {
        within("recall", tolerance_s): f"Recall, ±{tolerance_s:g} s",
        within("precision", tolerance_s): f"Precision, ±{tolerance_s:g} s",
        within("false_picks_per_station_hour", tolerance_s): "False picks per station-hour",
    }
    axes = part.subplots(1, len(panels), sharey=True)
    shifts = dict(zip((*PHASES, ALL_PHASES), (-0.22, 0.0, 0.22), strict=True))
    for axis, (name, title) in zip(axes, panels.items(), strict=True):
        for row in rows:
            phase = row["phase"]
            place = candidates.index(row["candidate"]) + shifts[phase]
            colour = ROW_COLOUR[phase]
            axis.plot([row[f"{name}_low"], row[f"{name}_high"]], [place, place], color=colour, lw=2)
            axis.plot(row[name], place, ROW_MARKER[phase], color=colour, ms=5.5)
            if math.isnan(row[name]):
                axis.text(0, place, "undefined", va="center", color=colour, fontsize=8)
        axis.set_title(title, fontsize=10, loc="left", fontweight="bold")
        axis.grid(axis="x", lw=0.4, color="#dddddd")
        axis.set_axisbelow(True)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
    for axis in axes[:2]:
        axis.set_xlim(-0.04, 1.04)
        axis.set_xticks(np.linspace(0, 1, 6))
    largest = max(row[f"{name}_high"] for row in rows)  # of the last panel
    axes[2].set_xlim(-0.04 * largest, 1.04 * largest)
    axes[0].set_yticks(range(len(candidates)), candidates)
    axes[0].set_ylim(len(candidates) - 0.5, -0.5)
    handles = [
        Line2D([], [], color=ROW_COLOUR[phase], marker=marker, lw=2, label=phase)
        for phase, marker in ROW_MARKER.items()
    ]
    part.legend(handles=handles, loc="outside lower center", ncols=len(handles))


def _draw_residuals(
    part: SubFigure, matched: pa.Table, candidates: Sequence[str], tolerance_s: float
) -> None:
    """A histogram of the matched residuals for each phase, candidates over one another."""
    axes = part.subplots(1, len(PHASES), sharey=True)
    # Bins of 30 ms for 0.5 s, the middle one centred on zero: at 100 Hz each holds three samples
    # and no sample falls on an edge.
    edges = 0.06 * tolerance_s * (np.arange(36) - 17.5)
    handles = []
    for rank, candidate in enumerate(candidates):
        style: dict[str, Any] = {
            "color": CANDIDATE_COLOURS[rank % len(CANDIDATE_COLOURS)],
            "ls": CANDIDATE_LINES[rank % len(CANDIDATE_LINES)],
            "lw": 1.4,
        }
        found = []
        for axis, phase in zip(axes, PHASES, strict=True):
            own = (pc.field("phase") == phase) & (pc.field("candidate") == candidate)
            residuals = matched.filter(own)["residual_s"].to_numpy()
            counts, _ = np.histogram(residuals, edges)
            axis.plot(edges, [0, *counts], drawstyle="steps-pre", **style)
            found.append(f"{len(residuals)} {phase}")
        handles.append(Line2D([], [], label=f"{candidate} ({', '.join(found)})", **style))
    for axis, phase in zip(axes, PHASES, strict=True):
        axis.axvline(0, color="#999999", lw=0.6, zorder=0)
        axis.set_title(
            f"{phase} residuals of matched picks", fontsize=10, loc="left", fontweight="bold"
        )
        axis.set_xlabel("pick minus arrival (s)")
        axis.set_xlim(edges[0], edges[-1])
        axis.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[0].set_ylim(bottom=0)
    axes[0].set_ylabel("picks")
    part.legend(
        handles=handles, loc="outside lower center", ncols=min(3, len(handles)), handlelength=2.2
    )
