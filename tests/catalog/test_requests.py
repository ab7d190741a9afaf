"""How often S3 is asked, counted by a proxy that fails on purpose; and what each failure means."""

from __future__ import annotations

import errno
import random
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from catalog import credentials, refusals, requests
from catalog.errors import Refusal
from catalog.refusals import Refusals, Silence
from catalog.store import (
    AccessDenied,
    MissingObject,
    S3Options,
    Store,
    StoreError,
    StoreUnavailable,
    Throttled,
    fetch_all,
    open_store,
)
from tests.faults import Answer, Cut, Delay, Drop, FaultyS3, LoseReply, Page, Stale

BODY = bytes(range(256)) * 40


@pytest.fixture
def store(s3: Any, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store with one object, `a`, that is asked through the proxy and hardly waits."""
    monkeypatch.setattr(requests, "FIRST_WAIT_S", 0.001)
    store = open_store(s3.url("store"))
    store.create("a", BODY)
    faulty_s3.heal()
    return store


def get(s3: Any, key: str = "a") -> str:
    return f"GET /{s3.bucket}/store/{key}"


PASSING = [
    Answer(429, "TooManyRequests"),
    Answer(503, "SlowDown"),
    Answer(503, "ServiceUnavailable"),
    Answer(500, "InternalError"),
    Answer(400, "RequestTimeout"),
    Page(),
    Drop(),
    Cut(0),
    Cut(5000),
]


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_what_passes_is_tried_again_a_bounded_number_of_times(
    s3: Any, store: Store, faulty_s3: FaultyS3, fault: Any
) -> None:
    # aiohttp itself sends a GET once more where the connection was closed without an answer
    most = requests.ATTEMPTS * (2 if isinstance(fault, Drop) else 1)
    faulty_s3.fail(fault, "GET", times=most - 1)
    assert store.fetch("a")[0] == BODY
    assert faulty_s3.asked[get(s3)] == most
    faulty_s3.heal()
    faulty_s3.fail(fault, "GET")
    for read in (lambda: store.fetch("a"), lambda: store.fetch_part("a", 0, 9000)):
        with pytest.raises(StoreUnavailable, match=r"store/a\b") as raised:
            read()
        assert faulty_s3.asked.pop(get(s3)) == most
        throttled = isinstance(fault, Answer) and fault.code in ("TooManyRequests", "SlowDown")
        assert isinstance(raised.value, Throttled) == throttled
        assert raised.value.__cause__ is raised.value.__context__ is None
    if throttled:
        assert f"throttled ({fault.status}" in str(raised.value)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "InvalidRequest", StoreError),
        (400, "InvalidToken", AccessDenied),
        (401, "Unauthorized", AccessDenied),
        (403, "AccessDenied", AccessDenied),
        (403, "InvalidAccessKeyId", AccessDenied),
        (403, "SignatureDoesNotMatch", AccessDenied),
        (403, "RequestTimeTooSkewed", AccessDenied),
        (404, "NoSuchKey", MissingObject),
        (404, "NoSuchBucket", StoreError),
        (405, "MethodNotAllowed", StoreError),
    ],
)
def test_every_other_4xx_is_an_answer(
    s3: Any, store: Store, faulty_s3: FaultyS3, status: int, code: str, kind: type[StoreError]
) -> None:
    faulty_s3.fail(Answer(status, code), "GET")
    with pytest.raises(kind, match=s3.bucket) as raised:
        store.fetch("a")
    assert faulty_s3.asked == {get(s3): 1}
    assert not isinstance(raised.value, StoreUnavailable)
    assert isinstance(raised.value, MissingObject) == (kind is MissingObject)


def test_a_listing_is_tried_as_an_object_is(s3: Any, store: Store, faulty_s3: FaultyS3) -> None:
    name = f"LIST /{s3.bucket}/store/"
    faulty_s3.fail(Answer(503, "SlowDown"), "LIST", times=2)
    faulty_s3.fail(Cut(40), "LIST", times=1)
    faulty_s3.fail(Page(), "LIST", times=1)
    assert [entry.key for entry in store.list()] == ["a"]
    assert faulty_s3.asked == {name: 5}
    faulty_s3.fail(Answer(429, "TooManyRequests"), "LIST")
    with pytest.raises(Throttled):
        list(store.list())
    assert faulty_s3.asked == {name: 5 + requests.ATTEMPTS}


def test_a_listing_that_says_there_is_more_and_not_where_is_none(
    store: Store, faulty_s3: FaultyS3
) -> None:
    """As of a store that pages by markers."""
    first = b"<ListBucketResult><IsTruncated>true</IsTruncated></ListBucketResult>"
    faulty_s3.fail(Page(first), "LIST")
    with pytest.raises(StoreUnavailable, match="without NextContinuationToken"):
        list(store.list())


def test_zarr_and_duckdb_ask_under_the_same_policy(
    s3: Any, store: Store, faulty_s3: FaultyS3
) -> None:
    filesystem, path = store.filesystem(), f"{s3.bucket}/store/a"
    faulty_s3.fail(Answer(503, "SlowDown"), "GET")
    with pytest.raises(Throttled):
        filesystem.cat_file(path, 0, 100)
    assert faulty_s3.asked[get(s3)] == requests.ATTEMPTS
    faulty_s3.heal()
    faulty_s3.fail(Answer(403, "AccessDenied"))
    with pytest.raises(AccessDenied):
        filesystem.cat_file(path, 0, 100)
    assert faulty_s3.asked[get(s3)] == 1


def test_the_store_says_how_long_to_wait(store: Store, faulty_s3: FaultyS3) -> None:
    faulty_s3.fail(Answer(503, "SlowDown", headers={"Retry-After": "1"}), "GET", times=1)
    begun = time.monotonic()
    store.fetch("a")
    assert time.monotonic() - begun >= 1.0


def test_waiting_grows_with_full_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda low, high: (low, high))
    waits: list[Any] = [requests._pause(attempt) for attempt in range(1, requests.ATTEMPTS)]
    assert [low for low, _ in waits] == [0] * 5
    assert [high for _, high in waits] == pytest.approx([0.4, 0.8, 1.6, 3.2, 6.4])


def test_an_answer_that_never_ends_is_given_up(
    s3: Any, store: Store, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "REQUEST_S", 0.2)
    faulty_s3.fail(Delay(1.0), "GET", times=1)
    assert store.fetch("a")[0] == BODY
    assert faulty_s3.asked[get(s3)] > 1


def test_a_store_that_is_not_there_is_tried_for(
    s3: Any, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []

    def pause(attempt: int) -> float:
        waited.append(attempt)
        return 0.001

    monkeypatch.setattr(requests, "_pause", pause)
    nowhere = open_store(s3.url("store"), S3Options(endpoint_url="http://127.0.0.1:9"))
    with pytest.raises(StoreUnavailable, match="EndpointConnectionError"):
        nowhere.fetch("a")
    assert waited == [1, 2, 3, 4, 5, 6]


def test_a_put_whose_reply_is_lost_is_ours_and_no_other(
    s3: Any, store: Store, faulty_s3: FaultyS3
) -> None:
    faulty_s3.fail(LoseReply(), "PUT", times=1)
    assert store.create("commit", b"mine")
    assert faulty_s3.asked[f"PUT /{s3.bucket}/store/commit"] == 2
    faulty_s3.fail(LoseReply(), "PUT", times=1)
    assert not store.create("commit", b"yours")
    assert store.fetch("commit")[0] == b"mine"
    faulty_s3.fail(Answer(409, "ConditionalRequestConflict"), "PUT", times=1)
    assert store.create("second", b"x")


def test_a_stale_listing_is_served_as_it_was(store: Store, faulty_s3: FaultyS3) -> None:
    """Of the proxy itself, for those who rest on it."""
    list(store.list())
    store.create("b", b"")
    faulty_s3.fail(Stale(), "LIST", times=1)
    assert [entry.key for entry in store.list()] == ["a"]
    assert [entry.key for entry in store.list()] == ["a", "b"]


def test_requests_in_flight_are_bounded(
    s3: Any, store: Store, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    faulty_s3.latency_s = 0.05
    bodies = fetch_all(store, ["a"] * 120, threads=60)
    assert bodies == [BODY] * 120
    assert 10 < faulty_s3.most_at_once <= requests.CONNECTIONS


def test_a_refusal_is_remembered_for_a_while_and_by_one_store(
    s3: Any, store: Store, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create("b", BODY)
    faulty_s3.heal()
    faulty_s3.fail(Answer(403, "AccessDenied"), "store/a|LIST")
    for _ in range(5):
        with pytest.raises(AccessDenied, match="store/a"):
            store.fetch("a")
        with pytest.raises(AccessDenied, match="store/a"):
            store.fetch_part("a", 0, 10)
        with pytest.raises(AccessDenied, match="store/x"):
            list(store.list("x/"))
    assert faulty_s3.asked == {get(s3): 1, f"LIST /{s3.bucket}/store/x/": 1}
    assert store.fetch("b")[0] == BODY
    with pytest.raises(AccessDenied):
        open_store(s3.url("store")).fetch("a")
    assert faulty_s3.asked[get(s3)] == 2, "another invocation asks afresh"
    faulty_s3.heal()
    clock = time.monotonic() + refusals.REFUSAL_S + 1
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    assert store.fetch("a")[0] == BODY


def test_refusals_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "MOST_REFUSALS", 3)
    remembered = Refusals()
    for k in range(5):
        remembered.note(str(k), AccessDenied(errno.EACCES, f"no {k}"))
    remembered.check("1")
    with pytest.raises(AccessDenied, match="no 4"):
        remembered.check("4")
    assert len(remembered._until) == 3


def test_a_failing_source_is_asked_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: clock)
    silence, asked = Silence(), 0
    while clock < 4 * 3600:
        if not silence.reason():
            asked += 1
            for _ in range(32):  # as many requests were in flight
                silence.begin("it said no")
        clock += 0.5
    assert asked == 25
    silence.end()
    assert not silence.reason()


# --- credentials -------------------------------------------------------------------------------

PROCESS = """\
import datetime, json, os, sys
with open({log!r}, "a") as log:
    log.write("asked\\n")
count = sum(1 for _ in open({log!r}))
mode = open({mode!r}).read()
if mode == "fail":
    sys.stderr.write("SECRET-on-stderr")
    sys.exit(1)
if mode == "garbage":
    print("SECRET-no-json")
    sys.exit(0)
until = datetime.datetime.fromtimestamp(float(mode), datetime.UTC)
print(json.dumps({{
    "Version": 1, "AccessKeyId": f"KEY{{count}}", "SecretAccessKey": "SECRET-of-process",
    "SessionToken": "SECRET-token", "Expiration": until.isoformat(),
}}))
"""


class Clock:
    """Of refusals and of credentials that expire: it stands still until it is set forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 0.0
        self._begun = datetime.now(UTC)
        spare = credentials.CredentialSource.spare

        def spared(source: credentials.CredentialSource, given: Any) -> None:
            given._time_fetcher = self.now
            spare(source, given)

        def left(until: datetime) -> float:
            return (until - self.now()).total_seconds()

        monkeypatch.setattr(refusals, "time", self)
        monkeypatch.setattr(credentials, "_seconds", left)
        monkeypatch.setattr(credentials.CredentialSource, "spare", spared)

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return self._begun + timedelta(seconds=self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Process:
    """A credential process, named by a profile of the AWS configuration."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._clock = clock
        self._log, self._mode, script = folder / "log", folder / "mode", folder / "process.py"
        script.write_text(PROCESS.format(log=str(self._log), mode=str(self._mode)))
        self.config = folder / "config"
        self.config.write_text(
            f"[profile seismic]\ncredential_process = {sys.executable} {script}\n"
        )
        self.gives(3600)

    def gives(self, mode: float | str) -> None:
        """A number: credentials that live so many seconds from now on."""
        if not isinstance(mode, str):
            mode = (self._clock.now() + timedelta(seconds=mode)).timestamp()
        self._mode.write_text(str(mode))

    @property
    def calls(self) -> int:
        return len(self._log.read_text().splitlines()) if self._log.exists() else 0


@pytest.fixture
def process(
    tmp_path: Path, s3: Any, faulty_s3: FaultyS3, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Process:
    store = open_store(s3.url("store"))
    for k in range(20):
        store.create(f"{k}", BODY)
    faulty_s3.heal()
    process = Process(tmp_path, clock)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(process.config))
    monkeypatch.setattr(requests, "FIRST_WAIT_S", 0.001)
    return process


def by_profile(s3: Any) -> Store:
    return open_store(s3.url("store"), S3Options(profile="seismic"))


def test_credentials_of_a_profile_are_asked_for_once_a_life(
    s3: Any, process: Process, clock: Clock
) -> None:
    process.gives(8)
    store = by_profile(s3)
    for clock.seconds, calls in ((0.0, 1), (5.9, 1), (6.1, 2), (12.0, 2), (12.2, 3), (99.0, 4)):
        process.gives(8)
        assert fetch_all(store, ["1"] * 4) == [BODY] * 4
        assert process.calls == calls, "a life of 8 s is renewed after 6 s"


def test_long_lives_are_asked_for_once_by_all_threads(s3: Any, process: Process) -> None:
    process.gives(3600)
    assert fetch_all(by_profile(s3), [f"{k}" for k in range(20)]) == [BODY] * 20
    assert process.calls == 1


def test_credentials_that_the_store_says_have_expired_are_renewed_once(
    s3: Any, process: Process, faulty_s3: FaultyS3
) -> None:
    store = by_profile(s3)
    store.fetch("0")
    faulty_s3.fail(Answer(400, "ExpiredToken"), signed_by="^KEY1$")
    assert fetch_all(store, [f"{k}" for k in range(20)]) == [BODY] * 20
    assert process.calls == 2
    faulty_s3.heal()
    faulty_s3.fail(Answer(400, "ExpiredToken"), signed_by="KEY")
    for _ in range(5):
        with pytest.raises(AccessDenied, match=r"credentials of profile 'seismic' are refused"):
            store.fetch("0")
    assert process.calls == 3 and faulty_s3.asked.total() == 2


def test_a_signature_that_does_not_match_denies_its_own_object_alone(
    store: Store, faulty_s3: FaultyS3
) -> None:
    store.create("b", BODY)
    faulty_s3.fail(Answer(403, "SignatureDoesNotMatch"), "GET .*store/a")
    with pytest.raises(AccessDenied, match="SignatureDoesNotMatch"):
        store.fetch("a")
    assert store.fetch("b")[0] == BODY


def test_wrong_credentials_are_asked_with_once_for_all_objects(
    s3: Any, process: Process, faulty_s3: FaultyS3
) -> None:
    store = by_profile(s3)
    faulty_s3.fail(Answer(403, "InvalidAccessKeyId"))
    for k in range(20):
        with pytest.raises(AccessDenied, match="InvalidAccessKeyId"):
            store.fetch(f"{k}")
    assert faulty_s3.asked.total() == 1 and process.calls == 1


@pytest.mark.parametrize("mode", ["fail", "garbage", -5])
def test_a_source_that_fails_is_not_asked_by_every_request(
    s3: Any, process: Process, clock: Clock, mode: str | float, caplog: pytest.LogCaptureFixture
) -> None:
    process.gives(mode)
    store = by_profile(s3)
    for k in range(20):
        with pytest.raises(AccessDenied, match="no credentials from profile 'seismic'") as raised:
            store.fetch(f"{k}")
        assert "SECRET" not in str(raised.value) and raised.value.__cause__ is None
    first = process.calls
    clock.seconds = 1.1
    with pytest.raises(AccessDenied):
        store.fetch("0")
    assert (first, process.calls) == ((2, 3) if mode == -5 else (1, 2)), "expired: asked once more"
    assert "SECRET" not in caplog.text


def test_a_source_that_fails_early_costs_nothing_while_credentials_last(
    s3: Any, process: Process, clock: Clock
) -> None:
    """Of eighty seconds: they may be renewed after sixty, and must be after seventy."""
    process.gives(80)
    store = by_profile(s3)
    store.fetch("0")
    process.gives("fail")
    for clock.seconds, calls in ((59.0, 1), (60.1, 2), (60.9, 2), (61.2, 3), (63.1, 3), (63.3, 4)):
        assert fetch_all(store, ["0"] * 8) == [BODY] * 8
        assert process.calls == calls, "asked after 1 s, 2 s and 4 s"
    clock.seconds = 70.1
    with pytest.raises(AccessDenied, match="no credentials"):
        store.fetch("0")
    clock.seconds = 80.0
    process.gives(80)
    store.fetch("0")
    process.gives("fail")
    for clock.seconds, calls in ((139.0, 6), (140.1, 7), (141.2, 8)):
        store.fetch("0")
        assert process.calls == calls, "a success is followed by a second again"


def test_an_unknown_profile_and_no_credentials_are_told(
    s3: Any, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AccessDenied, match="profile 'other' is not in the AWS configuration"):
        open_store(s3.url("store"), S3Options(profile="other")).fetch("a")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(AccessDenied, match=r"no credentials found.*anonymous = true"):
        open_store(s3.url("store")).fetch("a")


@pytest.mark.parametrize(
    "url",
    [
        "s3://AKIASECRET:SECRET@bucket/prefix",
        "s3://bucket/prefix?X-Amz-Signature=SECRET",
        "https://bucket.s3.amazonaws.com/a?AWSAccessKeyId=AKIASECRET&Signature=SECRET",
        "https://user:SECRET@host/a",
    ],
)
def test_a_url_with_credentials_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(Refusal) as raised:
        open_store(url)
    assert "SECRET" not in str(raised.value) and "password" in str(raised.value)


def test_an_endpoint_with_a_password_is_refused(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint.replace("//", "//user:SECRET@"))
    with pytest.raises(Refusal, match="AWS_ENDPOINT_URL") as raised:
        open_store(s3.url("store")).fetch("a")
    assert "SECRET" not in str(raised.value)
