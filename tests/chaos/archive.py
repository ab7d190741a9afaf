"""The campaign that is attacked: ten minutes of data a station-day, two candidates, two months."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from catalog.schema import TraceId, day_start_ns
from tests.chaos.endpoints import client
from workers.synthetic import Recording, network_days, write_sds

CANDIDATES = ("synthetic", "synthetic_early")
BUCKET = "archive"
HALF_S = 300
"""Seconds of data on either side of every midnight, so that days need each other's halo."""

MIDDLE = date(2024, 3, 1)
"""The days lie around it: two months of the ledger."""

CAMPAIGN = """\
name = "chaos"
catalog = "s3://{catalog}/catalog"
[archive]
kind = "sds"
root = "s3://{archive}/sds"
[select]
stations = ["XX.*"]
start = {start}
end = {end}
{candidates}
[compute]
workers = 3
station_days_per_shard = 1
"""


@dataclass(frozen=True, slots=True)
class Network:
    """Stations x days of ten minutes each. Some are missing from the archive, and are planned."""

    stations: int
    days: int

    @classmethod
    def of(cls, station_days: int) -> Network:
        """At least so many."""
        days = max(2, min(20, station_days // 4))
        return cls(-(-station_days // days), days)

    @property
    def station_days(self) -> int:
        return self.stations * self.days

    @property
    def start(self) -> date:
        return MIDDLE - timedelta(days=self.days // 2)

    @property
    def end(self) -> date:
        return self.start + timedelta(days=self.days)

    def folder(self, seed: int) -> str:
        """Part of the path of one station's objects, another one for each seed."""
        return f"/XX/S{seed % self.stations:03d}/"

    def campaign(self, catalog: str) -> str:
        """The campaign file that fills a bucket."""
        tables = [f'[[candidate]]\nname = "{c}"\nweights = "builtin:{c}"' for c in CANDIDATES]
        return CAMPAIGN.format(
            catalog=catalog,
            archive=BUCKET,
            start=self.start,
            end=self.end,
            candidates="\n".join(tables),
        )

    def recordings(self) -> Iterator[Recording]:
        traces = [TraceId("XX", f"S{k:03d}", "", "HH") for k in range(self.stations)]
        rng = np.random.default_rng(4)
        for day in range(self.days + 1):
            begin = day_start_ns(self.start + timedelta(days=day)) - HALF_S * 10**9
            for k, recording in enumerate(
                network_days(traces, begin, 2 * HALF_S, 60.0, rng, disturbances_per_hour=12.0)
            ):
                if (k + day) % 11:  # the others were never recorded
                    yield recording


def fill_archive(network: Network, folder: Path, endpoint: str) -> None:
    """Make the archive, and put it into its bucket."""
    logging.getLogger("botocore").setLevel(logging.ERROR)
    write_sds(folder, network.recordings())
    s3 = client(endpoint)
    s3.create_bucket(Bucket=BUCKET)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        s3.put_object(Bucket=BUCKET, Key=f"sds/{path.relative_to(folder)}", Body=path.read_bytes())
