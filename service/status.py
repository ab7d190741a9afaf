"""What a catalogue covers of what was planned."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from datetime import date
from typing import Any

from rich.console import Console
from rich.table import Table

from catalog.query import Catalog
from catalog.schema import Shard, TraceId
from service.run import LOST

REASONS = 10
"""The most frequent reasons that are shown."""


def read_status(url: str) -> dict[str, Any]:
    """Outcomes by candidate, what is planned and not yet committed, and why things failed."""
    catalog = Catalog(url)
    outcomes: dict[str, Counter[str]] = defaultdict(Counter)
    reasons: Counter[tuple[str, str, str]] = Counter()
    covered = set()
    for row in catalog.sql("SELECT * FROM coverage").to_pylist():
        outcomes[row["candidate"]][row["outcome"]] += 1
        trace = (row["network"], row["station"], row["location"], row["band"])
        covered.add((row["candidate"], trace, row["day"]))
        if row["outcome"] != "picked":
            reasons[row["candidate"], row["outcome"], row["detail"]] += 1
    counted = catalog.connection.sql("SELECT candidate, count(*) FROM picks GROUP BY 1")
    picks = dict(counted.fetchall())
    left = _planned(catalog) - covered
    return {
        "catalog": catalog.store.url,
        "candidates": {
            name: {"picks": picks.get(name, 0), "outcomes": dict(counts)}
            for name, counts in sorted(outcomes.items())
        },
        "left": len(left),
        "lost": sum(counts[outcome] for counts in outcomes.values() for outcome in LOST),
        "reasons": [
            {"candidate": name, "outcome": outcome, "detail": detail, "station_days": count}
            for (name, outcome, detail), count in reasons.most_common(REASONS)
        ],
        "runs": [
            {key: str(row[key]) for key in ("run", "started", "ended", "state", "engine")}
            for row in catalog.sql("SELECT * FROM runs ORDER BY started").to_pylist()
        ],
    }


def _planned(catalog: Catalog) -> set[tuple[str, tuple[str, str, str, str], date]]:
    planned: set[tuple[str, tuple[str, str, str, str], date]] = set()
    for entry in catalog.store.list("runs/"):
        if not entry.key.endswith("/plan.json"):
            continue
        plan = json.loads(catalog.store.fetch(entry.key)[0])
        for text in plan["shards"]:
            shard = Shard(
                tuple(TraceId.parse(trace) for trace in text["traces"]),
                date.fromisoformat(text["start"]),
                date.fromisoformat(text["end"]),
            )
            for day in shard.station_days:
                codes = day.trace
                trace = (codes.network, codes.station, codes.location, codes.band)
                planned.update((c["name"], trace, day.day) for c in plan["candidates"])
    return planned


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
