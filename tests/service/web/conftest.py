"""A small catalogue of three candidates, and real servers over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog.schema import TraceId, day_start_ns
from catalog.truth import NOISE_SCHEMA
from catalog.votes import Votes
from service.evaluate.config import load_evaluation
from service.evaluate.days.ready import ready_for_traces
from service.evaluate.noise.rates import THRESHOLD_SCHEMA
from service.evaluate.tables import keep
from tests.service.picking import pick
from workers.labelled import open_labelled
from workers.oracle import examine
from workers.synthetic import RATE, Recording, network_days, write_sds

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


EVALUATION = """\
name = "shore"
out = "{folder}/out"
replicates = 2000
[[candidate]]
name = "gannet"
weights = "builtin:synthetic"
[[candidate]]
name = "kittiwake"
weights = "builtin:synthetic_early"
[[candidate]]
name = "fulmar"
weights = ["builtin:synthetic", "builtin:synthetic_early"]
[[benchmark]]
name = "shoreline"
kind = "npz"
path = "{picked}/shoreline.npz"
[noise]
catalog = "{picked}/catalog"
windows = "none.csv"
[continuous]
catalog = "{picked}/catalog"
arrivals = ["{picked}/truth.parquet"]
complete = true
[arena]
votes = "{folder}/votes.sqlite"
serve = "http://127.0.0.1:1"
"""
THRESHOLDS = {
    "gannet": {"P": 0.31, "S": 0.33},
    "kittiwake": {"P": 0.25, "S": 0.37},
    "fulmar": {"P": 0.4, "S": 0.22},
}
"""As if `tidepick eval noise` had solved them: none is what the weights recommend."""

LABEL = 3000
"""Sample of P in every labelled trace, as in real collections."""


def recorded() -> list[Recording]:
    begin, rng = day_start_ns(date(2024, 3, 1)), np.random.default_rng(5)
    return network_days(TRACES, begin, 3600.0, 60.0, rng)


@pytest.fixture(scope="session")
def picked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An hour at two stations: `archive`, `catalog` and `truth.parquet`."""
    folder = tmp_path_factory.mktemp("birds")
    recordings = recorded()
    write_sds(folder / "archive", recordings)
    pq.write_table(pa.concat_tables(each.arrivals for each in recordings), folder / "truth.parquet")
    (folder / "campaign.toml").write_text(CAMPAIGN)
    pick(folder / "campaign.toml")
    return folder


@pytest.fixture(scope="session")
def examined(picked: Path) -> pa.Table:
    """The per-trace table of `shoreline.npz`, which holds events of the same hour."""
    data, s_samples = [], []
    names: list[str] = []
    for recording in recorded():
        times = recording.arrivals["time"].cast(pa.int64()).to_numpy() - recording.start_ns
        samples = np.round(times * RATE / 1e9).astype(int).tolist()
        phases = recording.arrivals["phase"].to_pylist()
        for (p, first), (s, second) in pairwise(zip(samples, phases, strict=True)):
            inside = LABEL <= p < recording.data.shape[1] - 6000
            if (first, second) != ("P", "S") or not inside:
                continue
            data.append(recording.data[:, p - LABEL : p - LABEL + 6000].T.astype(np.float32))
            names.append(f"BITTERN_{len(names)}")
            s_samples.append(LABEL + s - p)
    few = slice(0, 12)
    np.savez(
        picked / "shoreline.npz",
        data=np.array(data[few]),
        itp=np.full(len(data[few]), LABEL),
        its=np.array(s_samples[few]),
        name=np.array(names[few]),
        order="ZNE",
        station=np.array(["QX.HERON"] * len(data[few])),
    )
    (picked / "evaluation.toml").write_text(EVALUATION.format(folder=picked, picked=picked))
    candidates = ready_for_traces(load_evaluation(picked / "evaluation.toml"), NAMES)
    labelled = open_labelled("npz", str(picked / "shoreline.npz"))
    [piece] = labelled.pieces(64)
    tables = []
    for name, table in examine(labelled.read(piece), list(candidates.values())).items():
        named = table.drop_columns(["strata"]).append_column("weight", pa.repeat(name, len(table)))
        tables.append(named.append_column("dataset", pa.repeat("shoreline", len(table))))
    return pa.concat_tables(tables)


@pytest.fixture
def evaluation(picked: Path, examined: pa.Table, tmp_path: Path) -> Path:
    """An evaluation file whose oracle and noise have been run; its votes are those of `serve`."""
    solved = [
        {"candidate": name, "phase": phase, "target_per_hour": 1.0, "threshold": threshold}
        for name, phases in THRESHOLDS.items()
        for phase, threshold in phases.items()
    ]
    keep(tmp_path / "out", "traces", examined)
    keep(tmp_path / "out", "noise_thresholds", pa.Table.from_pylist(solved, THRESHOLD_SCHEMA))
    keep(tmp_path / "out", "noise_windows", NOISE_SCHEMA.empty_table())
    path = tmp_path / "evaluation.toml"
    path.write_text(EVALUATION.format(folder=tmp_path, picked=picked))
    return path


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
