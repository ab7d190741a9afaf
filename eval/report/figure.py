"""A figure of a few windows: what was recorded, what each candidate made of it, what is true.

Colours are those of Okabe and Ito, safe for colour-blind readers; a line style or a letter says
again what a colour says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from catalog.schema import COMPONENTS, PHASES
from eval.report.envelope import bent, envelope

PHASE_COLOUR = {"P": "#0072B2", "S": "#D55E00"}
TRACE_COLOUR = "#333333"
GAP_COLOUR = "#e4e4e4"
WIDTH_IN, DPI = 10.0, 160
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "text.parse_math": False,  # a candidate's name may hold a dollar
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A pick or an arrival on the time axis."""

    phase: str
    time_ns: int  # UTC

    def __post_init__(self) -> None:
        if self.phase not in PHASES:
            raise ValueError(f"phase {self.phase!r} of a mark: use one of {PHASES}")


@dataclass(frozen=True)
class WindowView:
    """One stretch of one station: what was recorded, what came out, what is true.

    waveform: float [3, n], rows in the order of `catalog.schema.COMPONENTS`, any unit; NaN where
    there is no data. rate: Hz. start_ns: UTC time of sample 0. title: the station, in words.
    curves: candidate -> float [phases, n], rows in the order of `catalog.schema.PHASES`.
    picks: candidate -> its picks. arrivals: the reference. Marks outside the window are not drawn.
    thresholds: candidate -> phase -> probability, drawn as dotted lines if given.
    """

    waveform: npt.NDArray[Any]
    rate: float
    start_ns: int
    title: str
    curves: Mapping[str, npt.NDArray[Any]]
    picks: Mapping[str, Sequence[Mark]]
    arrivals: Sequence[Mark]
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.waveform.ndim != 2 or len(self.waveform) != len(COMPONENTS):
            raise ValueError(f"waveform of {self.title!r}: shape {self.waveform.shape}, not [3, n]")
        expected = (len(PHASES), self.waveform.shape[1])
        for candidate, curve in self.curves.items():
            if curve.shape != expected:
                raise ValueError(
                    f"curves[{candidate!r}] of {self.title!r}: shape {curve.shape}, not {expected}"
                )
        if strange := {*self.picks, *self.thresholds} - self.curves.keys():
            raise ValueError(f"picks of {self.title!r}: no curves for {sorted(strange)}")

    def placed(self, marks: Sequence[Mark]) -> list[tuple[float, str]]:
        """(seconds after sample 0, phase) of the marks inside the window, in time order."""
        span = self.waveform.shape[1] / self.rate
        places = ((mark.time_ns - self.start_ns) / 1e9 for mark in marks)
        return sorted(
            (place, mark.phase)
            for place, mark in zip(places, marks, strict=True)
            if 0 <= place <= span
        )


def draw_windows(path: str | Path, windows: Sequence[WindowView]) -> None:
    """Write a picture: each window's waveforms, and beneath them each candidate's probabilities.

    Every component is scaled by itself. Dashed lines are arrivals, marked lines are picks.
    The format follows the path's ending (png, pdf, svg). The picture is 1600 pixels wide.
    """
    with matplotlib.rc_context(STYLE):
        windows_figure(windows).savefig(path, dpi=DPI)


def windows_figure(windows: Sequence[WindowView], width_in: float = WIDTH_IN) -> Figure:
    """The figure of `draw_windows`, in the style that is in force."""
    if not windows:
        raise ValueError("windows: there is none to draw")
    heights = [0.75 + 0.62 * len(COMPONENTS) + 0.85 * len(view.curves) for view in windows]
    key = 0.35 if width_in == WIDTH_IN else 0.7
    figure = Figure(figsize=(width_in, key + sum(heights)), layout="constrained")
    legend, *parts = figure.subfigures(
        1 + len(windows), 1, squeeze=False, height_ratios=[key, *heights]
    )[:, 0]
    _draw_legend(legend, windows, ncols=7 if width_in == WIDTH_IN else 4)
    for part, view in zip(parts, windows, strict=True):
        _draw_window(part, view)
    return figure


