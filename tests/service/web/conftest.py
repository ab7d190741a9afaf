"""A small catalogue of three candidates, and real servers over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.runs import write_run_record
from catalog.schema import TraceId, day_start_ns
from catalog.votes import Votes
from service.campaign import load_campaign
from service.prepare import prepare
from service.provenance import provenance
from workers.picker import Picker, Work
from workers.synthetic import network_days, write_sds

ROOT = Path(__file__).parents[3]
TRACES = [TraceId("QX", station, "", "HH") for station in ("HERON", "EGRET")]
NAMES = ("gannet", "kittiwake", "fulmar")
CAMPAIGN = """\
name = "birds"
catalog = "catalog"
[archive]
kind = "sds"
root = "archive"
[select]
stations = ["QX.*"]
start = 2024-03-01
end = 2024-03-02
[[candidate]]
name = "gannet"
weights = "builtin:synthetic"
[[candidate]]
name = "kittiwake"
weights = "builtin:synthetic_early"
[[candidate]]
name = "fulmar"
weights = ["builtin:synthetic", "builtin:synthetic_early"]
"""


@pytest.fixture(scope="session")
def picked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour at two stations: `archive`, `catalog` and `truth.parquet`."""
    folder = tmp_path_factory.mktemp("birds")
    recordings = network_days(
        TRACES, day_start_ns(date(2024, 3, 1)), 3600.0, 60.0, np.random.default_rng(5)
    )
    write_sds(folder / "archive", recordings)
    pq.write_table(pa.concat_tables(each.arrivals for each in recordings), folder / "truth.parquet")
    (folder / "campaign.toml").write_text(CAMPAIGN)
    prepared = prepare(load_campaign(folder / "campaign.toml"))
    facts = provenance(prepared, {}, "campaign.toml")
    write_run_record(prepared.store, prepared.assignment.run, "one", "start", facts)
    picker = Picker(prepared.assignment)
    for shard in prepared.plan.shards():
        picker.pick(Work(shard, NAMES))
    return folder


@dataclass
class Server:
    """A `tidepick serve` of its own process."""

    process: subprocess.Popen[str]
    url: str
    votes: Path

    def kill(self) -> None:
        """As `kill -9` does."""
        self.process.kill()
        self.process.wait()

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(timeout=20)

    def log(self) -> Votes:
        return Votes(self.votes)


def start(picked: Path, votes: Path, *more: str) -> Server:
    """A server on a free port."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "service.cli", "serve", str(picked / "catalog"), "--json"),
            *("--port", "0", "--votes", str(votes)),
            *("--arrivals", str(picked / "truth.parquet"), *more),
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the server ended with {process.wait()}"
    return Server(process, json.loads(line)["url"], votes)


@pytest.fixture
def serve(picked: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts a server, and ends it with the test."""
    servers: list[Server] = []

    def begin(*more: str) -> Server:
        servers.append(start(picked, tmp_path / "votes.sqlite", *more))
        return servers[-1]

    yield begin
    for server in servers:
        server.end()


@pytest.fixture(scope="module")
def shared(picked: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for tests that leave nothing behind."""
    server = start(picked, tmp_path_factory.mktemp("shared") / "votes.sqlite")
    yield server
    server.end()
