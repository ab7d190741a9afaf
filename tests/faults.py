"""A proxy on loopback in front of an S3 endpoint that fails as real ones do, and counts.

    with FaultyS3(moto) as proxy:
        proxy.fail(Answer(503, "SlowDown"), "GET /bucket/a", times=2)
        ...
    proxy.asked["GET /bucket/a"]

Faults are matched in the order in which they were told; chance draws from one seed. The answer of a
fault counts in `answers`, that of the endpoint too.
"""

from __future__ import annotations

import http.client
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

LOST = 0
"""The status, in the counts, of an answer that never came."""


@dataclass(frozen=True)
class Answer:
    """An error of the store's own; {key} in its message is the access key of the request."""

    status: int
    code: str
    message: str = "told to fail"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Page:
    """A web page, of something between the endpoint and us that takes it upon itself to answer."""

    body: bytes = b"<html><body>Log in first</body></html>"


@dataclass(frozen=True)
class Cut:
    """The endpoint's answer, broken off after so many bytes of its body."""

    after: int


@dataclass(frozen=True)
class Drop:
    """The connection is closed without an answer; the endpoint never hears of the request."""


@dataclass(frozen=True)
class LoseReply:
    """The endpoint does what is asked, and its answer never comes."""


@dataclass(frozen=True)
class Delay:
    """The endpoint's answer, so many seconds later."""

    seconds: float


@dataclass(frozen=True)
class Stale:
    """The answer that the endpoint gave to the same request before, where there was one."""


Fault = Answer | Page | Cut | Drop | LoseReply | Delay | Stale


@dataclass
class _Told:
    fault: Fault
    request: re.Pattern[str]
    signed_by: re.Pattern[str]
    left: float
    chance: float


class FaultyS3:
    """Passes requests on to an endpoint, but for the faults that it was told of."""

    def __init__(self, upstream: str, seed: int = 0) -> None:
        self.upstream = urlsplit(upstream).netloc
        self.asked: Counter[str] = Counter()
        """Requests by "METHOD /bucket/key"; a listing is "LIST /bucket/prefix"."""
        self.answers: Counter[tuple[str, int]] = Counter()
        """The same with the status of the answer."""
        self.signed: set[tuple[str, str]] = set()
        """Access key and region of every signature."""
        self.most_at_once = 0
        self.latency_s = 0.0
        self._told: list[_Told] = []
        self._before: dict[str, tuple[int, list[tuple[str, str]], bytes]] = {}
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._at_once = 0
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.proxy = self
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def fail(
        self,
        fault: Fault,
        request: str = "",
        times: float = float("inf"),
        chance: float = 1.0,
        signed_by: str = "",
    ) -> None:
        """A fault for requests in whose "METHOD /bucket/key" a regular expression is found.

        signed_by: another one, found in the access key that signed it.
        """
        told = _Told(fault, re.compile(request), re.compile(signed_by), times, chance)
        with self._lock:
            self._told.append(told)

    def heal(self) -> None:
        """No more faults, and the counts begin anew."""
        with self._lock:
            self._told.clear()
            self.asked.clear()
            self.answers.clear()
            self.signed.clear()
            self.most_at_once = 0

    def __enter__(self) -> FaultyS3:
        self._thread.start()
        return self

    def __exit__(self, *why: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _take(self, name: str, access_key: str) -> Fault | None:
        """The fault for a request, which is counted."""
        with self._lock:
            self.asked[name] += 1
            for told in self._told:
                fits = told.request.search(name) and told.signed_by.search(access_key)
                if fits and told.left > 0 and self._random.random() < told.chance:
                    told.left -= 1
                    return told.fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    proxy: FaultyS3


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    _HOP: ClassVar[set[str]] = {"connection", "expect", "keep-alive", "transfer-encoding"}

    def do_GET(self) -> None:
        proxy = self.server.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        name = self._name()
        signed = self.headers.get("Authorization", "").partition("Credential=")[2]
        access_key, _, scope = signed.partition("/")
        fault = proxy._take(name, access_key)
        with proxy._lock:
            if signed:
                proxy.signed.add((access_key, scope.split("/")[1]))
            proxy._at_once += 1
            proxy.most_at_once = max(proxy.most_at_once, proxy._at_once)
        try:
            time.sleep(proxy.latency_s)
            status = self._answered(fault, name, access_key, body)
        finally:
            with proxy._lock:
                proxy._at_once -= 1
        with proxy._lock:
            proxy.answers[name, status] += 1

    do_PUT = do_HEAD = do_DELETE = do_POST = do_GET

    def _name(self) -> str:
        url = urlsplit(self.path)
        prefix = re.search(r"(?:^|&)prefix=([^&]*)", url.query)
        if self.command == "GET" and "list-type=2" in url.query:
            return f"LIST {unquote(url.path).rstrip('/')}/{unquote(prefix[1]) if prefix else ''}"
        return f"{self.command} {unquote(url.path)}"

    def _answered(self, fault: Fault | None, name: str, access_key: str, body: bytes) -> int:
        """The status of the answer that was given."""
        match fault:
            case Answer():
                return self._refuse(fault, access_key)
            case Page(page):
                return self._say(200, page, {})
            case Drop():
                return self._hang_up()
            case Delay(seconds):
                time.sleep(seconds)
        status, headers, answer = self._upstream(body)
        if isinstance(fault, LoseReply):
            return self._hang_up()
        before = self.server.proxy._before
        if name.startswith("LIST") and isinstance(fault, Stale) and self.path in before:
            status, headers, answer = before[self.path]
        elif name.startswith("LIST"):
            before[self.path] = status, headers, answer
        self.send_response_only(status)
        for key, value in headers:
            self.send_header(key, value)
        if self.command != "HEAD" and "content-length" not in {key.lower() for key, _ in headers}:
            self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        if isinstance(fault, Cut):
            self.wfile.write(answer[: fault.after])
            self._hang_up()
        else:
            self.wfile.write(answer)
        return status

    def _upstream(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.proxy.upstream, timeout=60)
        try:
            sent = {k: v for k, v in self.headers.items() if k.lower() not in self._HOP}
            connection.request(self.command, self.path, body or None, sent)
            reply = connection.getresponse()
            headers = [(k, v) for k, v in reply.getheaders() if k.lower() not in self._HOP]
            return reply.status, headers, reply.read()
        finally:
            connection.close()

    def _refuse(self, fault: Answer, access_key: str) -> int:
        message = fault.message.format(key=access_key)
        error = f"<Error><Code>{fault.code}</Code><Message>{message}</Message></Error>"
        text = b"" if self.command == "HEAD" else error.encode()
        return self._say(fault.status, text, fault.headers)

    def _say(self, status: int, text: bytes, headers: Mapping[str, str]) -> int:
        self.send_response_only(status)
        for key, value in {**headers, "Content-Length": str(len(text))}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(text)
        return status

    def _hang_up(self) -> int:
        self.close_connection = True
        return LOST

    def log_message(self, format: str, *args: Any) -> None:
        pass
