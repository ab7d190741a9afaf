"""How planning and the ledger grow: a simulated campaign of 10^4, 10^5, 10^6 shards.

    python tests/benchmarks/ledger.py 10000 100000 1000000 --folder /scratch [--json out.json]

A network of 3,333 traces over 3, 30 and 300 months, a shard a trace and month, half of them with
data; `--traces 47354` is the widest month there is. Each step runs in a process of its own, so that
its peak memory is its own. Commits are written without syncing (`create` of one is timed by
itself); a million take 20 GB for a while. `--folder s3://bucket/prefix` measures a store's prices.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from catalog.commits import (
    CandidateRecord,
    Commit,
    commit_key,
    create_catalog,
    register_candidates,
    write_plan,
)
from catalog.query import Catalog
from catalog.schema import PICK_SCHEMA, Shard, TraceId, days_between, month_of
from catalog.store import LocalStore, Store, open_store
from catalog.writer import encode
from service.campaign import Campaign
from service.outstanding import outstanding, survey
from service.plan import Plan, make_plan
from service.status import read_status
from workers.archives import Holding
from workers.picker import StoredCandidate
from workers.waveform import Reading

TRACES = 3333
START = date(2000, 1, 1)
NEWEST = 2000
"""Commits, at most, that are newer than any summary at the step `end`."""

STEPS = ("import", "plan", "start_none", "write", "start_all", "end", "start_known", "status")
SETTINGS: dict[str, Any] = {"engine": "fast", "floors": {"P": 0.1, "S": 0.1}}
ONE = StoredCandidate("one", "aa", (), SETTINGS)


class Listing:
    """An archive that holds every second trace, every day."""

    def __init__(self, traces: int) -> None:
        self.traces = [TraceId("XX", f"S{k:05d}", "", "HH") for k in range(traces)]

    def holdings(self, start: date, end: date, stations: Sequence[str] = ()) -> Iterator[Holding]:
        for k, trace in enumerate(self.traces):
            for day in days_between(start, end if k % 2 == 0 else start + timedelta(days=1)):
                yield Holding(trace, day, 20_000_000)

    def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
        raise AssertionError("planning reads no waveform")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shards", type=int, nargs="+")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--traces", type=int, default=TRACES)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", choices=[*STEPS, "open"])
    options = parser.parse_args()
    if options.step:
        url = f"{options.folder}/{options.shards[0]}"
        print(json.dumps(step(options.step, url, options.shards[0], options.traces)))
        return 0
    results = measure(options.shards, options.folder, options.traces)
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))
    Console().print(table(results))
    return 0


def measure(shards: Sequence[int], folder: str, traces: int = TRACES) -> dict[str, Any]:
    """Seconds and peak MB of every step, by number of shards."""
    results: dict[str, Any] = {}
    for count in shards:
        results[str(count)] = found = {}
        for name in (*STEPS, "open"):
            command = [sys.executable, __file__, str(count), "--folder", folder, "--step", name]
            done = subprocess.run(
                [*command, "--traces", str(traces)], check=True, capture_output=True, text=True
            )
            found[name] = json.loads(done.stdout)
            print(count, name, found[name], file=sys.stderr, flush=True)
        if "://" not in folder:
            shutil.rmtree(f"{folder}/{count}")
    return results


def step(name: str, url: str, shards: int, traces: int) -> dict[str, Any]:
    """Do one step; how long it took, and the most memory that this process ever held."""
    store, plan = open_store(url), planned(shards, traces)
    newest = min(NEWEST, shards // 10)
    begun = time.perf_counter()
    facts: dict[str, Any] = {}
    if name == "plan":
        create_catalog(store)
        record = CandidateRecord("one", "aa", "w", SETTINGS, {"P": 0.3, "S": 0.3})
        register_candidates(store, [record])
        made = make_plan(campaign(url, plan), Listing(traces))
        write_plan(store, made.run_id([ONE]), made.to_json([ONE]))
        facts = {"station_days": made.station_days, "shards": made.shard_count}
    elif name == "start_none":
        facts = {"due": due(plan, store), "works": count(plan, store)}
    elif name == "write":
        facts = write(plan, store, slice(0, -newest))
    elif name == "start_all":
        facts = {"due": due(plan, store)}
    elif name == "end":
        write(plan, store, slice(-newest, None))
        begun = time.perf_counter()
        facts = {"due": due(plan, store)}
    elif name == "start_known":
        facts = {"due": due(plan, store), "works": count(plan, store)}
    elif name == "status":
        status = read_status(url)
        facts = {"left": status["left"], "outcomes": status["candidates"]["one"]["outcomes"]}
    elif name == "open":
        catalog = Catalog(url)
        facts["opened_s"] = round(time.perf_counter() - begun, 2)
        facts["rows"] = catalog.sql("SELECT count(*) AS n FROM coverage")["n"].to_pylist()[0]
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"s": round(seconds, 2), "mb": round(peak), **facts}


def planned(shards: int, traces: int) -> Plan:
    months = max(1, round(shards / traces))
    end = START
    for _ in range(months):
        end = (end + timedelta(days=31)).replace(day=1)
    return Plan(Listing(min(traces, shards)).traces, START, end, 31)


def campaign(url: str, plan: Plan) -> Campaign:
    return Campaign.model_validate(
        {
            "name": "simulated",
            "catalog": url,
            "archive": {"kind": "sds", "root": "/nowhere"},
            "select": {"stations": ["XX.*"], "start": plan.start, "end": plan.end},
            "candidate": [{"name": "one", "weights": "builtin:synthetic"}],
            "compute": {"station_days_per_shard": plan.size},
        }
    )


def due(plan: Plan, store: Store) -> int:
    """What a run asks of the ledger when it starts, and again when it ends."""
    return sum(census.due for census in survey(plan, [ONE], store, plan.months()).values())


def count(plan: Plan, store: Store) -> int:
    return sum(1 for _ in outstanding(plan, [ONE], store, plan.months()))


def write(plan: Plan, store: Store, which: slice) -> dict[str, Any]:
    """The commits of a plan, as workers would leave them."""
    picks = encode(PICK_SCHEMA.empty_table())
    low, high, _ = which.indices(plan.shard_count)
    chosen = map(body_of, islice(plan.shards(), low, high))
    if not isinstance(store, LocalStore):
        store.create("picks/empty.parquet", picks)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda found: store.create(found[0], found[1]), chosen))
        return {}
    base = store.root / "picks" / "empty.parquet"
    if not base.exists():
        store.create("picks/empty.parquet", picks)
    size = 0
    for key, body, file in chosen:
        path = store.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        size += len(body)
        if file:
            link = store.root / file
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(base)
    begun = time.perf_counter()
    for k in range(100):
        store.create(f"timed/{k}.json", body)
    return {"synced_ms": round((time.perf_counter() - begun) * 10, 2), "bytes": size}


_TEMPLATES: dict[tuple[date, bool], bytes] = {}


def body_of(shard: Shard) -> tuple[str, bytes, str]:
    """Key and body of a shard's commit, and its file of picks; every second trace has data."""
    held = shard.traces[0].station[-1] in "02468"
    identity = ONE.shard_id(shard)
    if (shard.start, held) not in _TEMPLATES:
        _TEMPLATES[shard.start, held] = template(shard, held)
    station = shard.traces[0].station.encode()
    body = _TEMPLATES[shard.start, held].replace(b"@SHARD", identity.encode())
    file = f"{folder_of(shard)}/{identity}.parquet" if held else ""
    return commit_key(identity, 0), body.replace(b"@STATION", station), file


