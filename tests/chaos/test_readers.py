"""Readers of a catalogue on an endpoint that is out of sorts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from catalog.query import Catalog
from tests.chaos.archive import Network, fill_archive
from tests.chaos.endpoints import ROOT, client, environment, faulty, options


def test_a_query_passes_over_what_passes(s3: Any, tmp_path: Path) -> None:
    """DuckDB reads through a file system of its own, which gave up at the first 429 or 500."""
    network = Network.of(16)
    fill_archive(network, tmp_path / "archive", s3.endpoint)
    client(s3.endpoint).create_bucket(Bucket="readers")
    campaign = tmp_path / "campaign.toml"
    campaign.write_text(network.campaign("readers"))
    command = [sys.executable, "-m", "tests.chaos.undisturbed", str(campaign)]
    subprocess.run(command, cwd=ROOT, env=environment(s3.endpoint), check=True)
    url, count = "s3://readers/catalog", "SELECT count(*) AS n FROM picks"
    wanted = Catalog(url, options(s3.endpoint)).sql(count)
    with faulty(s3.endpoint, 5, tmp_path) as door:
        for _ in range(3):
            assert Catalog(url, options(door.url)).sql(count) == wanted
    faults = door.counts["faults"]
    assert sum(faults.get(f"{status}", 0) for status in (429, 500, 503)) > 3, faults
