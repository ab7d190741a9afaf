"""A campaign ten times as long takes no more memory to plan, to account for and to look at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
MONTHS, TRACES = 12, 100
GROWTH_MB = 60
"""Far less than 330,000 station-days more would take as objects, each with a row of coverage."""


@pytest.fixture(scope="module")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What tests/benchmarks/ledger.py finds of 1,200 and of 12,000 shards."""
    folder = tmp_path_factory.mktemp("simulated")
    shards = [MONTHS * TRACES, 10 * MONTHS * TRACES]
    script = (
        "import json, sys; sys.path.insert(0, 'tests/benchmarks'); import ledger; "
        f"print(json.dumps(ledger.measure({shards}, {str(folder)!r}, {TRACES})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("step", ["plan", "start_none", "start_all", "start_known", "status"])
def test_memory_does_not_grow_with_the_length_of_a_campaign(
    peaks: dict[str, dict[str, Any]], step: str
) -> None:
    short, long = peaks.values()
    assert long[step]["mb"] - short[step]["mb"] < GROWTH_MB
