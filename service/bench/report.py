"""What `tidepick bench` prints, no wider than 80 columns as a rule."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from service.bench.parity import SAME_PICK_S
from service.bench.speed import BREAK_EVEN
from service.bench.stages import STAGES

GOAL = 25.0
"""Times QuakeScope's break-even."""

STYLE: dict[str, Any] = {
    "title_justify": "left",
    "caption_justify": "left",
    "box": box.SIMPLE_HEAD,
    "padding": (0, 1, 0, 0),
    "pad_edge": False,
}
HEADINGS = (
    *("", "station-\ndays/h", "x Seis-\nBench", "$ a sta-\ntion-day", "x break-\neven"),
    *("start\n(s)", "GB a\nworker", "GB of\nGPU"),
)

DP = ("dp_median", "dp_99", "dp_max")


def bench_tables(facts: Mapping[str, Any]) -> Group:
    """Rates and memory; below them the stages."""
    where = facts["gpu"] or f"{facts['workers']} CPU cores"
    rates = Table(
        title=f"{facts['station_days']} station-days on {where}, engine {facts['engine']}",
        caption=f"Ours: {facts['workers']} warm workers, commits included; data are in the page "
        "cache.\nSeisBench: `classify` in one process, by batch size.\n"
        f"Break-even: QuakeScope's, {BREAK_EVEN:,.0f} station-days an hour for each $ an hour; "
        f"the goal is {GOAL:g}\ntimes that.",
        **STYLE,
    )
    best = max(peer["station_days_per_hour"] for peer in facts["seisbench"].values())
    rows = [_rate_cells(kind, run, best) for kind, run in facts["archives"].items()]
    for batch, peer in facts["seisbench"].items():
        rows.append(_rate_cells(f"SeisBench, {batch}", peer, best))
    told = [k for k in range(len(HEADINGS)) if any(row[k] for row in rows)]
    for k in told:
        rates.add_column(HEADINGS[k], justify="right" if k else "left", no_wrap=True)
    for row in rows:
        rates.add_row(*(row[k] for k in told))
    stages = Table(title="one process, stage by stage: s a station-day", **STYLE)
    stages.add_column("")
    for kind in facts["archives"]:
        stages.add_column(kind, justify="right")
        stages.add_column("%", justify="right")
    for name in STAGES:
        parts = [run["stages"][name] for run in facts["archives"].values()]
        cells = [(f"{p['seconds']:.4f}", f"{100 * p['share']:.1f}") for p in parts]
        stages.add_row(name, *(cell for pair in cells for cell in pair))
    return Group(rates, stages)


def _rate_cells(name: str, facts: Mapping[str, Any], best: float) -> list[str]:
    """One for each of HEADINGS; empty where there is nothing to tell."""

    def cell(fact: str, style: str) -> str:
        return "" if facts.get(fact) is None else format(facts[fact], style)

    return [
        name,
        cell("station_days_per_hour", ",.0f"),
        f"{facts['station_days_per_hour'] / best:.2f}",
        cell("dollars_per_station_day", ".2g"),
        cell("times_break_even", ".3g"),
        cell("start_seconds", ".1f"),
        cell("worker_memory_gb", ".2f"),
        cell("gpu_memory_gb", ".1f"),
    ]


def parity_table(facts: Mapping[str, Any]) -> Table:
    """A row for each candidate, phase and threshold."""
    table = Table(
        title=f"{facts['engine']} against {facts['against']} on {facts['device']}: "
        f"{facts['station_days']} station-days of {facts['archive']}",
        caption=f"A pick within {SAME_PICK_S:g} s is the same pick. ±: picks that moved, by how "
        "many samples.\n|dp|: difference of probability of the picks that both have.",
        **STYLE,
    )
    table.add_column("candidate\nand threshold", overflow="fold")
    for heading in ("picks", "gained", "lost", "±1", "±2-5", "±6+", "|dp|\n50 %", "99 %", "max"):
        table.add_column(heading, justify="right", no_wrap=True)
    previous = None
    for row in facts["rows"]:
        if row["candidate"] != previous:
            table.add_row(Text(row["candidate"], style="bold"))
        previous = row["candidate"]
        level = f"{row['level']:g}"
        named = "" if row["threshold"] == level else f" ({row['threshold']})"
        table.add_row(
            f"  {row['phase']} {level}{named}",
            *(f"{row[name]:,}" for name in ("picks_against", "gained", "lost")),
            *(f"{moved:,}" for moved in _moved(row["shifts"])),
            *("" if row[name] is None else f"{row[name]:.1g}" for name in DP),
        )
    return table


def _moved(shifts: Mapping[str, int]) -> list[int]:
    """Picks that moved by one sample, by two to five, by more."""
    sizes = [(abs(int(shift)), count) for shift, count in shifts.items()]
    return [
        sum(count for size, count in sizes if low <= size <= high)
        for low, high in ((1, 1), (2, 5), (6, math.inf))
    ]
