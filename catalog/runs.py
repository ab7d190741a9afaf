"""The records of runs: when each invocation began, how far it had come, how it ended.

Beside its `start` and `end` an invocation leaves numbered records of its progress. So whoever looks
from elsewhere sees how fast it is, and one that was killed is known by its silence; what it did
after its last record goes uncounted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from catalog.schema import RUN_SCHEMA, utc_now
from catalog.store import Store, fetch_all

SILENT_BEATS = 3
"""An invocation without an end has died when so many records in a row did not come."""

FIRST_BEAT_S = 60.0

_FACTS = ("state", "reason", "done", "picks", "seconds", "rate")


def write_run_record(
    store: Store, run: str, invocation: str, moment: str, facts: Mapping[str, Any]
) -> None:
    """What is known of one invocation of a run at its `start` or `end`."""
    record = {"run": run, "invocation": invocation, "time": utc_now(), **facts}
    store.create(f"runs/{run}/{invocation}.{moment}.json", _to_json(record))


def write_progress(
    store: Store, run: str, invocation: str, number: int, facts: Mapping[str, Any]
) -> None:
    """How far an invocation has come. number: 1, 2, 3...; facts: with `next`, the seconds until
    the next record is due."""
    record = {"run": run, "invocation": invocation, "time": utc_now(), **facts}
    store.create(f"{_progress(run, invocation)}{number:06d}.json", _to_json(record))


def runs_table(store: Store) -> pa.Table:
    """RUN_SCHEMA: one row per invocation of every run, in the order of their starts.

    Read are its start and its end, or without an end the newest record of its progress.
    """
    starts: dict[str, str] = {}
    last: dict[str, str] = {}
    for entry in store.list("runs/"):
        _, run, name = entry.key.split("/")
        invocation, _, moment = name.removesuffix(".json").partition(".")
        if moment == "start":
            starts[invocation] = entry.key
            if invocation not in last:  # `end` is listed before `start`
                for record in store.list(_progress(run, invocation)):
                    last[invocation] = record.key
        elif moment == "end":
            last[invocation] = entry.key
    keys = [*starts.values(), *(key for name, key in last.items() if name in starts)]
    bodies = fetch_all(store, keys)
    records = {key: json.loads(body) for key, body in zip(keys, bodies, strict=True)}
    now = datetime.fromisoformat(utc_now())
    rows = [
        _row(records[key], records.get(last.get(name, "")), now) for name, key in starts.items()
    ]
    return pa.Table.from_pylist(sorted(rows, key=lambda row: row["started"]), schema=RUN_SCHEMA)


def lacking(
    invocations: Sequence[dict[str, Any]], run: str, superseded: Mapping[str, str]
) -> dict[str, Any]:
    """The last invocation of a run with objects that told nothing, or an empty one.

    An invocation that came to its end since, and could look into all of them, picked what they
    hold; one that died may not have. invocations: rows of RUN_SCHEMA, oldest first; those of runs
    whose place this one took count too (superseded: catalog/plans.py).
    """
    own = [row for row in invocations if run in (row["run"], superseded.get(row["run"]))]
    for row in own[::-1]:
        ended = row["state"] == "incomplete" and not row["reason"]
        if row["unlooked"] or ended or row["state"] == "complete":
            return row
    return {}


def _progress(run: str, invocation: str) -> str:
    """Apart from `runs/`, so that who lists the runs need not list all this."""
    return f"progress/{run}/{invocation}."


def _to_json(record: Mapping[str, Any]) -> bytes:
    return (json.dumps(record, sort_keys=True, indent=1, default=dict) + "\n").encode()


def _row(start: Mapping[str, Any], last: Mapping[str, Any] | None, now: datetime) -> dict[str, Any]:
    news = datetime.fromisoformat((last or start)["time"])
    going = last is None or "state" not in last
    due = (last or start).get("next", FIRST_BEAT_S)
    silent = now - news > timedelta(seconds=SILENT_BEATS * due)
    facts = {"done": 0, "picks": 0, "seconds": 0.0} | {
        name: last[name] for name in _FACTS if last and name in last
    }
    price = start["campaign"].get("compute", {}).get("price_per_hour")
    return {
        "run": start["run"],
        "invocation": start["invocation"],
        "started": datetime.fromisoformat(start["time"]),
        "news": news,
        "ended": None if going else news,
        "state": "died" if silent else "running",
        "engine": start["engine"],
        "station_days": start["station_days"],
        "cost": None if price is None else facts["seconds"] / 3600 * price,
        **{
            name: json.dumps(start[name], sort_keys=True)
            for name in ("campaign", "candidates", "versions", "machine")
        },
        "file": start.get("file", ""),
        "unlooked": start.get("unlooked", 0),
        "unlooked_objects": json.dumps(start.get("unlooked_objects", {}), sort_keys=True),
        **facts,
    }
