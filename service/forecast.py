"""What a campaign would take, before any of it is spent: figures, and tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table

from catalog.store import StoreError
from service.campaign import Campaign
from service.findings import Tally
from service.plan import CPU_SECONDS, Plan

WORST = 10
"""Stations of the lowest hit rates that are listed."""

SHOWN = 8
"""Names of a list that a terminal is shown; --json has all."""

LISTS = (
    *("unmatched", "phantom_stations", "phantoms", "unknown_stations", "unknown", "unreadable"),
    *("stations_outside_epochs", "supersedes"),
)

UNKNOWN = "whether it takes the place of an earlier plan: the catalogue could not be looked into"
SUPERSEDES = (
    "the plan is another than when this campaign was run: it would take the place of the earlier "
    "one. What that has picked is kept; where this one picks another band or location of a "
    "station-day, the former is seen in the view `superseded` alone"
)


def forecast(
    campaign: Campaign, plan: Plan, displaced: Sequence[str] | StoreError
) -> dict[str, Any]:
    """Counts, sizes, time and cost of a plan, as JSON has them.

    displaced: runs of the campaign whose place this plan would take, or why nobody knows.
    """
    found, compute = plan.findings, campaign.compute
    if isinstance(displaced, StoreError):
        note, displaced = f"{UNKNOWN} ({displaced.strerror})", []
    else:
        note = SUPERSEDES if displaced else ""
    many = len(campaign.candidate)
    hours = plan.held * many * CPU_SECONDS / compute.workers / 3600
    price = compute.price_per_hour
    planned = {f"{trace.network}.{trace.station}" for trace in plan.traces}
    return {
        "campaign": campaign.name,
        "stations": len(planned),
        "traces": len(plan.traces),
        "candidates": many,
        "station_days": plan.station_days,
        "station_days_held": plan.held,
        "hit_rate": round(plan.held / plan.station_days, 4),
        "bytes": plan.bytes,
        "shards": plan.shard_count,
        "estimated_hours_on_cpus": round(hours, 3),
        "estimated_cost": None if price is None else round(hours * price, 2),
        "estimate": f"{plan.held:,} held station-days x {many} candidate(s) x {CPU_SECONDS} CPU s "
        f"(measured, engine fast, one core) / {compute.workers} worker(s)"
        + ("" if price is None else f"; {price:g} an hour"),
        "held_outside_epochs": found.outside_epochs.total(),
        "held_not_chosen": found.not_chosen,
        "networks": _rates(found.networks),
        "choices": _rates(found.choices),
        "worst_stations": _rates(dict(found.worst(WORST))),
        "unmatched": list(plan.unmatched),
        "phantom_stations": list(found.phantom_stations),
        "phantoms": [str(trace) for trace in found.phantoms],
        "unknown_stations": list(found.unknown_stations),
        "unknown": [str(trace) for trace in found.unknown],
        "stations_outside_epochs": dict(found.outside_epochs.most_common()),
        "unreadable": dict(found.unreadable),
        "supersedes": list(displaced),
        "notes": [*found.notes, *([note] if note else [])],
    }


def _rates(tallies: Mapping[str, Tally]) -> dict[str, dict[str, Any]]:
    return {
        name: {"planned": each.planned, "held": each.held, "hit_rate": round(each.hit_rate, 4)}
        for name, each in tallies.items()
    }


def show_forecast(facts: Mapping[str, Any], out: Console) -> None:
    """Tables for a terminal."""
    table = Table(title=f"plan of {facts['campaign']}", show_header=False, title_justify="left")
    for name, value in facts.items():
        if isinstance(value, dict | list) or value in ("", None) or name == "campaign":
            continue
        shown = f"{value:,}" if isinstance(value, int) else str(value)
        table.add_row(name.replace("_", " "), f"{value:.1%}" if name == "hit_rate" else shown)
    for name in LISTS:
        if facts[name]:
            table.add_row(name.replace("_", " "), _some(facts[name]))
    parts: list[RenderableType] = [table]
    for name, title in (
        ("networks", "network"),
        ("choices", "location.band"),
        ("worst_stations", "station, lowest hit rates"),
    ):
        if facts[name]:
            rates = Table(title, "planned", "held", "hit rate")
            for code, each in facts[name].items():
                counts = (f"{each[count]:,}" for count in ("planned", "held"))
                rates.add_row(code, *counts, f"{each['hit_rate']:.1%}")
            parts.append(rates)
    out.print(Group(*parts, *facts["notes"]))


def _some(names: Any) -> str:
    """The first few of a list, and how many it has."""
    shown = [f"{key}: {names[key]}" if isinstance(names, dict) else key for key in [*names][:SHOWN]]
    more = len(names) - len(shown)
    return f"{len(names):,}: " + ", ".join(shown) + (f" and {more:,} more" if more else "")
