"""The S3 endpoint and the proxy before it, as processes of a test; and how to reach them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.store import S3Options
from tests.servers import HOST, free_port

ROOT = Path(__file__).parents[2]
MOTO = "from moto.server import main; main()"


def environment(endpoint: str) -> dict[str, str]:
    """That of a process which knows no S3 but this one."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
    return kept | {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


@contextmanager
def inhabit(environment: Mapping[str, str]) -> Iterator[None]:
    """This process in another environment, for as long as this lasts."""
    before = dict(os.environ)
    os.environ.clear()
    os.environ |= environment
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before


def options(endpoint: str) -> S3Options:
    return S3Options(endpoint_url=endpoint, region="us-east-1")


def client(endpoint: str) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
    )


@contextmanager
def moto(log: Path) -> Iterator[str]:
    """URL of a moto_server."""
    port = free_port()
    command = [sys.executable, "-c", MOTO, "-H", HOST, "-p", str(port)]
    with log.open("wb") as out:
        server = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        await_server(f"http://{HOST}:{port}/moto-api/", server, log)
        yield f"http://{HOST}:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


@dataclass
class Door:
    """A proxy that runs. counts: what it says of itself once it has ended."""

    url: str
    process: subprocess.Popen[bytes]
    counts: dict[str, dict[str, int]]

    def close(self) -> None:
        """Connections are refused from now on."""
        self.process.send_signal(signal.SIGUSR1)

    def open(self) -> None:
        self.process.send_signal(signal.SIGUSR2)

    def admit(self) -> None:
        """What was refused is given from now on."""
        self.process.send_signal(signal.SIGHUP)


@contextmanager
def faulty(upstream: str, seed: int, folder: Path, refused: str) -> Iterator[Door]:
    """The proxy of a seed before an endpoint. refused: part of the path of what is, at first."""
    port, counts, log = free_port(), folder / "faults.json", folder / "proxy.log"
    command = [sys.executable, "-m", "tests.chaos.proxy", "--upstream", upstream]
    command += ["--port", str(port), "--seed", str(seed), "--counts", str(counts)]
    command += ["--refuse", refused]
    with log.open("wb") as out:
        process = subprocess.Popen(command, cwd=ROOT, stdout=out, stderr=out)
    door = Door(f"http://{HOST}:{port}", process, {})
    try:
        await_server(door.url, process, log)
        yield door
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(timeout=30)
        if counts.exists():
            door.counts.update(json.loads(counts.read_text()))


def await_server(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until it answers anything at all."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"no server at {url}: {log.read_text()}")
        try:
            urllib.request.urlopen(url, timeout=5).close()
            return
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"no answer at {url}: {log.read_text()}")