def template(shard: Shard, held: bool) -> bytes:
    row = {
        "network": "XX",
        "station": "@STATION",
        "location": "",
        "band": "HH",
        "outcome": "picked" if held else "no_data",
        "detail": "",
        "picks": 80 if held else 0,
        "seconds": 86_400.0,
        "gap_fraction": 0.0,
        "segments": 1,
        "fragments": 1,
        "repaired": 0,
        "n_components": 3,
        "sampling_rate": 100.0,
        "resampled_from": 0.0,
        "saturated": 0,
        "flags": 0,
    }
    path = f"{folder_of(shard)}/@SHARD.parquet"
    inputs = {
        f"s3://archive/continuous/{day.year}/XX/@STATION/HH{c}.D/XX.@STATION..HH{c}.D."
        f"{day:%Y.%j}": "0123456789abcdef0123456789abcdef"
        for day in shard.days
        for c in "ZNE"
    }
    record = Commit(
        shard="@SHARD",
        generation=0,
        candidate="one",
        weights_sha256="aa",
        run="run",
        attempt="0" * 32,
        files=[{"path": path, "rows": 80, "bytes": 9999, "sha256": "a" * 64}] if held else [],
        inputs=inputs if held else {},
        coverage=[{**row, "day": day.isoformat()} for day in shard.days],
        created="2026-01-01",
    )
    return record.to_json()


def folder_of(shard: Shard) -> str:
    year, month = month_of(shard.start).split("-")
    return f"picks/candidate=one/year={year}/month={month}"


def table(results: dict[str, Any]) -> Table:
    drawn = Table("step", *(f"{int(n):,} shards: s, MB" for n in results))
    for name in (*STEPS, "open"):
        cells = (f"{found[name]['s']:.1f}, {found[name]['mb']:,}" for found in results.values())
        drawn.add_row(name, *cells)
    return drawn


if __name__ == "__main__":
    pa.set_cpu_count(1)
    sys.exit(main())
