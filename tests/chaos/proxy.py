"""A fault-injecting S3 endpoint: a proxy on loopback before a real one, in a process of its own.

    python -m tests.chaos.proxy --upstream http://127.0.0.1:5000 --port 5001 --seed 3 --counts FILE

What befalls a request is drawn from the seed, from what it asks for, and from how many times that
was asked for: the n-th request for a key has the same fate in every run of a seed, whatever comes
between. SIGUSR1 closes the endpoint and cuts what is open, SIGUSR2 opens it again; what has
`--refuse` in its path is answered 403 until SIGHUP; at SIGTERM it writes how many requests it saw
and how many of each fault it made.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from html import unescape
from pathlib import Path
from urllib.parse import unquote

from aiohttp import ClientSession, ClientTimeout, TCPConnector, web
from yarl import URL

ANY = {
    "500": 0.010,
    "503": 0.010,
    "503, Retry-After": 0.005,
    "429": 0.005,
    "429, Retry-After": 0.005,
    "slow": 0.020,  # up to three seconds before it is sent on
    "hung": 0.0003,  # not sent on, and never answered
    "cut before the request": 0.005,  # of its body nothing is read
    "cut after the reply": 0.010,  # which leaves the client with a dead connection
}
"""Befall every request, sent on unless they say otherwise."""

GET = {
    "cut before the reply": 0.010,
    "cut in the reply": 0.015,  # its Content-Length announces all of it
    "reset in the reply": 0.005,
    "trickle": 0.010,  # the reply comes in pieces, over two seconds
}
PUT = {
    "cut in the request": 0.010,  # half of its body is read, and nothing sent on
    "put, reply lost": 0.030,
    "put, then 500": 0.020,
    "put twice": 0.020,  # the first answer is lost, the second is given
    "put late": 0.010,  # cut at once, and sent on some seconds later
}
LIST = {"stale": 0.250}
"""A listing as it was up to `STALE_S` seconds ago."""

FORBIDDEN = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"

STALE_S = 20.0
LATE_S = 6.0

_ATTEMPT = re.compile(r"/[0-9a-f]{32}\.parquet$")
_ENTRY = re.compile(rb"<(Contents|CommonPrefixes)>.*?</\1>", re.DOTALL)
_NAME = re.compile(rb"<(?:Key|Prefix)>(.*?)</")
_HOP = {"host", "expect", "connection", "transfer-encoding", "content-length", "date", "server"}


def rates_of(method: str, listing: bool) -> dict[str, float]:
    """Fault -> probability, for one kind of request."""
    if method == "PUT":
        return ANY | PUT
    return ANY | GET | (LIST if listing else {})


def fate(seed: int, what: str, nth: int, rates: Mapping[str, float]) -> tuple[str, random.Random]:
    """The fault of the nth request for `what`, or "", and a generator for how it goes."""
    rng = random.Random(f"{seed} {what} {nth}")
    left = rng.random()
    for fault, rate in rates.items():
        left -= rate
        if left < 0:
            return fault, rng
    return "", rng


class Proxy:
    """rates: fault -> probability that takes the place of the ones above (tests make 1 of one)."""

    def __init__(self, upstream: str, seed: int, rates: Mapping[str, float] | None = None) -> None:
        self.upstream, self.seed, self.rates = upstream, seed, rates
        self.refused = ""  # part of the path of objects that are not to be read, for now
        self.requests: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._born: dict[str, float] = {}  # bucket/key -> when its put had succeeded
        self._later: set[asyncio.Task[None]] = set()

    async def open(self, port: int) -> None:
        """Listen on loopback until `close`."""
        self._session = ClientSession(
            connector=TCPConnector(limit=64),
            timeout=ClientTimeout(total=120),
            auto_decompress=False,
        )
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True)
        await self._runner.setup()
        self._port = port
        await self.resume()

    async def resume(self) -> None:
        if not self._runner.sites:
            await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()

    async def refuse(self) -> None:
        """Take no more connections, and cut those that are open."""
        self.faults["endpoint closed"] += 1
        for site in list(self._runner.sites):
            await site.stop()
        assert self._runner.server is not None
        for connection in self._runner.server.connections:
            if connection.transport is not None:
                connection.transport.abort()

    async def close(self) -> None:
        for task in self._later:
            task.cancel()
        await self._session.close()
        await self._runner.cleanup()

    def fate(self, what: str, nth: int, rates: Mapping[str, float]) -> tuple[str, random.Random]:
        return fate(self.seed, what, nth, rates)

    def counts(self) -> dict[str, dict[str, int]]:
        return {"requests": dict(self.requests), "faults": dict(self.faults)}

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        listing = request.method == "GET" and "list-type" in request.query
        if self.refused and self.refused in request.path:
            self.faults["403, for now"] += 1
            return web.Response(status=403, text=FORBIDDEN, content_type="application/xml")
        what = f"{request.method} {_ATTEMPT.sub('/*.parquet', request.path)}"
        if listing:
            what += " {prefix} {delimiter}".format_map(Counter(request.query))  # "" where it is not
        self._asked[what] += 1
        self.requests["LIST" if listing else request.method] += 1
        rates = self.rates or rates_of(request.method, listing)
        fault, rng = self.fate(what, self._asked[what], rates)
        if fault:
            self.faults[fault] += 1
        return await self._befall(request, fault, rng)

    async def _befall(
        self, request: web.Request, fault: str, rng: random.Random
    ) -> web.StreamResponse:
        if fault == "cut before the request":
            return _cut(request)
        if fault == "cut in the request":
            await request.content.read(max(1, (request.content_length or 0) // 2))
            return _cut(request)
        body = await request.read()
        if fault == "hung":
            await asyncio.sleep(3600)
        if fault[:3].isdigit():
            wait = {"Retry-After": "1"} if fault.endswith("Retry-After") else {}
            return web.Response(status=int(fault[:3]), headers=wait)
        if fault == "put late":
            late = asyncio.ensure_future(self._send_late(request, body, rng.uniform(0, LATE_S)))
            self._later.add(late)
            late.add_done_callback(self._later.discard)
            return _cut(request)
        if fault == "slow":
            await asyncio.sleep(rng.uniform(0.2, 3.0))
        status, headers, content = await self._send(request, body)
        if fault == "put twice":
            status, headers, content = await self._send(request, body)
        elif fault in ("put, reply lost", "cut before the reply"):
            return _cut(request)
        elif fault == "put, then 500":
            return web.Response(status=500)
        elif fault == "stale":
            content = self._as_it_was(request, content, rng.uniform(0.0, STALE_S))
        return await self._answer(request, status, headers, content, fault)

    async def _send(
        self, request: web.Request, body: bytes
    ) -> tuple[int, Mapping[str, str], bytes]:
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP]
        url = URL(self.upstream + request.raw_path, encoded=True)
        async with self._session.request(
            request.method, url, headers=headers, data=body or None, allow_redirects=False
        ) as reply:
            content = await reply.read()
            if request.method == "PUT" and reply.status == 200:
                self._born.setdefault(request.path.lstrip("/"), time.monotonic())
            return reply.status, reply.headers, content

    async def _send_late(self, request: web.Request, body: bytes, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._send(request, body)

    async def _answer(
        self,
        request: web.Request,
        status: int,
        headers: Mapping[str, str],
        content: bytes,
        fault: str,
    ) -> web.StreamResponse:
        kept = {k: v for k, v in headers.items() if k.lower() not in _HOP}
        response = web.StreamResponse(status=status, headers=kept)
        response.content_length = len(content)
        if request.method == "HEAD":
            response.content_length = int(headers.get("Content-Length", 0))
            content = b""
        with suppress(ConnectionError):  # the client may have gone
            await response.prepare(request)
            if fault in ("cut in the reply", "reset in the reply"):
                await response.write(content[: len(content) // 2])
                return _cut(request, gently=fault == "cut in the reply")
            pieces = 8 if fault == "trickle" else 1
            step = max(1, -(-len(content) // pieces))
            for start in range(0, len(content), step):
                await response.write(content[start : start + step])
                if pieces > 1:
                    await asyncio.sleep(2.0 / pieces)
            await response.write_eof()
            if fault == "cut after the reply":
                return _cut(request, gently=True)
        return response

    def _as_it_was(self, request: web.Request, content: bytes, seconds: float) -> bytes:
        """A page of a listing without what has been put in the last `seconds`."""
        bucket = request.path.strip("/")
        horizon = time.monotonic() - seconds
        young = {name for name, born in self._born.items() if born > horizon}
        old = self._born.keys() - young

        def keep(entry: re.Match[bytes]) -> bytes:
            found = _NAME.search(entry[0])
            assert found is not None
            name = f"{bucket}/{unquote(unescape(found[1].decode()))}"
            if entry[1] == b"Contents":
                hidden = name in young
            else:  # a folder is hidden with the last of what was put into it
                hidden = any(n.startswith(name) for n in young) and not any(
                    n.startswith(name) for n in old
                )
            return b"" if hidden else entry[0]

        return _ENTRY.sub(keep, content)


def _cut(request: web.Request, gently: bool = False) -> web.StreamResponse:
    """End the connection: by a reset, or gently once what was written has gone out."""
    if request.transport is not None:
        if gently:
            request.transport.close()
        else:
            request.transport.abort()
    return web.Response(status=500)  # which nobody sees


async def _serve(upstream: str, port: int, seed: int, counts: Path, refused: str) -> None:
    proxy = Proxy(upstream, seed)
    proxy.refused = refused
    await proxy.open(port)
    loop, over = asyncio.get_running_loop(), asyncio.Event()
    for number, act in ((signal.SIGUSR1, proxy.refuse), (signal.SIGUSR2, proxy.resume)):
        loop.add_signal_handler(number, lambda act=act: loop.create_task(act()))  # type: ignore[misc]
    loop.add_signal_handler(signal.SIGHUP, setattr, proxy, "refused", "")
    loop.add_signal_handler(signal.SIGTERM, over.set)
    await over.wait()
    counts.write_text(json.dumps(proxy.counts(), indent=1))
    await proxy.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="A fault-injecting S3 endpoint on loopback.")
    parser.add_argument("--upstream", required=True, help="URL of the S3 endpoint behind it")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--counts", type=Path, required=True, help="json, written at the end")
    parser.add_argument("--refuse", default="", help="part of the path of objects; until SIGHUP")
    options = parser.parse_args()
    asyncio.run(
        _serve(options.upstream, options.port, options.seed, options.counts, options.refuse)
    )


if __name__ == "__main__":
    main()
