"""A process that only works as a worker does: `python -m tests.benchmarks.worker ROOT CORE ray|-`.

It picks the first station-day, says what memory that took, waits for a line on its standard input
before each shard, and answers each with a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from datetime import date, timedelta
from importlib import import_module
from typing import Any

from catalog.schema import Shard, TraceId
from workers.archives import ArchiveConfig, open_archive
from workers.candidate import Candidate
from workers.engines import open_engine, use_threads
from workers.pipeline import pick_shard
from workers.weights import resolve


def main(root: str, core: int, with_ray: str, day: str, *traces: str) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {core})
    import_module("workers.actor" if with_ray == "ray" else "workers.picker")
    answer = {"imports_gb": peak_gb()}
    use_threads(1)
    archive = open_archive(ArchiveConfig(kind="sds", root=root))
    weights = [resolve("builtin:synthetic")]
    candidates = [Candidate.of("0", weights, open_engine("fast"), {"P": 0.2, "S": 0.2})]
    start = date.fromisoformat(day)
    names = tuple(TraceId.parse(trace) for trace in traces)

    def pick(*some: TraceId) -> None:
        shard = Shard(some, start, start + timedelta(days=1))
        answer["picks"] = sum(
            picked.picked["0"].picks.num_rows for picked in pick_shard(archive, shard, candidates)
        )

    pick(names[0])
    say(answer | {"one_day_gb": peak_gb()})
    for _ in sys.stdin:
        begun = time.perf_counter()
        pick(*names)
        ended = time.perf_counter()
        say(answer | {"begun": begun, "ended": ended, "shard_gb": peak_gb()})


def say(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


def peak_gb() -> float | None:
    """The most memory this process has had, GB; None where the system does not say (VmHWM)."""
    try:
        with open("/proc/self/status") as status:
            lines = status.read().splitlines()
    except FileNotFoundError:
        return None
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
    return int(peak) * 1024 / 1e9


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), *sys.argv[3:])
