"""What `status` says of runs that go on, have died, stopped or ended: from their records alone."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from catalog.commits import Commit, commit, create_catalog, write_plan
from catalog.query import Catalog
from catalog.runs import FIRST_BEAT_S, SILENT_BEATS, write_progress, write_run_record
from catalog.schema import Outcome, TraceId, shard_id
from catalog.store import Store, open_store
from service.campaign import Compute
from service.cli import main
from service.heartbeat import heartbeat
from service.pace import WINDOW_S, Pace
from service.plan import Plan
from service.reasons import grouped, in_a_line
from service.status import read_status
from service.status_screen import status_screen, watch_status
from service.stop_loss import LimitReached, StopLoss
from service.terminal import duration, money
from workers.picked import Picked
from workers.picker import StoredCandidate, coverage_row
from workers.pipeline import StationDayPicked

TRACES = [TraceId("XX", f"S{k:02d}", "", "HH") for k in range(20)]
PLAN = Plan(TRACES, date(2024, 3, 1), date(2024, 3, 11), 10)
ONE = StoredCandidate("one", "aa", (), {"engine": "fast"})
RUN = PLAN.run_id([ONE])
T0 = datetime(2024, 5, 1, 12, tzinfo=UTC)

SILENT_S = SILENT_BEATS * FIRST_BEAT_S


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A catalogue with a plan of 200 station-days, and nothing of it done."""
    store = open_store(str(tmp_path / "catalog"))
    create_catalog(store)
    write_plan(store, RUN, PLAN.to_json([ONE]))
    return store


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock of records and their readers, in seconds from T0."""

    def set_clock(seconds: float) -> None:
        time = (T0 + timedelta(seconds=seconds)).isoformat(timespec="microseconds")
        for module in ("catalog.runs", "service.status_screen"):
            monkeypatch.setattr(f"{module}.utc_now", lambda: time)

    set_clock(0)
    return set_clock


def begin(store: Store, invocation: str, **compute: object) -> None:
    campaign = {"name": "cascadia", "compute": compute}
    facts = {
        "campaign": campaign,
        "file": "cascadia 2024.toml",
        "candidates": {"one": {}},
        "engine": "fast",
        "versions": {},
        "machine": {},
        "station_days": PLAN.station_days,
    }
    write_run_record(store, RUN, invocation, "start", facts)


def pulse(
    store: Store, invocation: str, number: int, done: int, seconds: float, rate: float
) -> None:
    facts = {"done": done, "picks": 7 * done, "seconds": seconds, "rate": rate}
    write_progress(store, RUN, invocation, number, facts)


def end(
    store: Store, invocation: str, state: str, done: int, seconds: float, why: str = ""
) -> None:
    facts = {"state": state, "reason": why, "done": done, "picks": 0, "seconds": seconds}
    write_run_record(store, RUN, invocation, "end", facts | {"rate": 0.0})


def pick(store: Store, shards: int, failing: Mapping[int, str] | None = None) -> None:
    """Commit the first shards of the plan; failing: station-day of a shard -> why it failed."""
    for shard in list(PLAN.shards())[:shards]:
        rows = []
        for k, day in enumerate(shard.station_days):
            why = (failing or {}).get(k, "").format(day=day)
            picked = Picked(Outcome.FAILED if why else Outcome.PICKED, why)
            rows.append(coverage_row(StationDayPicked(day, {}, {}), picked))
        name = shard_id(shard, ONE.weights_sha256, ONE.settings)
        commit(store, Commit(name, 0, "one", "aa", RUN, "a", [], {}, rows, T0.isoformat()))


def run_of(store: Store) -> dict[str, Any]:
    (run,) = read_status(store.url)["runs"]
    return dict(run)


def test_a_run_that_goes_on(store: Store, at: Callable[[float], None]) -> None:
    """Rate now and on average, cost and time so far and left, from its newest record alone."""
    begin(store, "a1", price_per_hour=3.0, max_cost=20)
    for minute in range(1, 61):
        at(60 * minute)
        pulse(store, "a1", minute, minute, 60.0 * minute, 120.0)
    pick(store, 6)
    run = run_of(store)
    assert (run["state"], run["done"], run["left"], run["planned"]) == ("running", 60, 140, 200)
    assert (run["rate_now"], run["rate"], run["hours"]) == (120.0, 60.0, 1.0)
    assert run["hours_left"] == pytest.approx(140 / 120)
    assert (run["cost"], run["cost_each"]) == (3.0, pytest.approx(3 / 60))
    assert run["cost_left"] == pytest.approx(3 * 140 / 120)
    assert run["resume"] is None and run["retry"] is None


def test_a_run_that_died_is_known_by_its_silence(store: Store, at: Callable[[float], None]) -> None:
    begin(store, "a1", price_per_hour=3.0)
    at(FIRST_BEAT_S)
    pulse(store, "a1", 1, 10, FIRST_BEAT_S, 600.0)
    pick(store, 1)
    at(FIRST_BEAT_S + SILENT_S - 1)
    assert run_of(store)["state"] == "running"
    at(FIRST_BEAT_S + SILENT_S + 1)
    run = run_of(store)
    assert (run["state"], run["rate_now"], run["done_by_this_run"]) == ("died", None, 10)
    assert run["hours"] == FIRST_BEAT_S / 3600, "as far as it is known"
    assert run["resume"] == "tidepick run 'cascadia 2024.toml'"
    begin(store, "a2")
    run = run_of(store)
    assert (run["state"], run["invocations"], run["cost"]) == (
        "running",
        2,
        3 * FIRST_BEAT_S / 3600,
    )


def test_a_run_that_died_after_its_last_commit_is_complete(
    store: Store, at: Callable[[float], None]
) -> None:
    begin(store, "a1")
    pick(store, 20)
    at(1e6)
    assert run_of(store)["state"] == "complete"
    assert main(["status", store.url]) == 0


def test_a_run_that_stopped_says_why_and_what_then(
    store: Store, at: Callable[[float], None], capsys: pytest.CaptureFixture[str]
) -> None:
    begin(store, "a1", price_per_hour=2.0, max_hours=1)
    pick(store, 5, {3: "after 3 attempts: OSError: s3://b/{day} timed out"})
    at(3600)
    end(store, "a1", "stopped", 50, 3600.0, "compute.max_hours 1 reached: it took 1 h")
    run = run_of(store)
    assert (run["state"], run["lost"]) == ("stopped", {"failed": 5})
    assert run["retry"] == "tidepick run 'cascadia 2024.toml' --retry failed"
    assert main(["status", store.url]) == 1
    shown = capsys.readouterr().out
    for words in ("stopped", "compute.max_hours 1 reached", "50 of 200", "$2.00 so far", "(and 4"):
        assert words in shown, words
    assert "tidepick run 'cascadia 2024.toml' --retry failed\n" in shown


def test_reasons_of_one_kind_are_one(store: Store, at: Callable[[float], None]) -> None:
    begin(store, "a1")
    failing = {
        0: "after 3 attempts: StoreUnavailable: s3://bucket/{day.day}/x.mseed: timed out",
        1: "after 3 attempts: its worker died",
        2: "after 3 attempts: StoreUnavailable: s3://bucket/{day.trace}/y: timed out",
    }
    pick(store, 4, failing)
    reasons = read_status(store.url)["reasons"]
    assert [(r["station_days"], r["kinds"]) for r in reasons] == [(8, 5), (4, 1)]
    assert reasons[1]["detail"] == "after 3 attempts: its worker died"
    assert reasons[1]["station_day"] == f"{TRACES[0]} 2024-03-02"


@pytest.mark.parametrize(
    ("reason", "alike", "other"),
    [
        ("no such object: s3://b/a.ms", "no such object: s3://c/b.ms", "no such bucket: s3://b"),
        ("data at 10 Hz", "data at 12.5 Hz", "data at noon"),
        ("XX.ONE..HH: gap of 3 s", "YY.B7.00.EH: gap of 44 s", "XX.ONE..HH: overlap of 3 s"),
        ("cannot read /a/b/c: short", "cannot read /d: short", "cannot read /a/b/c: denied"),
    ],
)
def test_kinds_of_reasons(reason: str, alike: str, other: str) -> None:
    assert grouped({reason: 1, alike: 3, other: 1}) == {alike: 4, other: 1}
    assert grouped(grouped({reason: 1, alike: 3})) == {alike: 4}


def test_a_reason_holds_no_credential_and_no_traceback() -> None:
    error = OSError(
        "Traceback: frame\n  frame\n"
        "https://me:secret@host/key?X-Amz-Signature=abc&x=1 AKIAABCDEFGHIJKLMNOP: timed out"
    )
    assert in_a_line(error) == "OSError: https://host/key : timed out"
    assert len(in_a_line(ValueError("x" * 9999))) <= 300


def test_the_stop_loss_counts_every_invocation_at_its_price(
    store: Store, at: Callable[[float], None]
) -> None:
    begin(store, "a1", price_per_hour=2.0)
    end(store, "a1", "interrupted", 5, 7200.0)
    begin(store, "a2")  # without a price; killed after an hour
    pulse(store, "a2", 1, 5, 3600.0, 5.0)
    other = json.loads(start_of(store))
    write_run_record(store, "another", "b1", "start", other | {"campaign": {"name": "alaska"}})
    write_run_record(store, "of another plan", "c1", "start", other)  # which has taken nothing yet

    def reached(**limits: float) -> str:
        return StopLoss(Compute(price_per_hour=10.0, **limits), store, "cascadia").reached()  # type: ignore[arg-type]

    assert reached(max_hours=3.1) == "" and reached(max_cost=14.1) == ""
    assert reached(max_hours=2.99).startswith("compute.max_hours 2.99 reached: it took 3 h")
    assert reached(max_cost=13.99).startswith("compute.max_cost 13.99 reached: it took $14")
    with pytest.raises(LimitReached, match=r"raise compute\.max_hours to go on"):
        StopLoss(Compute(max_hours=1), store, "cascadia").admit()  # type: ignore[call-arg]
    StopLoss(Compute(max_hours=1), store, "never begun").admit()  # type: ignore[call-arg]


def start_of(store: Store) -> bytes:
    return store.fetch(f"runs/{RUN}/a1.start.json")[0]


def test_a_cost_needs_a_price() -> None:
    with pytest.raises(ValueError, match="max_cost needs price_per_hour"):
        Compute(max_cost=3)  # type: ignore[call-arg]


def test_a_heart_beats_into_the_catalogue(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.heartbeat.FIRST_BEAT_S", 0.01)
    beats: list[int] = []

    def facts() -> dict[str, Any]:
        beats.append(1)
        return {"done": len(beats), "picks": 0, "seconds": 1.0, "rate": 2.0}

    begin(store, "a1")
    with heartbeat(store, RUN, "a1", facts):
        while len(beats) < 12:
            time.sleep(0.01)
    (row,) = Catalog(store.url).sql("SELECT done, rate, news, started FROM runs").to_pylist()
    assert (row["done"], row["rate"]) == (len(beats), 2.0)
    assert row["news"] > row["started"]


def test_the_pace_is_that_of_the_last_minutes() -> None:
    now = 0.0
    pace = Pace(lambda: now)
    assert pace.per_hour() == 0.0
    now = 60.0
    pace.did(10)
    assert pace.per_hour() == 600.0
    for now in (WINDOW_S, 1.5 * WINDOW_S, 2 * WINDOW_S):  # noqa: B007 (the clock)
        pace.did(5)
    assert pace.per_hour() == pytest.approx(10 / WINDOW_S * 3600)
    now = 4 * WINDOW_S
    assert pace.per_hour() == 0.0


def test_it_is_shown_anew_until_nothing_runs(store: Store, at: Callable[[float], None]) -> None:
    begin(store, "a1")
    seen: list[dict[str, Any]] = []

    def read() -> dict[str, Any]:
        if len(seen) == 2:
            end(store, "a1", "interrupted", 0, 1.0)
        seen.append(read_status(store.url))
        return seen[-1]

    last = watch_status(read, 0.01, Console(file=io.StringIO()))
    assert [status["runs"][0]["state"] for status in seen] == ["running"] * 2 + ["interrupted"]
    assert last is seen[-1]


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_the_terminal(store: Store, at: Callable[[float], None], width: int) -> None:
    begin(store, "a1", price_per_hour=2000.0, max_hours=100, max_cost=1e6)
    pick(store, 5, {3: "after 3 attempts: StoreUnavailable: s3://bucket/{day}: timed out"})
    at(3600)
    pulse(store, "a1", 1, 50, 3600.0, 45.0)
    console = Console(file=io.StringIO(), width=width, record=True)
    console.print(status_screen(read_status(store.url)), crop=False)
    lines = console.export_text().splitlines()
    assert all(len(line.rstrip()) <= width for line in lines if "tidepick run" not in line)
    assert any("25 %  50 of 200 station-days" in line for line in lines)
    told = [" ".join(line.split()) for line in lines]
    assert "rate 45/h now, 50/h on average" in told
    assert "time 60 min so far, 3.3 h left, stops at 100 h" in told


@pytest.mark.parametrize(
    ("hours", "shown"),
    [
        (0.01, "36 s"),
        (0.2, "12 min"),
        (3.4, "3.4 h"),
        (30, "30 h"),
        (72, "3.0 days"),
        (9e9, "375,000,000 days"),
    ],
)
def test_times_as_they_are_read(hours: float, shown: str) -> None:
    assert duration(hours) == shown


@pytest.mark.parametrize(
    ("dollars", "shown"),
    [
        (0, "$0.00"),
        (0.000239, "$0.00024"),
        (0.00000123, "$0.0000012"),
        (0.5, "$0.50"),
        (12.345, "$12.35"),
        (1e6, "$1,000,000"),
    ],
)
def test_money_as_it_is_read(dollars: float, shown: str) -> None:
    assert money(dollars) == shown
