"""A run that has to stop, or to give something up, loses nothing else. On real Rays."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workers.actor
from catalog.query import Catalog
from catalog.schema import DAY_NS, TraceId, day_start_ns
from catalog.store import open_store
from service.campaign import load_campaign
from service.cli import main
from service.dispatch import DIED, HUNG, IN_FLIGHT
from service.outstanding import outstanding
from service.prepare import prepare
from workers.picker import Picker, Report, Work
from workers.synthetic import station_day, write_sds

FIRST = date(2024, 3, 1)
STATIONS = ("BAD", "ONE", "TWO")
DAYS = 4
PATIENCE = 0.1  # minutes
PLANNED = len(STATIONS) * DAYS

CAMPAIGN = """\
name = "limited"
catalog = "{catalog}"
[archive]
kind = "sds"
root = "{root}"
[select]
stations = ["XX.*"]
start = 2024-03-01
end = 2024-03-05
[[candidate]]
name = "synthetic"
weights = "builtin:synthetic"
[compute]
workers = 1
station_days_per_shard = {size}
{limits}
"""

VIEWS = {
    "picks": "SELECT * EXCLUDE (run, shard) FROM picks ORDER BY ALL",
    "coverage": "SELECT * EXCLUDE (run, shard, generation) FROM coverage ORDER BY ALL",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty seconds of each station on each day, with an earthquake or two."""
    root = tmp_path_factory.mktemp("limits") / "archive"
    rng = np.random.default_rng(5)
    for station in STATIONS:
        trace = TraceId("XX", station, "", "HH")
        starts = [day_start_ns(FIRST) + (24 * day + 6) * 3600 * 10**9 for day in range(DAYS)]
        write_sds(root, [station_day(trace, start, 60.0, 120.0, rng) for start in starts])
    return root


