"""What infra/policies allows is what a campaign and its readers do, and nothing else."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
import s3fs

from catalog.query import Catalog
from catalog.store import AccessDenied, open_store
from service.status import read_status
from tests.conftest import moto_server

ROOT = Path(__file__).parents[2]
POLICIES = ROOT / "infra" / "policies"
NAMES = {
    "ARCHIVE_BUCKET": "archive",
    "ARCHIVE_PREFIX": "waveforms",
    "CATALOG_BUCKET": "catalogues",
    "CATALOG_PREFIX": "mine",
}
ACTIONS = {("GET", True): "GetObject", ("HEAD", True): "GetObject", ("PUT", True): "PutObject"}
ACTIONS |= {("GET", False): "ListBucket"}

Done = set[tuple[str, str]]  # action, resource


def policy(name: str) -> str:
    """A policy as a user fills it in."""
    text = (POLICIES / f"{name}.json").read_text()
    for placeholder, value in NAMES.items():
        text = text.replace(placeholder, value)
    return text


def allowed(*names: str) -> Done:
    statements = [s for name in names for s in json.loads(policy(name))["Statement"]]
    return {
        (action.removeprefix("s3:"), s["Resource"].removeprefix("arn:aws:s3:::"))
        for s in statements
        for action in ([s["Action"]] if isinstance(s["Action"], str) else s["Action"])
    }


@dataclass(frozen=True)
class Guarded:
    """An S3 endpoint where every request needs a user's permission. log: of all requests."""

    endpoint: str
    log: Path
    users: dict[str, dict[str, str]]

    def enter(self, user: str, patch: pytest.MonkeyPatch) -> None:
        for name, value in self.users[user].items():
            patch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()

    def done(self, since: int) -> Done:
        """Actions and resources of the requests that were answered after so many lines."""
        found: Done = set()
        for coloured in self.log.read_text().splitlines()[since:]:
            line = re.sub(r"\x1b\[[\d;]*m", "", coloured)
            match = re.search(r'"(GET|PUT|HEAD|POST|DELETE) (/\S*) HTTP/1.1" (\d+)', line)
            if match is None or match[2].startswith("/moto-api"):
                continue
            assert match[3] != "403", line
            url = urlsplit(match[2])
            bucket, _, key = url.path[1:].partition("/")
            query = parse_qs(url.query)
            assert not set(query) - {"list-type", "prefix", "delimiter", "encoding-type"}, line
            prefix = NAMES[{"archive": "ARCHIVE_PREFIX", "catalogues": "CATALOG_PREFIX"}[bucket]]
            if key:
                assert key.startswith(f"{prefix}/"), line
            found.add((ACTIONS[match[1], bool(key)], f"{bucket}/{prefix}/*" if key else bucket))
        return found

    def lines(self) -> int:
        return len(self.log.read_text().splitlines())


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, archive: Path) -> Iterator[Guarded]:
    """A filled archive, an empty bucket for catalogues, and a user for each kind of work."""
    log = tmp_path_factory.mktemp("guarded") / "log"
    with moto_server(log) as endpoint, pytest.MonkeyPatch.context() as patch:
        common = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        for name, value in common.items():
            patch.setenv(name, value)
        patch.setenv("AWS_ACCESS_KEY_ID", "admin")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "admin")
        s3, iam = boto3.client("s3"), boto3.client("iam")
        for bucket in ("archive", "catalogues"):
            s3.create_bucket(Bucket=bucket)
        for path in archive.rglob("*"):
            if path.is_file():
                s3.upload_file(
                    str(path), "archive", f"waveforms/{path.relative_to(archive).as_posix()}"
                )
        s3.put_object(Bucket="archive", Key="elsewhere/secret", Body=b"")
        users = {}
        for user, names in {
            "worker": ("read-archive", "write-catalog"),
            "reader": ("query-catalog",),
        }.items():
            iam.create_user(UserName=user)
            for name in names:
                iam.put_user_policy(UserName=user, PolicyName=name, PolicyDocument=policy(name))
            key = iam.create_access_key(UserName=user)["AccessKey"]
            users[user] = common | {
                "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
            }
        request = urllib.request.Request(
            f"{endpoint}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"}
        )
        urllib.request.urlopen(request).close()
        yield Guarded(endpoint, log, users)


def test_a_campaign_and_its_readers_do_what_the_policies_allow(
    guarded: Guarded, new_trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exactly: every action of a policy is used, and no other is."""
    trial = new_trial()
    trial.url, trial.archive = "s3://catalogues/mine/small", "s3://archive/waveforms"
    trial.environment = guarded.users["worker"]
    before = guarded.lines()
    ended = trial.complete()
    assert ended.won > 0
    assert trial.complete().won == 0, "and again, when all is committed"
    assert guarded.done(before) == allowed("read-archive", "write-catalog")

    guarded.enter("reader", monkeypatch)
    before = guarded.lines()
    assert read_status(trial.url)["lost"] == 0
    assert Catalog(trial.url).picks_at(0.3).num_rows > 0
    assert guarded.done(before) == allowed("query-catalog")


@pytest.mark.parametrize(
    ("user", "url"),
    [
        ("worker", "s3://archive/waveforms"),
        ("worker", "s3://catalogues/yours"),
        ("reader", "s3://catalogues/mine"),
    ],
)
def test_writing_elsewhere_is_refused(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch, user: str, url: str
) -> None:
    guarded.enter(user, monkeypatch)
    with pytest.raises(AccessDenied, match="access denied"):
        open_store(url).create("intruder", b"")


def test_reading_elsewhere_and_removing_are_refused(
    guarded: Guarded, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded.enter("worker", monkeypatch)
    with pytest.raises(AccessDenied):
        open_store("s3://archive/elsewhere").fetch("secret")
    assert open_store("s3://catalogues/mine").create("kept", b"")
    client = boto3.Session().client("s3")
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.delete_object(Bucket="catalogues", Key="mine/kept")
    guarded.enter("reader", monkeypatch)
    with pytest.raises(AccessDenied):
        list(open_store("s3://archive/waveforms").list())
