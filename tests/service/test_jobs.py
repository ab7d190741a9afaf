"""Real Ray jobs on a real head node, with the catalogue on an S3 endpoint."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest
import s3fs
from ray.job_submission import JobStatus, JobSubmissionClient

from catalog.query import Catalog
from catalog.schema import TraceId, day_start_ns
from tests.servers import await_answer, free_port
from workers.synthetic import station_day, write_sds
from workers.weights import BUILTIN

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HOST = "127.0.0.2"
"""Loopback, and not 127.0.0.1, for which Ray takes the address of a real interface."""

SECRET = "s3cr3t-that-must-never-be-written-down"
KEY_ID = "AKIATHATISNOBODYS"
TOKEN = "a-token-of-the-cluster-that-is-told-to-nobody"
AUTHORISED = {"Authorization": f"Bearer {TOKEN}"}

CAMPAIGN = """\
name = "a job's 🌊"
catalog = "{catalog}"
[archive]
kind = "sds"
root = "{archive}"
[select]
stations = ["{stations}"]
start = 2024-03-01
end = 2024-03-02
[[candidate]]
name = "mine"
weights = "my weights.safetensors"
[[candidate]]
name = "builtin"
weights = "builtin:synthetic_early"
[compute]
workers = 2
"""


@dataclass(frozen=True)
class Cluster:
    """A head node and the S3 endpoint that it knows. bucket: the campaigns' own."""

    address: str
    dashboard: str
    bucket: str
    log: Path


@pytest.fixture(scope="module")
def environment(s3_endpoint: str) -> Iterator[dict[str, str]]:
    """Credentials of our own, in this process and in the cluster's: nowhere else."""
    values = {
        "AWS_ENDPOINT_URL": s3_endpoint,
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        # Else Ray makes, or finds, a token of the machine's.
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
    }
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in values.items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()
        yield values


