"""A store that refuses, throttles and misses, through the commands; and no secret in anything told.

Secrets are planted wherever credentials may stand, the store repeats them in its errors, every
process logs at DEBUG, and then all that was written is searched.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog import requests
from catalog.query import Catalog
from catalog.schema import TraceId, day_start_ns
from catalog.store import open_store
from service.cli import main
from tests.faults import Answer, FaultyS3
from workers.synthetic import station_day, write_sds

ROOT = Path(__file__).parents[2]
SECRET = "Zq7Planted"
"""In every secret of these tests and in nothing else."""

CAMPAIGN = """\
name = "fetching"
catalog = "{catalog}"
[archive]
kind = "sds"
root = "{archive}"
[select]
stations = ["XX.*"]
start = 2024-03-01
end = 2024-03-02
[[candidate]]
name = "synthetic"
weights = "builtin:synthetic"
[compute]
workers = 1
max_attempts = 2
"""

COMMAND = """\
import sys, types
import service.cluster
folder = sys.argv[1]
service.cluster.tempfile = types.SimpleNamespace(mkdtemp=lambda **how: folder)
service.cluster.shutil = types.SimpleNamespace(rmtree=lambda *what, **how: None)
from service.cli import main
sys.exit(main(sys.argv[2:]))
"""

LOUD = "import logging\nlogging.basicConfig(level=logging.DEBUG)\n"
"""As sitecustomize, in every process, those of Ray too."""

HOSTILE = f"{{key}} {SECRET}-secret-key {SECRET}-token"


@dataclass
class Shell:
    """Runs tidepick in processes of its own; all that they print and Ray logs is kept."""

    folder: Path
    ray: Path
    environment: dict[str, str]
    told: str = ""

    def tidepick(self, *words: str, **environment: str | None) -> tuple[int, str]:
        """The exit code and all that was printed."""
        variables = {**self.environment, **environment}
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, str(self.ray), *words],
            env={name: value for name, value in variables.items() if value is not None},
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
        )
        told = done.stdout + done.stderr
        self.told += told
        return done.returncode, told

    def campaign(self, **fields: str) -> str:
        path = self.folder / "campaign.toml"
        path.write_text(CAMPAIGN.format(**fields))
        return str(path)

    def searched(self) -> None:
        """Nothing that was told, and no file of Ray's, has a secret in it."""
        assert SECRET not in self.told, self.told[max(self.told.index(SECRET) - 500, 0) :][:1500]
        for path in self.ray.rglob("*"):
            if path.is_file():
                assert SECRET.encode() not in path.read_bytes(), path


@pytest.fixture
def shell(
    tmp_path: Path, s3: Any, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shell]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", f"{SECRET}KEY")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"{SECRET}-secret-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", f"{SECRET}-token")
    (tmp_path / "sitecustomize.py").write_text(LOUD)
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}:{ROOT}",
        "OMP_NUM_THREADS": "1",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
    }
    ray = Path(tempfile.mkdtemp(prefix="tp-", dir="/tmp"))  # short: Ray's sockets live in it
    try:
        yield Shell(tmp_path, ray, environment)
    finally:
        shutil.rmtree(ray, ignore_errors=True)


@pytest.fixture
def archive(tmp_path: Path, s3: Any, shell: Shell, faulty_s3: FaultyS3) -> str:
    """Five stations of a minute each."""
    rng, start = np.random.default_rng(0), day_start_ns(date(2024, 3, 1))
    for name in ("DENY", "GONE", "SIGN", "SLOW", "WELL"):
        write_sds(tmp_path / "sds", [station_day(TraceId("XX", name, "", "HH"), start, 60, 0, rng)])
    store = open_store(s3.url("sds"))
    for path in sorted((tmp_path / "sds").rglob("*.*.D.*")):
        store.create(str(path.relative_to(tmp_path / "sds")), path.read_bytes())
    faulty_s3.heal()
    return str(s3.url("sds"))


@pytest.mark.slow
def test_each_refusal_ends_in_its_own_outcome_and_no_secret_is_told(
    s3: Any, shell: Shell, archive: str, faulty_s3: FaultyS3
) -> None:
    campaign = shell.campaign(catalog=s3.url("catalog"), archive=archive)
    faulty_s3.fail(Answer(403, "AccessDenied", HOSTILE), r"GET .*XX\.DENY")
    faulty_s3.fail(Answer(403, "SignatureDoesNotMatch", HOSTILE), r"GET .*XX\.SIGN")
    faulty_s3.fail(Answer(404, "NoSuchKey", HOSTILE), r"GET .*XX\.GONE")
    faulty_s3.fail(Answer(429, "TooManyRequests", HOSTILE), r"GET .*XX\.SLOW")
    assert shell.tidepick("plan", campaign)[0] == 0
    code, _ = shell.tidepick("run", campaign)
    assert code == 1
    assert shell.tidepick("status", s3.url("catalog"))[0] in (0, 1)
    found = {
        row["station"]: row for row in Catalog(s3.url("catalog")).sql("FROM coverage").to_pylist()
    }
    assert {station: row["outcome"] for station, row in found.items()} == {
        "DENY": "access_denied",
        "SIGN": "access_denied",
        "GONE": "no_data",
        "SLOW": "failed",
        "WELL": "picked",
    }
    assert "throttled (429 TooManyRequests)" in found["SLOW"]["detail"]
    assert "after 2 attempts" in found["SLOW"]["detail"]
    (asked,) = {n for name, n in faulty_s3.asked.items() if "DENY..HHZ" in name and "GET" in name}
    assert asked == 1, "a refusal is asked for once by a worker"

    faulty_s3.heal()
    code, _ = shell.tidepick("run", campaign, "--retry", "access_denied,failed,no_data")
    outcomes = Catalog(s3.url("catalog")).sql("SELECT DISTINCT outcome FROM coverage").to_pylist()
    assert code == 0 and outcomes == [{"outcome": "picked"}], "another run asks afresh"

    assert any(shell.ray.rglob("worker-*")), "Ray's logs are searched too"
    assert "DEBUG" in shell.told
    shell.searched()
    store = open_store(s3.url("catalog"))
    entries = list(store.list())
    assert len(entries) > 10
    for entry in entries:
        assert SECRET.encode() not in store.fetch(entry.key)[0], entry.key


