"""Promise 3: whatever dies, the catalogue is that of one undisturbed process, row for row."""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

COMMITS, ATTEMPTS = 8, 4
"""Of the small campaign: 2 stations x 2 days x 2 candidates, of which XX.ONE alone has picks."""

KILLED = -signal.SIGKILL


def test_undisturbed_every_station_day_has_one_outcome_and_nothing_is_there_twice(
    undisturbed: Any,
) -> None:
    rows = undisturbed.rows()
    days = Counter((r["candidate"], r["station"], r["day"]) for r in rows["coverage"])
    assert len(days) == COMMITS and set(days.values()) == {1}
    assert Counter(row["outcome"] for row in rows["coverage"]) == {
        "picked": 4,
        "too_short": 2,
        "no_data": 2,
    }
    peaks = Counter((r["candidate"], r["station"], r["phase"], r["time"]) for r in rows["picks"])
    assert len(peaks) > 50 and set(peaks.values()) == {1}
    assert sum(row["picks"] for row in rows["coverage"]) == len(peaks)
    assert len(undisturbed.attempts()) == ATTEMPTS and not undisturbed.orphans()


@pytest.mark.parametrize(
    ("moment", "prefix", "left"),
    [
        pytest.param("before", "picks/", (1, 1), id="before the attempt"),
        pytest.param("before", "commits/", (2, 1), id="between attempt and commit"),
        pytest.param("after", "commits/", (2, 2), id="after the commit"),
    ],
)
def test_killed_at_a_step_and_resumed(
    trial: Any, undisturbed: Any, moment: str, prefix: str, left: tuple[int, int]
) -> None:
    """At the second candidate of the first shard. left: attempts and commits at its death."""
    assert trial.run(moment, prefix, 2).code == KILLED
    assert (len(trial.attempts()), len(trial.commits())) == left
    assert trial.complete().won == COMMITS - left[1]
    assert trial.rows() == undisturbed.rows()
    assert len(trial.orphans()) == left[0] - left[1]


def test_killed_once_the_commit_is_linked_and_before_its_writer_knows(
    new_trial: Callable[[], Any], undisturbed: Any
) -> None:
    """The lost reply of a local directory."""
    trial = new_trial()
    assert trial.run("linked", "commits/", 2).code == KILLED
    assert len(trial.commits()) == 2
    assert trial.complete().won == COMMITS - 2
    assert trial.rows() == undisturbed.rows() and not trial.orphans()


def test_replies_lost_and_refused_by_s3(
    s3: Any, s3_trial: Any, undisturbed: Any, lossy: Callable[..., LossyS3]
) -> None:
    """The put succeeded and its reply was lost, or an error; or it failed for the moment."""
    proxy = lossy(s3.endpoint, {"picks": ["cut", "500"], "commits": ["cut", "500", "503", "409"]})
    ended = s3_trial.complete(AWS_ENDPOINT_URL=proxy.url)
    assert not any(proxy.faults.values()), "every fault has happened"
    assert ended.won == COMMITS, "a commit whose reply was lost is its writer's all the same"
    assert s3_trial.rows() == undisturbed.rows() and not s3_trial.orphans()


def test_killed_while_it_waits_for_the_reply_of_a_put_that_succeeded(
    s3: Any, s3_trial: Any, undisturbed: Any, lossy: Callable[..., LossyS3], soon: Any
) -> None:
    proxy = lossy(s3.endpoint, {"commits": ["", "hold"]})
    pid = s3_trial.begin(AWS_ENDPOINT_URL=proxy.url)
    soon(proxy.holding.is_set)
    os.kill(pid, signal.SIGKILL)
    assert s3_trial.end(pid).code == KILLED
    assert len(s3_trial.commits()) == 2
    assert s3_trial.complete().won == COMMITS - 2
    assert s3_trial.rows() == undisturbed.rows() and not s3_trial.orphans()


