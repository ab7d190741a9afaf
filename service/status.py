"""What a catalogue covers of what was planned, how fast, at what cost, and why not all."""

from __future__ import annotations

import json
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

import pyarrow as pa

from catalog.plans import read_plans, spans
from catalog.query import Coverage
from catalog.runs import lacking
from service.reasons import NAMES
from service.run import LOST
from workers.epochs import joined

REASONS = 10
"""The most frequent reasons that are shown."""

Row = dict[str, Any]


def read_status(url: str) -> Row:
    """Outcomes by candidate, every run, what is left, and why things failed.

    Counts are of station-days x candidates, rates of those an hour, costs in $. What is left and
    lost is counted over plans that no later one supersedes; gave_way: what stands aside for it;
    unlooked: objects that told nothing when these were planned.
    Raises CatalogError where there is no catalogue.
    """
    catalog = Coverage(url)
    outcomes: dict[str, dict[str, int]] = defaultdict(dict)
    picks: dict[str, int] = defaultdict(int)
    counted = catalog.sql(
        "SELECT candidate, outcome, count(*) AS station_days, sum(picks)::BIGINT AS picks "
        "FROM coverage GROUP BY ALL ORDER BY ALL"
    )
    for row in counted.to_pylist():
        outcomes[row["candidate"]][row["outcome"]] = row["station_days"]
        picks[row["candidate"]] += row["picks"]
    plans = read_plans(catalog.store)
    standing = {run: plan for run, plan in plans.items() if run not in catalog.superseded}
    found, left = _of_standing_plans(catalog, standing)
    (gave_way,) = catalog.sql("SELECT count(*) AS n FROM superseded")["n"].to_pylist()
    runs = _runs(catalog, plans)
    return {
        "catalog": catalog.store.url,
        "candidates": {
            name: {"picks": picks[name], "outcomes": counts} for name, counts in outcomes.items()
        },
        "left": left,
        "lost": sum(found.get(outcome, 0) for outcome in LOST),
        "unlooked": sum(run["unlooked"] for run in runs if not run["superseded_by"]),
        "gave_way": gave_way,
        "reasons": _reasons(catalog),
        "runs": runs,
    }


def _reasons(catalog: Coverage) -> list[Row]:
    """Why station-days were not picked; reasons that differ in names and numbers are one.

    detail: the first of its kind; kinds: how many there are; station_day: one that had it.
    """
    lost = ", ".join(f"'{outcome}'" for outcome in LOST)
    name = "concat_ws('.', network, station, location, band) || ' ' || day"
    rows: list[Row] = catalog.sql(
        "SELECT candidate, outcome, min(detail) AS detail, count(DISTINCT detail) AS kinds, "
        f"count(*) AS station_days, min_by({name}, detail || {name}) AS station_day FROM coverage "
        f"WHERE outcome <> 'picked' GROUP BY candidate, outcome, regexp_replace(detail, "
        f"'{NAMES.replace(chr(39), chr(39) * 2)}', '#', 'g') "
        f"ORDER BY outcome IN ({lost}) DESC, station_days DESC, candidate, outcome, detail "
        f"LIMIT {REASONS}"
    ).to_pylist()
    return rows


def _runs(catalog: Coverage, plans: Mapping[str, Row]) -> list[Row]:
    """One row per run, all its invocations together, in the order of their beginnings."""
    invocations: dict[str, list[Row]] = {run: [] for run in plans}
    rows = catalog.sql("SELECT * FROM runs ORDER BY started").to_pylist()
    for row in rows:
        invocations.setdefault(row["run"], []).append(row)
    held = _outcomes_of_plans(catalog, plans)
    by = catalog.superseded
    runs = [
        run_row(run, plan, held[run], invocations[run], lacking(rows, run, by), by.get(run))
        for run, plan in plans.items()
    ]
    return sorted(runs, key=lambda run: run["started"] or "9")


