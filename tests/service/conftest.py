"""Small campaigns on real stores, run in processes that the tests may kill at any step."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog.commits import Commit, read_commits
from catalog.query import Catalog
from catalog.schema import TraceId, day_start_ns
from catalog.store import Store, open_store
from workers.synthetic import network_days, station_day, write_sds

ROOT = Path(__file__).parents[2]
CANDIDATES = ("synthetic", "synthetic_early")
PATIENCE_S = 60.0

CAMPAIGN = """\
name = "small"
catalog = "{catalog}"
[archive]
kind = "{kind}"
root = "{archive}"
[select]
stations = ["XX.*"]
start = {start}
end = {end}
{candidates}
[compute]
workers = 2
"""


class Killable:
    """The process that forks the runs (killable.py)."""

    def __init__(self) -> None:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("killable.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )

    def ask(self, verb: str, value: object) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({verb: value}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=30)


@dataclass(frozen=True)
class Ended:
    """How a run ended. won: the commits that it was told are its own."""

    code: int
    won: int
    log: str


@dataclass
class Trial:
    """A campaign of two stations and two days, with a catalogue of its own."""

    folder: Path
    url: str
    archive: Path
    killable: Killable
    environment: dict[str, str]
    start_day: date = date(2024, 3, 1)
    end_day: date = date(2024, 3, 3)
    candidates: Sequence[str] = CANDIDATES
    kind: str = "sds"
    _logs: dict[int, Path] = field(default_factory=dict)

    def campaign(self) -> Path:
        """The campaign file, as the trial now stands."""
        path = self.folder / "campaign.toml"
        tables = [f'[[candidate]]\nname = "{c}"\nweights = "builtin:{c}"' for c in self.candidates]
        text = CAMPAIGN.format(
            catalog=self.url,
            kind=self.kind,
            archive=self.archive,
            start=self.start_day,
            end=self.end_day,
            candidates="\n".join(tables),
        )
        if not path.exists() or path.read_text() != text:  # another run may be reading it
            path.write_text(text)
        return path

    def begin(
        self,
        moment: str = "",
        prefix: str = "",
        nth: int = 0,
        hold: Path | None = None,
        retry: Sequence[str] = (),
        **environment: str,
    ) -> int:
        """Start a run, to be stopped as killable.py tells; returns its pid."""
        log = self.folder / f"log.{uuid.uuid4().hex}"
        stop = {"moment": moment, "prefix": prefix, "nth": nth, "hold": hold and str(hold)}
        pid = self.killable.ask(
            "run",
            {
                "campaign": str(self.campaign()),
                "retry": list(retry),
                "stop": stop if moment else None,
                "environment": self.environment | environment,
                "log": str(log),
            },
        )
        self._logs[pid] = log
        return pid

    def end(self, pid: int) -> Ended:
        code = self.killable.ask("wait", pid)
        log = self._logs.pop(pid).read_text()
        won = json.loads(log.splitlines()[-1])["won"] if code == 0 else 0
        return Ended(code, won, log)

    def run(self, *stop: Any, **options: Any) -> Ended:
        return self.end(self.begin(*stop, **options))

    def complete(self, **options: Any) -> Ended:
        """Run, unstopped, to the end."""
        ended = self.run(**options)
        assert ended.code == 0, ended.log
        return ended

    def store(self) -> Store:
        return open_store(self.url)

    def commits(self) -> list[Commit]:
        store = self.store()
        return read_commits(store, [entry.key for entry in store.list("commits/")])

    def attempts(self) -> set[str]:
        return {entry.key for entry in self.store().list("picks/")}

    def orphans(self) -> set[str]:
        """Attempts that no commit names."""
        return self.attempts() - {file["path"] for c in self.commits() for file in c.files}

    def rows(self, leave_out: Sequence[str] = ()) -> dict[str, list[dict[str, Any]]]:
        """The whole catalogue as its readers see it: every row and column, sorted."""
        catalog = Catalog(self.url)
        tables = {view: catalog.sql(f"SELECT * FROM {view}") for view in ("picks", "coverage")}
        return {
            view: table.drop_columns([n for n in leave_out if n in table.column_names])
            .sort_by([(name, "ascending") for name in table.column_names if name not in leave_out])
            .to_pylist()
            for view, table in tables.items()
        }


@pytest.fixture(scope="session")
def whole_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """XX.ONE across midnight; XX.TWO for ten seconds of the first day and well into the second."""
    root = tmp_path_factory.mktemp("whole") / "archive"
    one, two = TraceId("XX", "ONE", "", "HH"), TraceId("XX", "TWO", "", "HH")
    midnight = day_start_ns(date(2024, 3, 2))
    rng = np.random.default_rng(3)
    write_sds(
        root,
        [
            *network_days([one], midnight - 300 * 10**9, 600.0, 90.0, rng),
            station_day(two, midnight - 43_200 * 10**9, 10.0, 0.0, rng, 0.0),
            station_day(two, midnight + 3600 * 10**9, 300.0, 90.0, rng),
        ],
    )
    return root


@pytest.fixture(scope="session")
def archive(whole_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `whole_archive`, before the second day of XX.TWO has come."""
    root = tmp_path_factory.mktemp("early") / "archive"
    shutil.copytree(whole_archive, root)
    for path in sorted(root.glob("2024/XX/TWO/*/*.062")):
        path.unlink()
    return root


@pytest.fixture(scope="session")
def killable() -> Iterator[Killable]:
    process = Killable()
    try:
        yield process
    finally:
        process.close()


@pytest.fixture(scope="session")
def new_trial(
    archive: Path, killable: Killable, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Trial]:
    """Makes trials with their catalogues in local directories."""

    def make() -> Trial:
        folder = tmp_path_factory.mktemp("trial")
        return Trial(folder, str(folder / "catalog"), archive, killable, {})

    return make


@pytest.fixture(params=["local", "s3"])
def trial(request: pytest.FixtureRequest, new_trial: Callable[[], Trial]) -> Trial:
    """A fresh trial, once on a local directory and once on an S3 endpoint."""
    if request.param == "s3":
        return request.getfixturevalue("s3_trial")  # type: ignore[no-any-return]
    return new_trial()


@pytest.fixture
def s3_trial(s3: Any, new_trial: Callable[[], Trial]) -> Trial:
    trial = new_trial()
    trial.url = s3.url("catalog")
    trial.environment = {k: v for k, v in os.environ.items() if k.startswith("AWS_")}
    return trial


@pytest.fixture(scope="session")
def undisturbed(new_trial: Callable[[], Trial]) -> Trial:
    """The same campaign, run once by one process that nothing befell."""
    trial = new_trial()
    trial.complete()
    return trial


@pytest.fixture(scope="session")
def soon() -> Callable[[Callable[[], bool]], None]:
    """Waits until something is true, within reason."""

    def wait(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not true():
            assert time.monotonic() < deadline, "it never came to pass"
            time.sleep(0.01)

    return wait
