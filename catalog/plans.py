"""The plans of a catalogue's runs, and which of them a later one took the place of.

A campaign that is run again over an archive that holds more has another plan: the same name, the
same selection and no candidate less. The later plan supersedes the earlier. Nothing of that one is
deleted; what of it is left is no longer wanted. A station-day of it that the later one does not
have gives way, where the selection takes one band or location a day, to the one picked instead.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, timedelta
from itertools import repeat
from typing import Any

import pyarrow as pa

from catalog.store import Store

Row = dict[str, Any]

PLANNED_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("run", "candidate", "network", "station")]
    + [(name, pa.string()) for name in ("location", "band")]
    + [("first", pa.date32()), ("stop", pa.date32())]
    + [(name, pa.bool_()) for name in ("one_band", "one_location")]
)
"""Days [first, stop) of a trace that a run planned for a candidate. one_band, one_location: whether
the selection takes one a day, or each for itself."""


def read_plans(store: Store) -> dict[str, Row]:
    """Every run's plan, by its id."""
    keys = [e.key for e in store.list("runs/") if e.key.endswith("/plan.json")]
    return {key.split("/")[1]: json.loads(store.fetch(key)[0]) for key in keys}


def superseded(invocations: pa.Table) -> dict[str, str]:
    """Run -> the run that took its place. invocations: RUN_SCHEMA, in the order of their starts.

    A run is as late as its last invocation. Where station metadata lie is no part of a selection: a
    job carries its own.
    """
    runs: dict[str, tuple[str, set[str]]] = {}
    for row in invocations.select(["run", "campaign", "candidates"]).to_pylist():
        campaign = json.loads(row["campaign"])
        select = {k: v for k, v in campaign.get("select", {}).items() if k != "epochs"}
        same = json.dumps([campaign.get("name"), select], sort_keys=True)
        runs.pop(row["run"], None)
        runs[row["run"]] = same, set(json.loads(row["candidates"]))
    found = {}
    later: dict[str, list[tuple[str, set[str]]]] = defaultdict(list)
    for run, (same, candidates) in reversed(runs.items()):
        for other, theirs in later[same]:
            if candidates <= theirs:
                found[run] = other
                break
        later[same].append((run, candidates))
    return found


def displaced(
    invocations: pa.Table, run: str, campaign: Row, candidates: Iterable[str]
) -> list[str]:
    """Runs whose place this one would take, were it begun after all invocations (RUN_SCHEMA).

    campaign: as a run records it.
    """
    known = invocations.select(["run", "campaign", "candidates"])
    one = {
        "run": run,
        "campaign": json.dumps(campaign),
        "candidates": json.dumps(dict.fromkeys(candidates)),
    }
    after = pa.concat_tables([known, pa.Table.from_pylist([one], schema=known.schema)])
    before = superseded(known)
    return [old for old, new in superseded(after).items() if new == run and old not in before]


def planned(plans: Mapping[str, Row], selections: Mapping[str, Row]) -> pa.Table:
    """PLANNED_SCHEMA of some plans. selections: a run's `[select]`, where it is known."""
    rows = []
    for run, plan in plans.items():
        select = selections.get(run, {})
        one = bool(select.get("bands")), bool(select.get("locations"))
        for candidate in plan["candidates"]:
            for trace, first, stop in spans(plan):
                rows.append((run, candidate["name"], *trace.split("."), first, stop, *one))
    columns: Iterable[Any] = zip(*rows, strict=True) if rows else repeat(())
    arrays = [pa.array(c, f.type) for c, f in zip(columns, PLANNED_SCHEMA, strict=False)]
    return pa.table(arrays, PLANNED_SCHEMA)


def spans(plan: Row) -> Iterator[tuple[str, date, date]]:
    """(trace, first, stop), days [first, stop) that a plan has of a trace."""
    start, end = (date.fromisoformat(plan[name]) for name in ("start", "end"))
    every = [0, (end - start).days]
    for trace, bounds in zip(plan["traces"], plan.get("days", repeat(every)), strict=False):
        for first, stop in zip(bounds[::2], bounds[1::2], strict=True):
            yield trace, start + timedelta(days=first), start + timedelta(days=stop)
