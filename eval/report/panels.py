"""The kinds of figures that the page draws: lines, dots with intervals, histograms, reliability.

A value that is undefined is written so where its dot would stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from eval.report.svg import FAINT, INK, THEME, colour, inline, line_style, new_figure

WIDTH_IN, HEIGHT_IN = 4.3, 3.0


@dataclass(frozen=True, slots=True)
class Line:
    """Points of one candidate. low, high: its interval at each x; None where there is none.
    judged: the points at the threshold that it is judged at."""

    rank: int
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    judged: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, slots=True)
class Dot:
    """A value and its interval; None is undefined."""

    rank: int
    value: float | None
    low: float | None
    high: float | None


def lines(
    series: Sequence[Line],
    alt: str,
    x_label: str,
    y_label: str,
    *,
    least: float | None = None,
    unit_y: bool = True,
) -> Markup:
    """Lines with their intervals as bars.

    least: of an axis of rates from 0 on (x, or y where `unit_y` is False), the value up to which
    it is linear; above it is logarithmic.
    """
    with matplotlib.rc_context(THEME):
        figure = new_figure(WIDTH_IN, HEIGHT_IN)
        axis = _axis(figure)
        for each in series:
            style = line_style(each.rank)
            axis.plot(each.x, each.y, clip_on=False, **style)
            known = [
                (x, low, high)
                for x, low, high in zip(each.x, each.low, each.high, strict=False)
                if low is not None and high is not None
            ]
            for x, low, high in known:
                axis.plot([x, x], [low, high], color=style["color"], lw=0.9, alpha=0.7)
            for x, y in each.judged:
                axis.plot(x, y, "o", ms=10, mfc="none", mec=style["color"], mew=1.3, clip_on=False)
        if unit_y:
            axis.set_ylim(-0.02, 1.02)
        if least is not None:
            scale = axis.set_xscale if unit_y else axis.set_yscale
            scale("symlog", linthresh=least, linscale=0.5)
            if unit_y:
                axis.set_xlim(-0.1 * least, None)
            else:  # of few stations intervals reach to the sky: they run out of the frame
                highest = max((y for each in series for y in each.y), default=0.0)
                axis.set_ylim(-0.1 * least, 10 * max(highest, least))
            along = axis.xaxis if unit_y else axis.yaxis
            along.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        return inline(figure, alt)


def dots(
    bins: Mapping[str, Sequence[Dot]],
    alt: str,
    label: str,
    *,
    limits: tuple[float, float] | None = None,
    reference: float | None = None,
) -> Markup:
    """Bins one under another, in each the candidates' dots with their intervals.

    limits: of the axis; else from 0 to the highest end. reference: a line to compare with.
    """
    most = max(len(each) for each in bins.values())
    step = 0.8 / most
    with matplotlib.rc_context(THEME):
        figure = new_figure(WIDTH_IN, 0.55 + len(bins) * max(0.34, 0.13 * most))
        axis = _axis(figure, "x")
        ends = [
            end
            for each in bins.values()
            for dot in each
            for end in (dot.value, dot.high)
            if end is not None
        ]
        low, high = limits or (0.0, 1.05 * max(ends, default=1.0) or 1.0)
        for place, each in enumerate(bins.values()):
            for k, dot in enumerate(each):
                y = place + (k - (len(each) - 1) / 2) * step
                style = line_style(dot.rank)
                if dot.value is None:
                    axis.text(
                        low, y, " undefined", va="center", color=FAINT, fontsize=7, style="italic"
                    )
                    continue
                if dot.low is not None and dot.high is not None:
                    axis.plot([dot.low, dot.high], [y, y], color=style["color"], lw=1.3)
                axis.plot(
                    dot.value, y, style["marker"], color=style["color"], ms=4.5, clip_on=False
                )
            if place:
                axis.axhline(place - 0.5, color=FAINT, lw=0.4)
        if reference is not None:
            axis.axvline(reference, color=FAINT, lw=0.8, ls="--")
        axis.set_xlim(low, high)
        axis.set_ylim(len(bins) - 0.5, -0.5)
        axis.set_yticks(range(len(bins)), list(bins))
        axis.locator_params(axis="x", nbins=6)
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.set_xlabel(label)
        return inline(figure, alt)


def histogram(
    edges: Sequence[float], shares: Mapping[int, Sequence[float]], alt: str, x_label: str
) -> Markup:
    """Steps over common bins. shares: rank of the candidate -> share of its picks [bins]."""
    with matplotlib.rc_context(THEME):
        figure = new_figure(WIDTH_IN, 2.5)
        axis = _axis(figure)
        for rank, heights in shares.items():
            style = line_style(rank)
            axis.stairs(heights, list(edges), color=style["color"], ls=style["ls"], lw=1.3)
        axis.axvline(0, color=FAINT, lw=0.6)
        axis.set_xlim(edges[0], edges[-1])
        axis.set_ylim(0, None)
        axis.set_xlabel(x_label)
        axis.set_ylabel("share of picks")
        return inline(figure, alt)


def diagonal(series: Sequence[Line], alt: str, x_label: str, y_label: str) -> Markup:
    """Shares against probabilities; on the dashed line they agree."""
    with matplotlib.rc_context(THEME):
        figure = new_figure(WIDTH_IN, 3.6)
        axis = _axis(figure)
        axis.plot([0, 1], [0, 1], color=INK, lw=0.7, ls=(0, (2, 3)))
        for each in series:
            style = line_style(each.rank)
            axis.plot(each.x, each.y, clip_on=False, **style)
            for x, low, high in zip(each.x, each.low, each.high, strict=True):
                if low is not None and high is not None:
                    axis.plot([x, x], [low, high], color=colour(each.rank), lw=0.9, alpha=0.7)
        axis.set_xlim(-0.02, 1.02)
        axis.set_ylim(-0.02, 1.02)
        axis.set_xticks(np.linspace(0, 1, 6))
        axis.set_yticks(np.linspace(0, 1, 6))
        axis.set_aspect("equal")
        axis.set_xlabel(x_label)
        axis.set_ylabel(y_label)
        return inline(figure, alt)


def _axis(figure: Figure, grid: str = "both") -> Axes:
    axis = figure.add_subplot()
    axis.grid(axis=grid)  # type: ignore[arg-type]
    axis.set_axisbelow(True)
    return axis
