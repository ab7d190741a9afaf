"""A small campaign under attack, and workers that cannot start at first."""

from __future__ import annotations

import json
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.archive import Network, fill_archive
from tests.chaos.campaign import place, run_seed
from tests.chaos.endpoints import ROOT, client, environment
from tests.chaos.people import command
from tests.chaos.proxy import Proxy
from tests.chaos.test_readers import through

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds actors in /proc"),
]


def test_a_small_campaign_under_attack(tmp_path: Path) -> None:
    with place(Network.of(24), tmp_path) as where:
        result = run_seed(where, 7, actions=6, say=lambda text: None)
    assert result.holds, json.dumps(result.to_json(), indent=1)
    assert sum(result.deeds.values()) >= 6 and sum(result.faults.values()) > 20


class Unwilling(Proxy):
    """It refuses the first so many requests for each weights; each ends a worker's start."""

    refusals = 0

    def fate(self, what: str, nth: int, rates: Mapping[str, float]) -> tuple[str, random.Random]:
        refused = what.startswith("GET ") and what.endswith("/model") and nth <= self.refusals
        return "403" if refused else "", random.Random()


@pytest.mark.parametrize(("refusals", "code"), [(1, 0), (1000, 2)])
def test_a_start_that_fails_is_tried_again(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refusals: int, code: int
) -> None:
    """It ended the run, and with it the work of all other workers."""
    network = Network.of(4)
    bucket = f"starts-{refusals}"
    monkeypatch.setattr("tests.chaos.archive.BUCKET", f"{bucket}-archive")
    fill_archive(network, tmp_path / "archive", s3.endpoint)
    client(s3.endpoint).create_bucket(Bucket=bucket)
    campaign = tmp_path / "campaign.toml"
    campaign.write_text(network.campaign(bucket).replace("workers = 3", "workers = 1"))
    monkeypatch.setattr(Unwilling, "refusals", refusals)
    with through(s3.endpoint, {}, Unwilling) as (url, proxy):
        done = subprocess.run(
            command("run", campaign), cwd=ROOT, env=environment(url), capture_output=True, text=True
        )
    assert done.returncode == code, done.stderr
    assert proxy.faults["403"] == (2 if code == 0 else 3)  # of each of two candidates
    if code:
        error = json.loads(done.stdout)["error"]
        assert error.startswith("no worker could start: ") and "AccessDenied" in error
