"""tidepick bench: how many station-days an hour this machine picks, and where its time goes.

The station-days are synthetic, written once in a temporary folder, as miniSEED and as Zarr. Each
archive is picked by the workers of a Ray of our own, as a campaign would be, commits included.
"""

from __future__ import annotations

import math
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import timedelta
from pathlib import Path
from typing import Any

from rich.console import Console

from catalog.errors import Refusal
from catalog.schema import DAY_NS, Shard, StationDay, TraceId
from service.bench.stages import STAGES, stage_seconds
from service.bench.synthetic import (
    FIRST_DAY,
    repeat_station,
    synthetic_campaign,
    write_station,
    write_zarr,
)
from service.bench.throughput import measure_workers, seisbench_seconds
from service.campaign import Campaign, Compute
from workers.archives import open_archive
from workers.candidate import Candidate
from workers.device import checked_device
from workers.engines import open_engine, use_threads
from workers.weights import Weights, resolve

KINDS = ("sds", "zarr")
DAYS = 2
"""Distinct days, which every station repeats; neighbours, so that halos are read as they are."""

STATION_DAYS_A_WORKER = 8
TURNS = 4
"""Shards of a worker, where station-days allow: so the last worker ends soon after the first."""

SEISBENCH_BATCHES = (256, 1024)  # 256 is its default
BREAK_EVEN = 4200.0
"""Station-days an hour for each dollar an hour at which QuakeScope breaks even."""

GB = 1e9
RAY_UNITS = 10_000
"""Ray counts a resource in so many parts, rounded to the nearest."""


def cores() -> int:
    """CPU cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def bench_compute(device: str, engine: str | None, workers: int) -> Compute:
    """Workers of one core each, which share one GPU where the device is one."""
    checked_device(device)
    if workers < 1:
        raise Refusal(f"--workers {workers}: give 1 or more")
    engine = engine or ("fp16" if device == "cuda" else "fast")
    if engine == "fp16" and device == "cpu":
        raise Refusal("--engine fp16: its speed is a GPU's; on a CPU use fast or exact")
    share = gpu_share(workers) if device == "cuda" else 0.0
    return Compute.model_validate({"engine": engine, "workers": workers, "gpus_per_worker": share})


def gpu_share(workers: int) -> float:
    """What each of them gets of one GPU, rounded down: or Ray would leave the last without."""
    return RAY_UNITS // workers / RAY_UNITS


def bench(
    compute: Compute,
    station_days: int | None,
    price: float | None,
    say: Console,
    seconds: float = DAY_NS / 1e9,
) -> dict[str, Any]:
    """Measure all of it, and return the figures; what is going on is said as it happens.

    station_days: default 8 a worker. price: of this machine, $ an hour. seconds: of data in each
    station-day; rates are of whole station-days all the same.
    """
    count = STATION_DAYS_A_WORKER * compute.workers if station_days is None else station_days
    if count < 1:
        raise Refusal(f"--station-days {count}: give 1 or more")
    if price is not None and not 0 < price < math.inf:
        raise Refusal(f"--price {price:g}: give dollars an hour, more than 0")
    weights = resolve("builtin:synthetic")
    together = open_engine(compute.resolved_engine, compute.device).together
    days = DAYS if count % DAYS == 0 else 1
    shards = _shards("B", count // days, days, max(together, count // compute.workers // TURNS))
    warm_up = _shards("W", compute.workers, days, 1)
    some = shards[0].station_days[: max(DAYS, together)]
    whole = seconds / (DAY_NS / 1e9)  # of a station-day
    facts: dict[str, Any] = {
        "device": compute.device,
        "gpu": None,
        "engine": compute.resolved_engine,
        "workers": compute.workers,
        "station_days": count,
        "archives": {},
        "seisbench": {},
    }
    with tempfile.TemporaryDirectory(prefix="tidepick-bench-") as name:
        folder = Path(name)
        say.print(f"making {count} synthetic station-days in {folder}, {days} of them distinct")
        _write(folder, [*shards, *warm_up], days, seconds)
        campaigns = {kind: synthetic_campaign(folder, kind, days, compute) for kind in KINDS}
        for kind, campaign in campaigns.items():
            say.print(f"{kind}: {compute.workers} workers pick {count} station-days")
            # Ray's own notices go to stdout, which belongs to the figures
            with redirect_stdout(sys.stderr):
                run = measure_workers(campaign, shards, warm_up)
            facts["gpu"] = run.gpu
            facts["archives"][kind] = {
                **_rate(count * whole / run.seconds, price),
                "seconds": run.seconds,
                "start_seconds": run.start_s,
                "picks": run.picks,
                "worker_memory_gb": run.worker_bytes / GB,
                "gpu_memory_gb": None if run.gpu_bytes is None else run.gpu_bytes / GB,
            }
        for kind, campaign in campaigns.items():
            say.print(f"{kind}: one process picks {len(some)} station-days, stage by stage")
            facts["archives"][kind]["stages"] = _stages(campaign, weights, some)
        for batch in SEISBENCH_BATCHES:
            say.print(f"sds: SeisBench classify, batch {batch}")
            took = seisbench_seconds(
                folder / "sds", some[0], weights, compute.device, batch, compute.workers
            )
            facts["seisbench"][str(batch)] = {**_rate(whole / took, price), "seconds": took}
    return facts


def _shards(letter: str, stations: int, days: int, size: int) -> list[Shard]:
    """All days of so many stations, in shards of about `size` station-days."""
    traces = [TraceId("XX", f"{letter}{k:04d}", "", "HH") for k in range(stations)]
    wide, end = max(1, size // days), FIRST_DAY + timedelta(days=days)
    return [Shard(tuple(traces[k : k + wide]), FIRST_DAY, end) for k in range(0, stations, wide)]


def _write(folder: Path, shards: Sequence[Shard], days: int, seconds: float) -> None:
    first, *others = (trace for shard in shards for trace in shard.traces)
    write_station(folder / "sds", first, days, seconds)
    write_zarr(folder / "sds", folder / "zarr", first, days, others)
    repeat_station(folder / "sds", first, days, others)


def _rate(per_second: float, price: float | None) -> dict[str, Any]:
    per_hour = 3600 * per_second
    return {
        "station_days_per_hour": per_hour,
        "dollars_per_station_day": None if price is None else price / per_hour,
        "times_break_even": None if price is None else per_hour / (BREAK_EVEN * price),
    }


def _stages(campaign: Campaign, weights: Weights, days: Sequence[StationDay]) -> dict[str, Any]:
    """Seconds a station-day and share of the time of every stage."""
    compute = campaign.compute
    use_threads(1)
    (config,) = campaign.candidate
    floors = {"P": config.P_threshold, "S": config.S_threshold}
    engine = open_engine(compute.resolved_engine, compute.device)
    candidate = Candidate.of(config.name, [weights], engine, floors, quality=campaign.quality)
    seconds = stage_seconds(open_archive(campaign.archive), days, candidate, compute.device)
    total = sum(seconds.values())
    return {name: {"seconds": seconds[name], "share": seconds[name] / total} for name in STAGES}
