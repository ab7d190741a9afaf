"""Exactly once on Ray: drivers and workers of `tidepick run` die, and the next run completes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
COMMITS = 84
"""2 stations x 21 days x 2 candidates: enough to be killed in the middle."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds workers in /proc"),
]


@dataclass(frozen=True)
class Driver:
    """A `tidepick run --json` that leads a session, to which its Ray belongs."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path

    def send(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        return self.process.wait(timeout=240)

    def facts(self) -> dict[str, Any]:
        return dict(json.loads(self.out.read_text()))

    def session(self) -> dict[int, str]:
        """The living processes of the session, also where the driver is dead: pid -> title."""
        found = {}
        for status in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, _, _, session = status.read_text().rpartition(")")[2].split()[:4]
                title = status.with_name("cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue  # it ended meanwhile
            if int(session) == self.process.pid and state != "Z":
                found[int(status.parent.name)] = title.replace(b"\0", b" ").decode()
        return found


@pytest.fixture
def drive(tmp_path: Path) -> Iterator[Callable[[Any], Driver]]:
    """Starts drivers; at the end nothing is left of them, nor of their Ray."""
    short = tempfile.mkdtemp(prefix="t", dir="/tmp")  # Ray's sockets need a short path
    drivers: list[Driver] = []

    def start(trial: Any) -> Driver:
        out, err = (tmp_path / f"{name}{len(drivers)}" for name in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "service.cli", "run", str(trial.campaign()), "--json"],
                cwd=ROOT,
                env={**os.environ, **trial.environment, "PYTHONPATH": str(ROOT), "TMPDIR": short},
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        drivers.append(Driver(process, out, err))
        return drivers[-1]

    yield start
    for driver in drivers:
        while left := driver.session():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.1)
        driver.process.wait()
    shutil.rmtree(short, ignore_errors=True)


@pytest.fixture
def weeks(trial: Any) -> Any:
    return replace(trial, end_day=date(2024, 3, 22))


@pytest.fixture(scope="module")
def undisturbed(new_trial: Callable[[], Any]) -> Any:
    trial = replace(new_trial(), end_day=date(2024, 3, 22))
    trial.complete()
    return trial


def test_a_killed_driver(
    weeks: Any, undisturbed: Any, drive: Callable[[Any], Driver], soon: Any
) -> None:
    """Its workers may go on for a moment: the next run does not wait for them."""
    first = drive(weeks)
    soon(lambda: begun(weeks, first))
    assert len(weeks.commits()) < COMMITS
    first.send(signal.SIGKILL)
    assert first.end() == -signal.SIGKILL
    second = drive(weeks)
    assert second.end() == 0, second.err.read_text()
    assert second.facts()["left"] == 0
    assert len(weeks.commits()) == COMMITS
    assert weeks.rows() == undisturbed.rows()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_driver_says_how_to_go_on(
    number: int, weeks: Any, undisturbed: Any, drive: Callable[[Any], Driver], soon: Any
) -> None:
    first = drive(weeks)
    soon(lambda: begun(weeks, first))
    assert len(weeks.commits()) < COMMITS
    first.send(number)
    assert first.end() == 130
    message = first.err.read_text()
    assert "tidepick: interrupted; run the same command to go on" in message
    assert "Traceback" not in message
    assert first.facts()["state"] == "interrupted"
    soon(lambda: not first.session())
    done = len(weeks.commits())  # all, where a busy machine's workers ended what they had in hand
    second = drive(weeks)
    assert second.end() == 0, second.err.read_text()
    facts = second.facts()
    assert (facts["already_committed"], facts["done_now"], facts["left"]) == (
        done,
        COMMITS - done,
        0,
    )
    assert weeks.rows() == undisturbed.rows()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_driver_that_is_interrupted_while_its_ray_starts(
    number: int, weeks: Any, drive: Callable[[Any], Driver], soon: Any
) -> None:
    driver = drive(weeks)
    soon(lambda: any("gcs_server" in title for title in driver.session().values()))
    driver.send(number)
    assert driver.end() == 130, driver.err.read_text()
    message = driver.err.read_text()
    assert "tidepick: interrupted; run the same command to go on" in message
    assert "Traceback" not in message
    assert driver.facts()["state"] == "interrupted" and not weeks.commits()
    soon(lambda: not driver.session())


def test_killed_workers_come_back(
    weeks: Any, undisturbed: Any, drive: Callable[[Any], Driver], soon: Any
) -> None:
    driver = drive(weeks)

    def workers() -> list[int]:
        return [pid for pid, title in driver.session().items() if "PickActor" in title]

    soon(lambda: begun(weeks, driver) and len(workers()) == 2)
    for pid in workers():
        os.kill(pid, signal.SIGKILL)
    assert len(weeks.commits()) < COMMITS
    assert driver.end() == 0, driver.err.read_text()
    facts = driver.facts()
    assert (facts["state"], facts["left"], facts["failures"]) == ("complete", 0, {})
    assert len(weeks.commits()) == COMMITS
    assert weeks.rows() == undisturbed.rows()


def begun(trial: Any, driver: Driver) -> bool:
    """It has committed something; asked of a driver that must not have ended by itself."""
    assert driver.process.poll() is None, driver.err.read_text()
    return bool(trial.commits())