def run_row(
    run: str,
    plan: Row,
    outcomes: Mapping[str, int],
    invocations: Sequence[Row],
    told_nothing: Row,
    superseded_by: str | None = None,
) -> Row:
    """A run as it stands. outcomes: of its plan, whichever run brought them; invocations: its own,
    oldest first, as in the view `runs`; told_nothing: that of `lacking`; superseded_by: the run of
    a later plan."""
    last: Row = invocations[-1] if invocations else {}
    going = [row for row in invocations if row["state"] == "running"]
    campaign = json.loads(last.get("campaign", "{}"))
    compute = campaign.get("compute", {})
    price = compute.get("price_per_hour")
    planned = _cells(plan)
    left = planned - sum(outcomes.values())
    lost = {name: outcomes[name] for name in LOST if outcomes.get(name)}
    done = sum(row["done"] for row in invocations)
    hours = sum(row["seconds"] for row in invocations) / 3600
    costs = [row["cost"] for row in invocations if row["cost"] is not None]
    cost = sum(costs) if costs else None
    rate = done / hours if done and hours else None
    rate_now = sum(row["rate"] or 0.0 for row in going) if going else None
    pace = rate_now or rate
    hours_left = left / pace if pace else None
    state = "running" if going else last.get("state", "not begun")
    unlooked = told_nothing.get("unlooked", 0)
    if invocations and not going and not left and not lost and not unlooked:
        state = "complete"  # one that died after its last commit, too
    elif superseded_by and not going:
        state = "superseded"
    file = shlex.quote(last.get("file") or "") if last.get("file") else "CAMPAIGN"
    return {
        "run": run,
        "name": campaign.get("name", ""),
        "file": last.get("file", ""),
        "state": state,
        "reason": last.get("reason") or "",
        "superseded_by": superseded_by,
        "unlooked": unlooked,
        "unlooked_objects": json.loads(told_nothing.get("unlooked_objects", "{}")),
        "engine": last.get("engine", ""),
        "candidates": len(plan["candidates"]),
        "started": _iso(invocations[0]["started"]) if invocations else None,
        "news": _iso(max(row["news"] for row in invocations)) if invocations else None,
        "invocations": len(invocations),
        "planned": planned,
        "done": planned - left,
        "left": left,
        "outcomes": dict(outcomes),
        "lost": lost,
        "done_by_this_run": done,
        "hours": hours,
        "rate_now": rate_now,
        "rate": rate,
        "hours_left": hours_left,
        "price_per_hour": price,
        "cost": cost,
        "cost_each": cost / done if cost is not None and done else None,
        "cost_left": hours_left * price if hours_left is not None and price is not None else None,
        "max_hours": compute.get("max_hours"),
        "max_cost": compute.get("max_cost"),
        "resume": f"tidepick run {file}"
        if (left or unlooked) and not going and not superseded_by
        else None,
        "retry": f"tidepick run {file} --retry {','.join(lost)}"
        if lost and not superseded_by
        else None,
    }


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="seconds")


def _cells(plan: Row) -> int:
    days = sum((stop - first).days for _, first, stop in spans(plan))
    return len(plan["candidates"]) * days


def _outcomes_of_plans(catalog: Coverage, plans: Mapping[str, Row]) -> dict[str, dict[str, int]]:
    """Outcomes of the station-days of each plan, whichever run brought them."""
    found_in = [
        (run, candidate["name"], *span)
        for run, plan in plans.items()
        for candidate in plan["candidates"]
        for span in spans(plan)
    ]
    catalog.connection.register("_plans", _table(found_in, plan=pa.string()))
    found: dict[str, dict[str, int]] = {run: {} for run in plans}
    counted = catalog.connection.sql(
        "SELECT plan, outcome, count(*) FROM coverage JOIN _plans "
        "USING (candidate, network, station, location, band) WHERE day >= first AND day < stop "
        "GROUP BY ALL ORDER BY ALL"
    )
    for run, outcome, count in counted.fetchall():
        found[run][outcome] = count
    return found


def _of_standing_plans(catalog: Coverage, plans: Mapping[str, Row]) -> tuple[dict[str, int], int]:
    """Outcomes of what is planned, by any of these; and how much of it has none."""
    catalog.connection.register("_planned", _planned(plans))
    counted = catalog.connection.sql(
        "SELECT outcome, count(*) FROM coverage JOIN _planned "
        "USING (candidate, network, station, location, band) WHERE day >= first AND day < stop "
        "GROUP BY ALL"
    )
    found = dict(counted.fetchall())
    wanted = catalog.connection.sql("SELECT coalesce(sum(stop - first), 0) FROM _planned")
    return found, int(wanted.fetchall()[0][0]) - sum(found.values())


def _planned(plans: Mapping[str, Row]) -> pa.Table:
    """Days [first, stop) that are planned, by candidate and trace; no day stands twice."""
    days: dict[tuple[str, str], list[tuple[date, date]]] = defaultdict(list)
    for plan in plans.values():
        for candidate in plan["candidates"]:
            for trace, first, stop in spans(plan):
                days[candidate["name"], trace].append((first, stop))
    return _table([(*who, *span) for who, found in days.items() for span in joined(found)])


def _table(spans: Sequence[tuple[Any, ...]], **more: pa.DataType) -> pa.Table:
    """Spans (..., candidate, trace, first, stop) as a table, the trace in its four codes."""
    codes = dict.fromkeys(("candidate", "network", "station", "location", "band"), pa.string())
    schema = pa.schema({**more, **codes, "first": pa.date32(), "stop": pa.date32()})
    rows = [(*who, *trace.split("."), first, stop) for *who, trace, first, stop in spans]
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([pa.array(c, f.type) for c, f in zip(columns, schema, strict=True)], schema)