@pytest.fixture
def campaign(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes the campaign, with limits; shards are as large as it says."""
    monkeypatch.setattr("service.plan.SHARDS_AT_LEAST", 1)

    def write(limits: str = "", size: int = 1, catalog: str = "catalog") -> Path:
        text = CAMPAIGN.format(catalog=tmp_path / catalog, root=root, size=size, limits=limits)
        (tmp_path / "campaign.toml").write_text(text)
        return tmp_path / "campaign.toml"

    return write


@pytest.fixture
def undisturbed(campaign: Callable[..., Path]) -> dict[str, list[Any]]:
    """Every row of the same campaign, picked by one process that nothing befell."""
    prepared = prepare(load_campaign(campaign(catalog="undisturbed")))
    picker = Picker(prepared.assignment)
    asked = prepared.plan, prepared.assignment.candidates, prepared.store
    for work in outstanding(*asked, prepared.plan.months()):
        picker.pick(work)
    return rows(prepared.store.url)


def rows(url: str) -> dict[str, list[Any]]:
    catalog = Catalog(url)
    return {name: catalog.sql(sql).to_pylist() for name, sql in VIEWS.items()}


def employ(monkeypatch: pytest.MonkeyPatch, pick: Callable[[Any, Work], Report]) -> None:
    """Let the actors of the next Rays pick so. pick: of the picker and a work."""
    import ray

    class Other(workers.actor._PickActor):  # pickled by value, being local
        def picking(self, work: Work) -> Iterator[Report | None]:
            yield pick(self._picker, work)

    monkeypatch.setattr(workers.actor, "PickActor", ray.remote(Other))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("attempts", "fell"),
    [(1, [".8", ".1"]), (2, [".8", ".8", ".1", ".1"])],
    ids=["once", "twice"],
)
def test_a_station_day_that_kills_its_worker_is_given_up_alone(
    campaign: Callable[..., Path],
    undisturbed: dict[str, list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    attempts: int,
    fell: list[str],
) -> None:
    """Its shard goes down with it at first; what waits behind it is innocent. fell: sizes of the
    shards that went down."""
    noon = day_start_ns(date(2024, 3, 3)) + 12 * 3600 * 10**9
    deaths = tmp_path / "deaths"
    deaths.mkdir()

    def pick_poisoned(picker: Any, work: Work) -> Report:
        read = picker._archive.read

        class Archive:
            def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Any:
                if trace.station == "BAD" and start_ns < noon < end_ns:
                    (deaths / f"{time.time_ns()}.{len(work.shard.station_days)}").touch()
                    os.kill(os.getpid(), signal.SIGKILL)
                return read(trace, start_ns, end_ns)

        picker._archive, sound = Archive(), picker._archive
        try:
            return picker.pick(work)  # type: ignore[no-any-return]
        finally:
            picker._archive = sound

    with monkeypatch.context() as patch:
        employ(patch, pick_poisoned)
        path = campaign(f"max_attempts = {attempts}", size=8)
        assert main(["run", str(path), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert [name.suffix for name in sorted(deaths.iterdir())] == fell
    count = "1 attempt" if attempts == 1 else f"{attempts} attempts"
    assert facts["failures"] == {f"after {count}: {DIED}": 1}
    assert (facts["state"], facts["left"], facts["done_now"]) == ("incomplete", 0, PLANNED)

    url = facts["catalog"]
    found = rows(url)
    sizes = Catalog(url).sql("SELECT count(*) AS n FROM coverage GROUP BY shard")["n"].to_pylist()
    assert sorted(sizes) == [1] * 8 + [4], "the innocent shard was not taken apart"
    (failed,) = [row for row in found["coverage"] if row["outcome"] == "failed"]
    assert (failed["station"], failed["day"]) == ("BAD", date(2024, 3, 3))
    poisoned = [row for row in undisturbed["coverage"] if same(row, failed)]
    assert len(poisoned) == 1 and poisoned[0]["picks"] > 0
    assert [r for r in found["coverage"] if r != failed] == [
        r for r in undisturbed["coverage"] if r not in poisoned
    ]
    assert main(["status", url]) == 1
    assert f"tidepick run {path} --retry failed\n" in capsys.readouterr().out

    assert main(["run", str(path), "--retry", "failed"]) == 0
    assert rows(url) == undisturbed


@pytest.mark.slow
def test_a_reading_that_never_ends_is_given_up_and_slow_ones_are_not(
    campaign: Callable[..., Path],
    undisturbed: dict[str, list[Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One object is never answered for. Its day and those on either side, whose halo it holds, wait
    for ever; a shard of eight slow station-days outlasts the patience, and none of them does."""
    pause = 60 * PATIENCE / 6
    silent = day_start_ns(date(2024, 3, 3))

    class Slow(workers.actor._PickActor):  # pickled by value, being local
        def __init__(self, assignment: Any) -> None:
            super().__init__(assignment)
            read = self._picker._archive.read

            class Archive:
                def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Any:
                    here = start_ns < silent + DAY_NS and end_ns > silent
                    time.sleep(3600 if here and trace.station == "BAD" else pause)
                    return read(trace, start_ns, end_ns)

            self._picker._archive = Archive()  # type: ignore[assignment]

    with monkeypatch.context() as patch:
        import ray

        patch.setattr(workers.actor, "PickActor", ray.remote(Slow))
        path = campaign(f"max_attempts = 1\npatience_minutes = {PATIENCE}", size=8)
        assert main(["run", str(path), "--json"]) == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["failures"] == {f"after 1 attempt: {HUNG.format(PATIENCE)}": 3}
    assert (facts["left"], facts["outcomes"]) == (0, {"picked": PLANNED - 3, "failed": 3})
    url = facts["catalog"]
    failed = Catalog(url).sql("SELECT station, day FROM coverage WHERE outcome = 'failed'")
    assert sorted((row["station"], row["day"].day) for row in failed.to_pylist()) == [
        ("BAD", 2),
        ("BAD", 3),
        ("BAD", 4),
    ]
    sizes = Catalog(url).sql("SELECT count(*) AS n FROM coverage GROUP BY shard")["n"].to_pylist()
    assert sorted(sizes) == [1] * 8 + [4], "the shard behind it was innocent"
    assert main(["run", str(path), "--retry", "failed"]) == 0
    assert rows(url) == undisturbed


def same(row: dict[str, Any], other: dict[str, Any]) -> bool:
    return (row["station"], row["day"]) == (other["station"], other["day"])


@pytest.fixture
def commits_take_hours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stop-loss looks at a clock that goes on by an hour with each commit."""
    store = open_store(str(tmp_path / "catalog"))

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return 3600.0 * sum(1 for _ in store.list("commits/"))

    monkeypatch.setattr("service.stop_loss.time", Clock)
    monkeypatch.setattr("service.dispatch.LANDING_S", 600.0)  # on the busiest machine


@pytest.mark.usefixtures("commits_take_hours")
@pytest.mark.parametrize(
    ("limits", "raised", "field"),
    [
        ("max_hours = 3", "max_hours = 99", "compute.max_hours"),
        (
            "price_per_hour = 2\nmax_cost = 6",
            "price_per_hour = 2\nmax_cost = 99",
            "compute.max_cost",
        ),
    ],
    ids=["hours", "cost"],
)
def test_a_run_stops_at_its_limit_with_all_that_it_began_committed(
    campaign: Callable[..., Path],
    undisturbed: dict[str, list[Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    limits: str,
    raised: str,
    field: str,
) -> None:
    store = open_store(str(tmp_path / "catalog"))
    assert main(["run", str(campaign(limits)), "--json"]) == 3
    out, err = capsys.readouterr()
    facts = json.loads(out)
    done = sum(1 for _ in store.list("commits/"))
    assert 3 <= done <= 3 + IN_FLIGHT < PLANNED
    assert (facts["state"], facts["done_now"], facts["left"]) == ("stopped", done, PLANNED - done)
    assert f"tidepick: {field} " in err and f"raise {field} " in err
    (row,) = Catalog(store.url).sql("SELECT * FROM runs").to_pylist()
    assert (row["state"], row["done"], row["seconds"]) == ("stopped", done, 3600.0 * done)
    assert row["reason"].startswith(field)

    assert main(["run", str(campaign(limits))]) == 3
    assert f"{field} " in capsys.readouterr().err
    assert sum(1 for _ in store.list("commits/")) == done

    assert main(["run", str(campaign(raised))]) == 0
    assert rows(store.url) == undisturbed
    assert main(["run", str(campaign(limits))]) == 0, "nothing is left to do, whatever the limit"


@pytest.mark.slow
def test_what_hangs_does_not_keep_a_run_from_stopping(
    campaign: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    begun, over = tmp_path / "begun", tmp_path / "over"

    def hang(picker: Any, work: Work) -> Report:
        begun.touch()
        time.sleep(600)
        over.touch()
        raise AssertionError

    class Clock:
        @staticmethod
        def monotonic() -> float:
            return 3600.0 * begun.exists()

    employ(monkeypatch, hang)
    monkeypatch.setattr("service.stop_loss.time", Clock)
    monkeypatch.setattr("service.dispatch.LANDING_S", 1.0)
    assert main(["run", str(campaign("max_hours = 0.5"))]) == 3
    assert begun.exists() and not over.exists(), "it was not waited for"
    assert list(open_store(str(tmp_path / "catalog")).list("commits/")) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_while_ray_starts_is_one(
    number: int,
    campaign: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Ray goes on after an Exception there, and has a handler of SIGTERM of its own."""

    @contextmanager
    def starting(*asked: object) -> Iterator[dict[str, Any]]:
        if number == signal.SIGTERM:
            signal.signal(number, lambda number, frame: sys.exit(number))
        with suppress(Exception):
            signal.raise_signal(number)
        yield {}

    monkeypatch.setattr("service.run.ray_cluster", starting)
    before = signal.getsignal(number)
    assert main(["run", str(campaign())]) == 130
    assert "interrupted; run the same command to go on" in capsys.readouterr().err
    assert signal.getsignal(number) is before


def test_whoever_is_terminated_says_so(
    campaign: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(
        "service.campaign.load_campaign", lambda path: signal.raise_signal(signal.SIGTERM)
    )
    before = signal.getsignal(signal.SIGTERM)
    assert main(["plan", str(campaign())]) == 130
    assert capsys.readouterr().err == "tidepick: interrupted\n"
    assert signal.getsignal(signal.SIGTERM) == before