def test_two_runs_that_come_to_every_commit_together(
    trial: Any, undisturbed: Any, soon: Any, tmp_path: Path
) -> None:
    """Both have written their attempt each time, and one of the two counts."""
    holds = [tmp_path / "one", tmp_path / "other"]
    pids = [trial.begin("before", "commits/", hold=hold) for hold in holds]
    for k in range(1, COMMITS + 1):
        for hold in holds:
            soon(hold.with_suffix(f".{k}").exists)
        for hold in holds:
            hold.with_suffix(f".{k}.go").touch()
    ended = [trial.end(pid) for pid in pids]
    assert [run.code for run in ended] == [0, 0], [run.log for run in ended]
    assert sum(run.won for run in ended) == COMMITS
    assert Counter((c.shard, c.generation) for c in trial.commits()).total() == COMMITS
    assert (len(trial.attempts()), len(trial.orphans())) == (2 * ATTEMPTS, ATTEMPTS)
    assert trial.rows() == undisturbed.rows()


def test_a_zombie_that_wakes_after_another_took_over(
    trial: Any, undisturbed: Any, soon: Any, tmp_path: Path
) -> None:
    hold = tmp_path / "asleep"
    zombie = trial.begin("before", "commits/", 1, hold=hold)
    soon(hold.with_suffix(".1").exists)
    (its_attempt,) = trial.attempts()
    assert trial.complete().won == COMMITS
    committed = trial.commits()
    hold.with_suffix(".1.go").touch()
    woken = trial.end(zombie)
    assert (woken.code, woken.won) == (0, 0), woken.log
    assert trial.commits() == committed
    assert its_attempt in trial.orphans()
    assert trial.rows() == undisturbed.rows()


@settings(max_examples=3, deadline=None)
@given(
    deaths=st.lists(
        st.tuples(st.sampled_from(["before", "after"]), st.integers(1, 20)), min_size=1, max_size=3
    )
)
def test_any_sequence_of_deaths(
    deaths: list[tuple[str, int]], new_trial: Callable[[], Any], undisturbed: Any
) -> None:
    """Each life ends around its nth create, of whatever key; the last one is left in peace."""
    trial = new_trial()
    for moment, nth in deaths:
        assert trial.run(moment, "", nth).code in (0, KILLED)
    trial.complete()
    assert trial.rows() == undisturbed.rows()
    assert len(trial.commits()) == COMMITS


@pytest.mark.slow
def test_killed_before_and_after_every_single_create(
    new_trial: Callable[[], Any], undisturbed: Any
) -> None:
    """From the catalogue's first object to the last commit."""
    for nth in count(1):
        codes = set()
        for moment in ("before", "after"):
            trial = new_trial()
            codes.add(trial.run(moment, "", nth).code)
            trial.complete()
            assert trial.rows() == undisturbed.rows(), f"killed {moment} create {nth}"
            shutil.rmtree(trial.folder)
        if codes == {0}:
            break
        assert codes == {KILLED}
    assert nth > COMMITS + ATTEMPTS


def test_a_day_or_a_candidate_added_later_picks_itself_alone(
    new_trial: Callable[[], Any], undisturbed: Any
) -> None:
    trial = new_trial()
    both, last = trial.candidates, trial.end_day
    trial.candidates, trial.end_day = both[:1], date(2024, 3, 2)
    trial.complete()
    first = {commit.key: commit for commit in trial.commits()}
    assert (len(first), len(trial.attempts())) == (2, 1)

    trial.end_day = last
    assert trial.complete().won == 2
    second = {commit.key: commit for commit in trial.commits()}
    days = [row["day"] for key in second.keys() - first.keys() for row in second[key].coverage]
    assert days == ["2024-03-02"] * 2
    assert len(trial.attempts()) == 2

    trial.candidates = both
    assert trial.complete().won == 4
    third = {commit.key: commit for commit in trial.commits()}
    assert [third[key].candidate for key in third.keys() - second.keys()] == [both[1]] * 4
    assert first.items() <= second.items() <= third.items()
    assert len(trial.attempts()) == ATTEMPTS and not trial.orphans()
    assert trial.rows(["run"]) == undisturbed.rows(["run"])