def process(shell: Shell, script: str) -> dict[str, str | None]:
    """An environment whose credentials come from a process alone."""
    path = shell.folder / "process.py"
    path.write_text(script)
    (shell.folder / "config").write_text(
        f"[profile seismic]\ncredential_process = {sys.executable} {path}\n"
    )
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    return {"AWS_PROFILE": "seismic", **dict.fromkeys(names)}


FAILS = f"import sys\nsys.stderr.write('{SECRET}-stderr')\nsys.exit(1)\n"
RAVES = f"print('{SECRET}-stdout')\n"

Break = Callable[[Shell, FaultyS3], dict[str, str | None]]


def answers(status: int, code: str) -> Break:
    def told(shell: Shell, faulty_s3: FaultyS3) -> dict[str, str | None]:
        faulty_s3.fail(Answer(status, code, HOSTILE))
        return {}

    return told


WAYS: dict[str, tuple[Break, str]] = {
    "wrong key": (answers(403, "InvalidAccessKeyId"), "are refused (403 InvalidAccessKeyId)"),
    "wrong secret": (answers(403, "SignatureDoesNotMatch"), "SignatureDoesNotMatch"),
    "expired": (answers(400, "ExpiredToken"), "are refused (400 ExpiredToken)"),
    "refused": (answers(403, "AccessDenied"), "access denied"),
    "odd": (answers(400, f"{SECRET}<b>"), "refuses the request (400)"),
    "no bucket": (answers(404, "NoSuchBucket"), "no such bucket"),
    "process fails": (lambda shell, _: process(shell, FAILS), "no credentials from"),
    "process raves": (lambda shell, _: process(shell, RAVES), "no credentials from"),
    "no such host": (
        lambda *_: {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"},
        "no whole answer (EndpointConnectionError)",
    ),
    "endpoint with a password": (
        lambda *_: {"AWS_ENDPOINT_URL": f"http://user:{SECRET}@127.0.0.1:9"},
        "AWS_ENDPOINT_URL has a password in it",
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_no_failure_tells_a_secret(
    s3: Any,
    shell: Shell,
    faulty_s3: FaultyS3,
    way: str,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Commands that fail before any work begins, in this process."""
    monkeypatch.setattr(requests, "FIRST_WAIT_S", 0.001)
    monkeypatch.setenv("AWS_CONFIG_FILE", shell.environment["AWS_CONFIG_FILE"])
    campaign = shell.campaign(catalog=s3.url("catalog"), archive=s3.url("sds"))
    for name, value in WAYS[way][0](shell, faulty_s3).items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    caplog.set_level(logging.DEBUG)
    for words in (["plan", campaign], ["run", campaign], ["status", s3.url("catalog")]):
        assert main(words) == 2
        out, told = capfd.readouterr()
        assert WAYS[way][1] in told.splitlines()[-1] and "Traceback" not in told
        assert SECRET not in out + told
    assert caplog.text and SECRET not in caplog.text


SIGNED_URL = f"s3://bucket/x?X-Amz-Credential=A&X-Amz-Signature={SECRET}"


@pytest.mark.parametrize(
    ("catalog", "archive"),
    [
        (f"s3://user:{SECRET}@bucket/x", "archive"),
        ("catalog", f"s3://user:{SECRET}@bucket/x"),
        ("catalog", SIGNED_URL),
    ],
)
def test_a_campaign_with_credentials_in_a_url_is_refused_unseen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], catalog: str, archive: str
) -> None:
    path = tmp_path / "campaign.toml"
    path.write_text(CAMPAIGN.format(catalog=catalog, archive=archive))
    wrong = "catalog" if "s3" in catalog else "archive.root"
    for words in (["plan", str(path)], ["run", str(path)]):
        assert main(words) == 2
        _, told = capsys.readouterr()
        assert f"{wrong}: a s3:// URL with a password or a signature" in told
        assert SECRET not in told
    for words in (
        ["status", SIGNED_URL],
        ["ingest", SIGNED_URL, str(tmp_path), "--start", "2024-03-01", "--end", "2024-03-02"],
    ):
        assert main(words) == 2
        _, told = capsys.readouterr()
        assert "without" in told and SECRET not in told


@pytest.mark.parametrize(
    "address",
    [
        f"http://user:{SECRET}@127.0.0.1:9",
        f"ray://user:{SECRET}@127.0.0.1:9",
        f"{SECRET}@127.0.0.1:9",
        f"http://127.0.0.1:9/?token={SECRET}",
    ],
)
def test_an_address_with_credentials_is_refused_unseen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], address: str
) -> None:
    path = str(tmp_path / "nowhere.toml")  # which nothing is said of: the address comes first
    for words in (["run", path], ["submit", path], ["eval", "oracle", path]):
        assert main([*words, "--address", address]) == 2
        told = "".join(capsys.readouterr())
        assert "--address: " in told and "without" in told and SECRET not in told
