"""What takes processes of its own: memory of a worker, two workers, a whole run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.benchmarks.days import ALIKE, DAY, Scope, Stretch

TREE = Path(__file__).resolve().parents[2]
LONGEST_S = 300

CAMPAIGN = """\
name = "bench"
catalog = "{folder}/catalogue"
[archive]
kind = "sds"
root = "{root}"
[select]
stations = ["{trace.network}.{trace.station}"]
start = {start}
end = {end}
[[candidate]]
name = "synthetic"
weights = "builtin:synthetic"
"""


class Worker:
    """A fresh process on one core that has picked one station-day (tests/benchmarks/worker.py)."""

    def __init__(self, stretch: Stretch, core: int, with_ray: bool = False) -> None:
        arguments = [stretch.root, core, "ray" if with_ray else "-", DAY.isoformat(), *ALIKE]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.worker", *map(str, arguments)],
            cwd=TREE,
            env=_environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.first = self.answer()

    def go(self) -> None:
        """Begin a shard of as many station-days as there are in ALIKE."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with {self._process.wait()}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(LONGEST_S)


def workers(stretch: Stretch, scope: Scope) -> dict[str, Any]:
    """Memory of a worker, and how much faster two on two cores are than one on one: wall clock.

    Memory, GB: `rss_gb` while it picks a shard and so reads the next station-day ahead,
    `rss_one_day_gb` of a station-day alone, `rss_imports_gb` of both before any work.
    """
    result: dict[str, Any] = {}
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    team = [Worker(stretch, core) for core in cores[:2]]
    try:
        alone, together = [], []
        shard = {}
        for _ in range(scope.rounds):
            team[0].go()
            shard = team[0].answer()
            alone.append(shard["ended"] - shard["begun"])
            if len(team) == 2:
                for worker in team:
                    worker.go()
                answers = [worker.answer() for worker in team]
                begun, ended = (
                    f(a[k] for a in answers) for f, k in ((min, "begun"), (max, "ended"))
                )
                together.append(ended - begun)
        result["rss_gb"] = shard["shard_gb"]
        result["rss_one_day_gb"] = team[0].first["one_day_gb"]
        result["rss_imports_gb"] = team[0].first["imports_gb"]
        result["two_workers"] = 2 * min(alone) / min(together) if together else None
        result["worker_day_s"] = min(alone) / len(ALIKE)
    finally:
        for worker in team:
            worker.end()
    actor = Worker(stretch, cores[0], with_ray=True)
    actor.end()
    result["rss_ray_imports_gb"] = actor.first["imports_gb"]
    return result


def start_to_first_shard_s(folder: Path, stretch: Stretch) -> float:
    """Wall clock from the start of `tidepick run`, with a Ray of its own, to its first commit.

    One station-day, one worker.
    """
    end = DAY.replace(day=DAY.day + 1)
    text = CAMPAIGN.format(
        folder=folder, root=stretch.root, trace=stretch.trace, start=DAY, end=end
    )
    campaign = folder / "campaign.toml"
    campaign.write_text(text)
    begun = time.perf_counter()
    with (folder / "run.log").open("w+") as log:
        run = subprocess.Popen(
            [sys.executable, "-m", "service.cli", "run", str(campaign)],
            cwd=TREE,
            env=_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        while not any(folder.glob("catalogue/commits/*/*.json")):
            if run.poll() is not None or time.perf_counter() - begun > LONGEST_S:
                run.terminate()
                log.seek(0)
                raise RuntimeError(f"tidepick run made no commit: {log.read()[-2000:]}")
            time.sleep(0.01)
        seconds = time.perf_counter() - begun
        if run.wait(LONGEST_S):
            log.seek(0)
            raise RuntimeError(f"tidepick run failed: {log.read()[-2000:]}")
    return seconds


def _environment() -> dict[str, str]:
    """One thread for each numerical library, as Ray gives an actor with one CPU."""
    return os.environ | {"OMP_NUM_THREADS": "1"}