def _draw_window(part: SubFigure, view: WindowView) -> None:
    n = view.waveform.shape[1]
    start = datetime.fromtimestamp(view.start_ns // 10**9, UTC)
    fraction = view.start_ns % 10**9 // 10**7
    part.suptitle(
        f"{view.title}   {start:%Y-%m-%d %H:%M:%S}.{fraction:02d} UTC",
        x=0.01,
        ha="left",
        fontsize=10,
        fontweight="bold",
    )
    ratios = [0.62] * len(COMPONENTS) + [0.85] * len(view.curves)
    axes = part.subplots(
        len(ratios), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": ratios}
    )[:, 0]
    for axis in axes:
        for place, phase in view.placed(view.arrivals):
            axis.axvline(place, color=PHASE_COLOUR[phase], lw=1.0, ls=(0, (4, 3)))
        axis.set_xlim(0, n / view.rate)
        axis.tick_params(axis="x", length=0)
    for axis, trace, component in zip(axes, view.waveform, COMPONENTS, strict=False):
        gap = np.isnan(trace)
        middle = np.median(trace[~gap]) if not gap.all() else 0.0
        at = envelope(np.asarray(trace, np.float64))
        axis.plot(at / view.rate, trace[at] - middle, color=TRACE_COLOUR, lw=0.5)
        reach = np.max(np.abs(trace - middle), where=~gap, initial=0.0) or 1.0
        axis.set_ylim(-1.05 * reach, 1.05 * reach)
        if gap.any():
            axis.fill_between(at / view.rate, -reach, reach, where=gap[at], color=GAP_COLOUR, lw=0)
        axis.set_yticks([])
        axis.spines[["left", "bottom"]].set_visible(False)
        axis.set_ylabel(component, rotation=0, ha="right", va="center")
    _name_arrivals(axes[0], view)
    for axis, candidate in zip(axes[len(COMPONENTS) :], view.curves, strict=True):
        _draw_curves(axis, view, candidate)
    axes[-1].tick_params(axis="x", length=3)
    axes[-1].set_xlabel("seconds")


def _draw_curves(axis: Axes, view: WindowView, candidate: str) -> None:
    for phase, curve in zip(PHASES, view.curves[candidate], strict=True):
        values = np.asarray(curve, np.float64)
        at = bent(values, envelope(values))
        axis.fill_between(at / view.rate, values[at], color=PHASE_COLOUR[phase], alpha=0.15, lw=0)
        axis.plot(at / view.rate, values[at], color=PHASE_COLOUR[phase], lw=1.0)
        if threshold := view.thresholds.get(candidate, {}).get(phase):
            axis.axhline(threshold, color=PHASE_COLOUR[phase], lw=0.7, ls=":")
    for place, phase in view.placed(view.picks.get(candidate, ())):
        axis.plot([place, place], [0, 1.12], color=PHASE_COLOUR[phase], lw=1.4)
        axis.plot(place, 1.12, marker="v", color=PHASE_COLOUR[phase], ms=6, clip_on=False)
    axis.set_ylim(0, 1.18)
    axis.set_yticks([0, 0.5, 1])
    axis.text(
        0.005,
        0.93,
        candidate,
        transform=axis.transAxes,
        va="top",
        fontweight="bold",
        bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1},
    )


def _name_arrivals(axis: Axes, view: WindowView) -> None:
    """A letter above each arrival, unless it would run into the one before."""
    room = 0.015 * view.waveform.shape[1] / view.rate
    last = -room
    for place, phase in view.placed(view.arrivals):
        if place - last > room:
            axis.text(
                place,
                1.02,
                phase,
                transform=axis.get_xaxis_transform(),
                ha="center",
                va="bottom",
                color=PHASE_COLOUR[phase],
                fontweight="bold",
            )
            last = place


def _draw_legend(part: SubFigure, windows: Sequence[WindowView], ncols: int) -> None:
    handles: list[Artist] = []
    for phase in PHASES:
        colour = PHASE_COLOUR[phase]
        handles += [
            Line2D([], [], color=colour, lw=1.0, ls=(0, (4, 3)), label=f"{phase} arrival (truth)"),
            Line2D([], [], color=colour, lw=1.4, marker="v", ms=6, label=f"{phase} pick"),
            Line2D([], [], color=colour, lw=5, alpha=0.35, label=f"{phase} probability"),
        ]
    if any(view.thresholds for view in windows):
        handles.append(Line2D([], [], color=TRACE_COLOUR, lw=0.9, ls=":", label="threshold"))
    if any(np.isnan(view.waveform).any() for view in windows):
        handles.append(Patch(color=GAP_COLOUR, label="no data"))
    part.legend(handles=handles, loc="center", ncols=ncols, columnspacing=1.2, handlelength=1.6)