@pytest.fixture(scope="module")
def cluster(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """`ray start --head` with three logical CPUs, ended by SIGTERM."""
    boto3.client("s3").create_bucket(Bucket="jobs")
    gcs, dashboard, agent, client = (free_port(HOST) for _ in range(4))
    # Its sockets' paths must stay short.
    temporary = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
    log_path = tmp_path_factory.mktemp("head") / "log"
    binaries = Path(sys.executable).parent
    path = f"{binaries}{os.pathsep}{os.environ['PATH']}"
    with log_path.open("wb") as log:
        head = subprocess.Popen(
            [
                str(binaries / "ray"),
                "start",
                "--head",
                "--block",
                f"--node-ip-address={HOST}",
                f"--port={gcs}",
                f"--dashboard-host={HOST}",
                f"--dashboard-port={dashboard}",
                # Their defaults are fixed ports, which another Ray of this machine may hold.
                f"--dashboard-agent-listen-port={agent}",
                f"--ray-client-server-port={client}",
                "--disable-usage-stats",
                "--num-cpus=3",
                "--object-store-memory=200000000",
                f"--temp-dir={temporary}",
            ],
            env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
            stdout=log,
            stderr=log,
        )
        try:
            url = f"http://{HOST}:{dashboard}"
            await_answer(f"{url}/api/version", head, log_path, AUTHORISED)
            yield Cluster(f"{HOST}:{gcs}", url, "jobs", temporary)
        finally:
            head.terminate()
            head.wait(timeout=60)
            shutil.rmtree(temporary, ignore_errors=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two stations' five minutes, and weights that the cluster has never seen."""
    folder = tmp_path_factory.mktemp("job")
    start, rng = day_start_ns(date(2024, 3, 1)), np.random.default_rng(2)
    traces = (TraceId("XX", "ONE", "", "HH"), TraceId("XX", "TWO", "", "HH"))
    write_sds(folder / "archive", [station_day(t, start, 300.0, 60.0, rng) for t in traces])
    for ending in ("safetensors", "json"):
        shutil.copy(BUILTIN / f"synthetic.{ending}", folder / f"my weights.{ending}")
    return folder


def write_campaign(
    folder: Path, catalog: str, archive: str = "archive", stations: str = "*.*"
) -> Path:
    path = folder / "campaign.toml"
    path.write_text(CAMPAIGN.format(catalog=catalog, archive=archive, stations=stations))
    return path


def tidepick(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "service.cli", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
    )


def submit(cluster: Cluster, campaign: Path) -> tuple[int, dict[str, Any], str]:
    """`tidepick submit --json`: its exit code, what it printed, and the job's log."""
    done = tidepick("submit", campaign, "--address", cluster.dashboard, "--json")
    facts = json.loads(done.stdout)
    assert "job" in facts, facts
    return done.returncode, facts, done.stderr


def test_a_job_fills_a_catalogue_on_s3(cluster: Cluster, folder: Path) -> None:
    """With weights that are gone from where they were once the job has been submitted."""
    url = f"s3://{cluster.bucket}/first"
    sent = folder.with_name("sent")
    shutil.copytree(folder, sent)
    campaign = write_campaign(sent, url, str(folder / "archive"))
    done = tidepick("submit", campaign, "--address", cluster.dashboard, "--json", "--no-wait")
    shutil.rmtree(sent)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["catalog"] == url
    log = ended(cluster, facts["job"])
    sql = "SELECT candidate, count(*) AS n FROM picks GROUP BY 1"
    done = tidepick("query", url, sql, "--json")
    assert done.returncode == 0, done.stderr + log
    counts = {row["candidate"]: row["n"] for row in json.loads(done.stdout)}
    assert counts.keys() == {"mine", "builtin"} and min(counts.values()) > 0
    coverage = Catalog(url).sql("SELECT outcome FROM coverage")["outcome"].to_pylist()
    assert coverage == ["picked"] * 4


def test_a_job_again_does_nothing(cluster: Cluster, folder: Path) -> None:
    objects = listing(cluster, "first")
    assert any(key.startswith("first/commits/") for key in objects)
    campaign = write_campaign(folder, f"s3://{cluster.bucket}/first")
    code, facts, log = submit(cluster, campaign)
    assert (code, facts["state"]) == (0, "SUCCEEDED"), log
    assert listing(cluster, "first") == objects


def ended(cluster: Cluster, job: str) -> str:
    """Wait until a job has succeeded; returns its log."""
    client = JobSubmissionClient(cluster.dashboard, headers=AUTHORISED)
    deadline = time.monotonic() + 240
    while not (status := client.get_job_status(job)).is_terminal():
        assert time.monotonic() < deadline, client.get_job_logs(job)
        time.sleep(0.5)
    log: str = client.get_job_logs(job)
    assert status == JobStatus.SUCCEEDED, log
    return log


def test_run_joins_the_cluster(cluster: Cluster, folder: Path) -> None:
    """Archive and catalogue both on S3."""
    client = boto3.client("s3")
    for path in folder.glob("archive/**/*"):
        if path.is_file():
            client.upload_file(str(path), cluster.bucket, str(path.relative_to(folder)))
    url = f"s3://{cluster.bucket}/joined"
    campaign = write_campaign(folder, url, f"s3://{cluster.bucket}/archive")
    done = tidepick("run", campaign, "--address", cluster.address, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["outcomes"] == {"picked": 4}
    (run,) = Catalog(url).sql("SELECT * FROM runs").to_pylist()
    assert json.loads(run["machine"])["resources"]["CPU"] == 3, "a Ray of its own has others"


@pytest.mark.parametrize(
    ("archive", "stations", "why"),
    [
        ("archive", "YY.*", "select.stations: none of ['YY.*'] matches"),
        ("/nowhere", "*.*", "archive root /nowhere: no such folder"),
    ],
)
def test_a_job_that_cannot_be_run_tells_why(
    cluster: Cluster, folder: Path, archive: str, stations: str, why: str
) -> None:
    campaign = write_campaign(folder, f"s3://{cluster.bucket}/never", archive, stations)
    code, facts, log = submit(cluster, campaign)
    assert (code, facts["state"]) == (1, "FAILED")
    assert why in log and "Traceback" not in log
    assert not listing(cluster, "never")


def test_weights_are_checked_before_anything_is_submitted(cluster: Cluster, folder: Path) -> None:
    client = JobSubmissionClient(cluster.dashboard, headers=AUTHORISED)
    before = len(client.list_jobs())
    campaign = write_campaign(folder, f"s3://{cluster.bucket}/never")
    campaign.write_text(campaign.read_text().replace("my weights", "none"))
    done = tidepick("submit", campaign, "--address", cluster.dashboard)
    assert (done.returncode, done.stdout) == (2, "")
    assert "none.safetensors" in done.stderr and done.stderr.count("\n") == 1
    assert len(client.list_jobs()) == before


def test_another_server_is_no_dashboard(cluster: Cluster, folder: Path, s3_endpoint: str) -> None:
    campaign = write_campaign(folder, "never")
    done = tidepick("submit", campaign, "--address", s3_endpoint)
    assert done.returncode == 2
    assert done.stderr.startswith(f"tidepick: --address {s3_endpoint}: "), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr


@pytest.mark.parametrize("token", [TOKEN[::-1], None], ids=["another", "none"])
def test_a_cluster_that_does_not_know_our_token(
    cluster: Cluster,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    token: str | None,
) -> None:
    if token is not None:
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
    else:
        monkeypatch.setenv("HOME", str(tmp_path))  # where a token of the user's would be
        monkeypatch.delenv("RAY_AUTH_MODE")
        monkeypatch.delenv("RAY_AUTH_TOKEN")
    campaign = write_campaign(folder, f"s3://{cluster.bucket}/never")
    for command, address in (("submit", cluster.dashboard), ("run", cluster.address)):
        done = tidepick(command, campaign, "--address", address)
        assert (done.returncode, done.stdout) == (2, ""), done.stderr
        assert f"tidepick: --address {address}: " in done.stderr
        assert "RAY_AUTH" in done.stderr and "Traceback" not in done.stderr


def test_the_token_may_lie_in_a_file(
    cluster: Cluster, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As docker-compose.yml has it."""
    kept = tmp_path / "token"
    kept.write_text(TOKEN + "\n")
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(kept))
    campaign = write_campaign(folder, f"s3://{cluster.bucket}/by-file")
    done = tidepick("submit", campaign, "--address", cluster.dashboard, "--json", "--no-wait")
    assert done.returncode == 0, done.stderr
    ended(cluster, json.loads(done.stdout)["job"])


def test_no_credential_is_written_down(cluster: Cluster) -> None:
    """After all of the above: not in a job's description, a log, or an object."""
    client = JobSubmissionClient(cluster.dashboard, headers=AUTHORISED)
    jobs = client.list_jobs()
    assert len(jobs) >= 4
    for job in jobs:
        told = json.dumps(job.model_dump(), default=str)
        if job.submission_id:
            told += client.get_job_logs(job.submission_id)
        assert not any(word in told for word in (SECRET, KEY_ID, TOKEN))
        environment = (job.runtime_env or {}).get("env_vars", {})
        assert set(environment) <= {"AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION"}
    s3 = boto3.client("s3")
    keys = listing(cluster, "")
    assert any(key.startswith("first/commits/") for key in keys)
    for key in keys:
        body = s3.get_object(Bucket=cluster.bucket, Key=key)["Body"].read()
        assert not any(word.encode() in body for word in (SECRET, KEY_ID, TOKEN)), key
    logs = [path for path in cluster.log.glob("session_latest/logs/**/*") if path.is_file()]
    assert logs
    for path in logs:
        body = path.read_bytes()
        assert not any(word.encode() in body for word in (SECRET, TOKEN)), path


def listing(cluster: Cluster, prefix: str) -> dict[str, str]:
    """Key -> ETag of every object below a prefix."""
    pages = boto3.client("s3").get_paginator("list_objects_v2")
    return {
        entry["Key"]: entry["ETag"]
        for page in pages.paginate(Bucket=cluster.bucket, Prefix=prefix)
        for entry in page.get("Contents", [])
    }
