"""`tidepick status` as a terminal shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from catalog.schema import utc_now
from service.run import LOST
from service.terminal import duration, money

RUNS = 10
"""The latest runs that are shown."""

COLOURS = {
    "complete": "green",
    "running": "cyan",
    "incomplete": "yellow",
    "stopped": "yellow",
    "superseded": "dim",
}


def watch_status(
    read: Callable[[], dict[str, Any]], every_s: float, out: Console
) -> dict[str, Any]:
    """Show what `read` gives, again and again while any run is running; returns the last of it."""
    with Live(console=out, auto_refresh=False) as live:
        while True:
            status = read()
            live.update(status_screen(status), refresh=True)
            if all(run["state"] != "running" for run in status["runs"]):
                return status
            time.sleep(every_s)


def status_screen(status: dict[str, Any]) -> Group:
    """Runs, then outcomes by candidate, then why station-days were not picked."""
    parts: list[RenderableType] = [Text(status["catalog"], style="bold")]
    earlier = len(status["runs"]) - RUNS
    if earlier > 0:
        parts += [Text(f"{earlier:,} earlier runs: see --json", style="dim")]
    for run in status["runs"][-RUNS:]:
        parts += [Text(), _run(run)]
    parts += [Text(), _outcomes(status["candidates"])]
    if status["gave_way"]:
        parts.append(
            Text(
                f"{status['gave_way']:,} more gave way to the bands of a later plan: they are "
                "kept, in the view superseded, and neither they nor their picks are counted",
                style="dim",
            )
        )
    if status["reasons"]:
        parts += [Text(), _reasons(status["reasons"])]
    return Group(*parts)


def _run(run: dict[str, Any]) -> Group:
    state = run["state"]
    title = Text.assemble(
        (run["name"] or "a campaign", "bold"), "  ", (state, f"bold {COLOURS.get(state, 'red')}")
    )
    if run["started"]:
        title.append(f"  {run['engine']}, begun {run['started'][:16].replace('T', ' ')} UTC")
    if run["state"] in ("running", "died"):
        title.append(f", news {_ago(run['news'])}")
    title.append(f"  {run['run'][:12]}", style="dim")
    unit = "station-days" if run["candidates"] == 1 else f"station-days x {run['candidates']}"
    share = run["done"] / run["planned"] if run["planned"] else 1.0
    bar = Table.grid(expand=True, padding=(0, 2, 0, 0))
    bar.add_column(ratio=1)
    bar.add_column(justify="right", no_wrap=True)
    bar.add_row(
        ProgressBar(total=max(run["planned"], 1), completed=run["done"]),
        f"{_percent(share)}  {run['done']:,} of {run['planned']:,} {unit}",
    )
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for name, text in _facts(run):
        facts.add_row(name, text)
    return Group(title, bar, facts, *map(_command, _commands(run)))


def _facts(run: dict[str, Any]) -> list[tuple[str, str]]:
    """What there is to say of a run: a word, and a line."""
    rates = [(run["rate_now"], "now"), (run["rate"], "on average")]
    times = [f"{duration(run['hours'])} so far"]
    if run["left"] and run["hours_left"] is not None:
        times.append(f"{duration(run['hours_left'])} left")
    costs = []
    if run["cost"] is not None:
        costs.append(f"{money(run['cost'])} so far")
        if run["cost_each"] is not None:
            each = "a station-day" if run["candidates"] == 1 else "a station-day and candidate"
            costs.append(f"{money(run['cost_each'])} {each}")
        if run["left"] and run["cost_left"] is not None:
            costs.append(f"{money(run['cost_left'])} left")
    if run["max_hours"] is not None:
        times.append(f"stops at {run['max_hours']:g} h")
    if run["max_cost"] is not None:
        costs.append(f"stops at {money(run['max_cost'])}")
    lines = [
        ("why", _why(run)),
        ("rate", ", ".join(f"{rate:,.0f}/h {when}" for rate, when in rates if rate is not None)),
        ("time", ", ".join(times) if run["invocations"] else ""),
        ("cost", ", ".join(costs)),
        ("unlooked", _unlooked(run)),
        ("lost", ", ".join(f"{count:,} {outcome}" for outcome, count in run["lost"].items())),
    ]
    return [(name, text) for name, text in lines if text]


def _why(run: dict[str, Any]) -> str:
    if run["state"] == "superseded":
        return f"a later plan of this campaign took its place: {run['superseded_by'][:12]}"
    return str(run["reason"]) if run["state"] != "complete" else ""


def _unlooked(run: dict[str, Any]) -> str:
    if not run["unlooked"]:
        return ""
    name = min(run["unlooked_objects"])
    return f"{run['unlooked']:,} objects told nothing, such as {name}; the others: --json"


def _commands(run: dict[str, Any]) -> list[tuple[str, str]]:
    """What to do about a run: the command, and what for."""
    left = f"picks the {run['left']:,} that are left" if run["left"] else "picks what is mended"
    asked = [(run["resume"], left)]
    asked += [(run["retry"], f"tries the {sum(run['lost'].values()):,} lost again")]
    return [(command, what) for command, what in asked if command]


def _command(asked: tuple[str, str]) -> Text:
    command, what = asked
    return Text.assemble(f"{what}:  ", (command, "bold"), no_wrap=True, overflow="ignore")


def _outcomes(candidates: dict[str, Any]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, header_style="bold", show_edge=False, pad_edge=False)
    for name in ("candidate", "outcome"):
        table.add_column(name, overflow="fold")
    for name in ("station-days", "picks"):
        table.add_column(name, justify="right")
    for name, facts in candidates.items():
        for outcome, count in sorted(facts["outcomes"].items()):
            picks = f"{facts['picks']:,}" if outcome == "picked" else ""
            table.add_row(name, outcome, f"{count:,}", picks)
    return table


def _reasons(reasons: list[dict[str, Any]]) -> Table:
    """How many, of what, one of them; and below that why, which may be long."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold")
    for reason in reasons:
        outcome = Text(reason["outcome"], "red" if reason["outcome"] in LOST else "bold")
        head = Text.assemble(outcome, f"  {reason['candidate']}  such as {reason['station_day']}")
        why = reason["detail"] or "the archive holds nothing for it"
        if reason["kinds"] > 1:
            why += f" (and {reason['kinds'] - 1:,} like it)"
        table.add_row(f"{reason['station_days']:,}", Group(head, Text(why, "dim")))
    return table


def _percent(share: float) -> str:
    """Never 100 % before the end."""
    return f"{int(share * 1000) / 10:g} %"


def _ago(news: str) -> str:
    since = datetime.fromisoformat(utc_now()) - datetime.fromisoformat(news)
    return f"{duration(max(0.0, since.total_seconds()) / 3600)} ago"
