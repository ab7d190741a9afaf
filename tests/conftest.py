"""What tests share: a real S3 endpoint on loopback, and the real data where they are present."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults import FaultyS3
from tests.servers import HOST, await_answer, free_port

DATA = Path(__file__).parents[1].parent / "shared" / "data"


@dataclass(frozen=True)
class S3Bucket:
    """A fresh, empty bucket. endpoint: the server's URL."""

    bucket: str
    endpoint: str

    def url(self, prefix: str = "") -> str:
        return f"s3://{self.bucket}/{prefix}".rstrip("/")


@pytest.fixture(scope="session")
def s3_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a moto_server of our own, ended with the session."""
    with moto_server(tmp_path_factory.mktemp("moto") / "log") as endpoint:
        yield endpoint


@contextmanager
def moto_server(log_path: Path) -> Iterator[str]:
    """URL of a fresh moto_server on loopback, which logs every request."""
    port = free_port()
    endpoint = f"http://{HOST}:{port}"
    command = [
        sys.executable,
        "-c",
        "from moto.server import main; main()",
        *("-H", HOST, "-p", str(port)),
    ]
    with log_path.open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            await_answer(f"{endpoint}/moto-api/", server, log_path)
            yield endpoint
        finally:
            server.terminate()
            server.wait(timeout=10)


@pytest.fixture
def s3(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """A fresh bucket, and an environment in which every S3 client finds it."""
    import boto3
    import s3fs

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3fs.S3FileSystem.clear_instance_cache()
    bucket = f"test-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=bucket)
    return S3Bucket(bucket, s3_endpoint)


@pytest.fixture
def faulty_s3(s3: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyS3]:
    """A proxy that fails when told to; every S3 client finds the bucket of `s3` through it."""
    with FaultyS3(s3.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint)
        yield proxy


@pytest.fixture(scope="session")
def data() -> Path:
    """The real data; the test is skipped where they are not beside the checkout."""
    if not DATA.is_dir():
        pytest.skip(f"no real data at {DATA}")
    return DATA