def test_a_retried_outcome_is_taken_over_by_the_next_generation(
    new_trial: Callable[[], Any], archive: Path, whole_archive: Path, tmp_path: Path
) -> None:
    """The data of a station-day arrive late; the retry is killed in its turn, and resumed."""
    trial = new_trial()
    trial.archive = shutil.copytree(archive, tmp_path / "archive")
    trial.complete()
    before = trial.commits()
    shutil.copytree(whole_archive, trial.archive, dirs_exist_ok=True)
    assert trial.complete().won == 0 and trial.commits() == before, "unasked, nothing is retried"

    assert trial.run("before", "commits/", 2, retry=["no_data"]).code == KILLED
    assert trial.complete(retry=["no_data"]).won == 1
    later = [commit for commit in trial.commits() if commit not in before]
    assert [(c.generation, c.coverage[0]["outcome"]) for c in later] == [(1, "picked")] * 2
    assert trial.complete(retry=["no_data"]).won == 0, "none is left"
    assert len(trial.orphans()) == 1

    rows = trial.rows()["coverage"]
    assert Counter((r["station"], r["day"].day, r["generation"]) for r in rows) == {
        ("ONE", 1, 0): 2,
        ("ONE", 2, 0): 2,
        ("TWO", 1, 0): 2,
        ("TWO", 2, 1): 2,
    }
    whole = new_trial()
    whole.archive = whole_archive
    whole.complete()
    assert trial.rows(["generation"]) == whole.rows(["generation"])


class LossyS3(ThreadingHTTPServer):
    """A proxy before an S3 endpoint that lets puts go wrong.

    faults: folder of the key (`commits`) -> what befalls the first put of its first, second...
    key. `cut`: forwarded, then the connection is closed; `hold`: forwarded, never answered;
    `500`: forwarded, answered as an error; `503`, `409`: refused and not forwarded; else nothing.
    """

    def __init__(self, upstream: str, faults: Mapping[str, Sequence[str]]) -> None:
        super().__init__(("127.0.0.1", 0), _Forwarding)
        self.upstream = urlsplit(upstream).netloc
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.faults = {folder: list(planned) for folder, planned in faults.items()}
        self.holding, self.over = threading.Event(), threading.Event()
        self._seen: set[str] = set()

    def fault(self, method: str, path: str) -> str:
        folder = next((f for f in self.faults if f"/{f}/" in path), None)
        if method != "PUT" or folder is None or path in self._seen or not self.faults[folder]:
            return ""
        self._seen.add(path)
        return self.faults[folder].pop(0)


class _Forwarding(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def forward(self) -> None:
        server = cast(LossyS3, self.server)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = server.fault(self.command, self.path)
        if fault in ("503", "409"):
            return self.answer(int(fault), {}, b"")
        connection = http.client.HTTPConnection(server.upstream, timeout=60)
        headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
        connection.request(self.command, self.path, body, headers)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        if fault == "hold":
            server.holding.set()
            server.over.wait()
        if fault in ("hold", "cut"):
            self.close_connection = True
        elif fault == "500":
            self.answer(500, {}, b"")
        else:
            self.answer(reply.status, dict(reply.headers), content)

    do_GET = do_HEAD = do_PUT = do_POST = forward

    def answer(self, status: int, headers: Mapping[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        length = headers.get("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def lossy() -> Iterator[Callable[..., LossyS3]]:
    """Starts proxies on loopback, and ends them."""
    proxies: list[LossyS3] = []

    def start(upstream: str, faults: Mapping[str, Sequence[str]]) -> LossyS3:
        proxies.append(LossyS3(upstream, faults))
        threading.Thread(target=proxies[-1].serve_forever, daemon=True).start()
        return proxies[-1]

    yield start
    for proxy in proxies:
        proxy.over.set()
        proxy.shutdown()
        proxy.server_close()
