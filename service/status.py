"""What a catalogue covers of what was planned."""

from __future__ import annotations

import json
from collections import defaultdict
from datetime import date, timedelta
from itertools import repeat
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from catalog.query import Coverage
from service.run import LOST
from workers.epochs import joined

REASONS = 10
"""The most frequent reasons that are shown."""


def read_status(url: str) -> dict[str, Any]:
    """Outcomes by candidate, what is planned and not yet committed, and why things failed."""
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
    reasons = catalog.sql(
        "SELECT candidate, outcome, detail, count(*) AS station_days FROM coverage "
        "WHERE outcome <> 'picked' GROUP BY ALL "
        f"ORDER BY station_days DESC, candidate, outcome, detail LIMIT {REASONS}"
    )
    return {
        "catalog": catalog.store.url,
        "candidates": {
            name: {"picks": picks[name], "outcomes": counts} for name, counts in outcomes.items()
        },
        "left": _left(catalog),
        "lost": sum(counts.get(outcome, 0) for counts in outcomes.values() for outcome in LOST),
        "reasons": reasons.to_pylist(),
        "runs": [
            {key: str(row[key]) for key in ("run", "started", "ended", "state", "engine")}
            for row in catalog.sql("SELECT * FROM runs ORDER BY started").to_pylist()
        ],
    }


def _left(catalog: Coverage) -> int:
    """Station-days x candidates that are planned, by any run, and have no outcome."""
    planned = _planned(catalog)
    catalog.connection.register("_planned", planned)
    counted = catalog.connection.sql(
        "SELECT count(*) FROM coverage JOIN _planned "
        "USING (candidate, network, station, location, band) WHERE day >= first AND day < stop"
    )
    (covered,) = counted.fetchall()[0]
    wanted = catalog.connection.sql("SELECT coalesce(sum(stop - first), 0) FROM _planned")
    return int(wanted.fetchall()[0][0]) - int(covered)


def _planned(catalog: Coverage) -> pa.Table:
    """Days [first, stop) that are planned, by candidate and trace; no day stands twice."""
    spans: dict[tuple[str, str], list[tuple[date, date]]] = defaultdict(list)
    for entry in catalog.store.list("runs/"):
        if entry.key.endswith("/plan.json"):
            plan = json.loads(catalog.store.fetch(entry.key)[0])
            start, end = (date.fromisoformat(plan[name]) for name in ("start", "end"))
            every = [0, (end - start).days]
            for candidate in plan["candidates"]:
                days = plan.get("days", repeat(every))
                for trace, bounds in zip(plan["traces"], days, strict=False):
                    spans[candidate["name"], trace] += [
                        (start + timedelta(days=first), start + timedelta(days=stop))
                        for first, stop in zip(bounds[::2], bounds[1::2], strict=True)
                    ]
    rows = [
        (name, *trace.split("."), first, stop)
        for (name, trace), found in spans.items()
        for first, stop in joined(found)
    ]
    names = ("candidate", "network", "station", "location", "band", "first", "stop")
    types = [pa.string()] * 5 + [pa.date32()] * 2
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    return pa.table(
        {
            name: pa.array(column, kind)
            for name, column, kind in zip(names, columns, types, strict=True)
        }
    )


def show_status(status: dict[str, Any], out: Console) -> None:
    """Tables for a terminal."""
    table = Table("candidate", "outcome", "station-days", "picks", title=status["catalog"])
    for name, facts in status["candidates"].items():
        for outcome, count in sorted(facts["outcomes"].items()):
            picks = f"{facts['picks']:,}" if outcome == "picked" else ""
            table.add_row(name, outcome, f"{count:,}", picks)
    out.print(table)
    if status["left"]:
        out.print(f"{status['left']:,} planned station-days are not committed yet: run again")
    if status["lost"]:
        out.print(
            f"{status['lost']:,} station-days failed or were refused: "
            "`tidepick run CAMPAIGN --retry failed,access_denied` tries them again"
        )
    if status["reasons"]:
        table = Table("station-days", "candidate", "outcome", "why")
        for reason in status["reasons"]:
            table.add_row(
                f"{reason['station_days']:,}",
                reason["candidate"],
                reason["outcome"],
                reason["detail"] or "the archive holds nothing for it",
            )
        out.print(table)
    table = Table("started", "ended", "state", "engine", "run")
    for row in status["runs"]:
        times = (row[key][:19] for key in ("started", "ended"))
        table.add_row(*times, row["state"], row["engine"], row["run"][:12])
    out.print(table)
