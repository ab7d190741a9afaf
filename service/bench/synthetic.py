"""Campaigns over synthetic station-days, in a folder that may be thrown away."""

from __future__ import annotations

import shutil
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from catalog.errors import Refusal
from catalog.schema import COMPONENTS, StationDay, TraceId
from catalog.store import open_store
from service.campaign import Campaign, CandidateConfig, Compute, Select
from workers.archives import ArchiveConfig, open_archive
from workers.ingest import ingest
from workers.synthetic import network_days, sds_path, write_sds

FIRST_DAY = date(2024, 3, 1)
EVENTS_PER_HOUR = 200 / 24
CANDIDATE = "synthetic"

RECORD = 512
STATION = slice(8, 13)
"""Where a miniSEED 2 record names its station; records here have RECORD bytes."""


def synthetic_campaign(folder: Path, kind: str, days: int, compute: Compute) -> Campaign:
    """All of `folder/KIND` with the weights that tidepick ships, of the size of `original`."""
    return Campaign(
        name="synthetic",
        catalog=str(folder / f"catalog-{kind}"),
        archive=ArchiveConfig.model_validate({"kind": kind, "root": str(folder / kind)}),
        select=Select(stations=["XX.*"], start=FIRST_DAY, end=FIRST_DAY + timedelta(days=days)),
        candidate=[CandidateConfig(name=CANDIDATE, weights=f"builtin:{CANDIDATE}")],
        compute=compute,
    )


def write_station(root: Path, trace: TraceId, days: int, seconds: float) -> None:
    """Consecutive days from FIRST_DAY on as miniSEED in SDS layout, each with a gap of a minute.

    seconds: of each day that hold data, from midnight on.
    """
    gap = (0.6 * seconds, 0.6 * seconds + 60.0)
    for k in range(days):
        start_ns = StationDay(trace, FIRST_DAY + timedelta(days=k)).start_ns
        rng = np.random.default_rng([1, k])
        write_sds(
            root,
            network_days([trace], start_ns, seconds, EVENTS_PER_HOUR, rng, gaps={trace: [gap]}),
        )


def repeat_station(root: Path, trace: TraceId, days: int, others: list[TraceId]) -> None:
    """The days of one trace once more, under the names of other stations."""
    for k in range(days):
        start_ns = StationDay(trace, FIRST_DAY + timedelta(days=k)).start_ns
        for component in COMPONENTS:
            source = sds_path(root, trace, component, start_ns)
            records = np.fromfile(source, np.uint8).reshape(-1, RECORD)
            for other in others:
                name = other.station.ljust(STATION.stop - STATION.start).encode()
                records[:, STATION] = np.frombuffer(name, np.uint8)
                copy = sds_path(root, other, component, start_ns)
                copy.parent.mkdir(parents=True, exist_ok=True)
                records.tofile(copy)


def write_zarr(sds: Path, zarr: Path, trace: TraceId, days: int, others: list[TraceId]) -> None:
    """The same station-days, of one trace and its repetitions, as `tidepick ingest` writes them."""
    source = open_archive(ArchiveConfig(kind="sds", root=str(sds)))
    end = FIRST_DAY + timedelta(days=days)
    for done in ingest(source, open_store(str(zarr)), FIRST_DAY, end, frozenset([trace])):
        if done.state != "written":
            raise Refusal(f"{done.station_day.trace} {done.station_day.day}: {done.state}")
    for other in others:
        shutil.copytree(zarr / str(trace), zarr / str(other))
