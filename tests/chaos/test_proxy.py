"""The proxy before a real endpoint: each fault is what it says, and a seed says which."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest

from tests.chaos.proxy import ANY, GET, LIST, PUT, Proxy, fate, rates_of
from tests.servers import free_port

SIGNED = {"Authorization": "AWS test:test"}
BODY = bytes(range(256)) * 4000


class Talk:
    """One proxy that makes one fault of every request, and who speaks through it."""

    def __init__(self, proxy: Proxy, session: aiohttp.ClientSession, url: str, bare: str) -> None:
        self.proxy, self.session, self.url, self.bare = proxy, session, url, bare

    async def put(self, key: str, body: bytes = BODY) -> int:
        headers = {"If-None-Match": "*"}
        async with self.session.put(f"{self.url}/{key}", data=body, headers=headers) as reply:
            return reply.status

    async def get(self, key: str) -> tuple[int, bytes]:
        async with self.session.get(f"{self.url}/{key}") as reply:
            return reply.status, await reply.read()

    async def stored(self, key: str) -> bytes | None:
        """What the endpoint itself has."""
        async with self.session.get(f"{self.bare}/{key}") as reply:
            return await reply.read() if reply.status == 200 else None

    async def listed(self) -> str:
        return (await self.get("?list-type=2&prefix="))[1].decode()


@pytest.fixture
def talk(s3: Any) -> Callable[[str, Callable[[Talk], Coroutine[Any, Any, None]]], None]:
    """Runs a conversation through a proxy with one fault."""

    def run(fault: str, conversation: Callable[[Talk], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            proxy, port = Proxy(s3.endpoint, 0, {fault: 1.0}), free_port()
            await proxy.open(port)
            async with aiohttp.ClientSession(headers=SIGNED) as session:
                url = f"http://127.0.0.1:{port}/{s3.bucket}"
                await conversation(Talk(proxy, session, url, f"{s3.endpoint}/{s3.bucket}"))
            await proxy.close()
            assert proxy.faults.keys() <= {fault, "endpoint closed"}

        asyncio.run(main())

    return run


def test_without_a_fault_it_changes_nothing(talk: Any) -> None:
    async def conversation(it: Talk) -> None:
        assert await it.put("some/key=1") == 200
        assert await it.get("some/key=1") == (200, BODY)
        assert (await it.get("none"))[0] == 404
        async with it.session.head(f"{it.url}/some/key=1") as reply:
            assert int(reply.headers["Content-Length"]) == len(BODY)
        assert "some/key=1" in await it.listed()
        assert await it.put("some/key=1", b"another") == 412
        assert it.proxy.requests == Counter(GET=2, PUT=2, HEAD=1, LIST=1)

    talk("none", conversation)


@pytest.mark.parametrize(
    ("fault", "status"),
    [("500", 500), ("503, Retry-After", 503), ("429", 429), ("put, then 500", 500)],
)
def test_errors(talk: Any, fault: str, status: int) -> None:
    async def conversation(it: Talk) -> None:
        assert await it.put("key") == status
        assert await it.stored("key") == (BODY if fault == "put, then 500" else None)

    talk(fault, conversation)


@pytest.mark.parametrize(
    ("fault", "arrives"),
    [
        ("cut before the request", False),
        ("cut in the request", False),
        ("put, reply lost", True),
        ("put late", True),
    ],
)
def test_puts_whose_connection_is_cut(talk: Any, fault: str, arrives: bool) -> None:
    async def conversation(it: Talk) -> None:
        with pytest.raises(aiohttp.ClientError):
            await it.put("key")
        deadline = time.monotonic() + 10.0
        while arrives and await it.stored("key") is None and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        assert await it.stored("key") == (BODY if arrives else None)

    talk(fault, conversation)


def test_a_put_that_is_delivered_twice_finds_itself(talk: Any) -> None:
    async def conversation(it: Talk) -> None:
        assert await it.put("key") == 412
        assert await it.stored("key") == BODY

    talk("put twice", conversation)


@pytest.mark.parametrize(
    "fault", ["cut before the reply", "cut in the reply", "reset in the reply"]
)
def test_replies_that_are_not_whole(talk: Any, fault: str) -> None:
    async def conversation(it: Talk) -> None:
        await it.session.put(f"{it.bare}/key", data=BODY)
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await it.get("key")

    talk(fault, conversation)


@pytest.mark.parametrize("fault", ["slow", "trickle", "cut after the reply"])
def test_replies_that_are_whole_and_troublesome(talk: Any, fault: str) -> None:
    async def conversation(it: Talk) -> None:
        await it.session.put(f"{it.bare}/key", data=BODY)
        for _ in range(2):
            begun = time.monotonic()
            assert await it.get("key") == (200, BODY)
            assert fault == "cut after the reply" or time.monotonic() - begun > 0.15

    talk(fault, conversation)


def test_a_stale_listing_lacks_what_is_young_and_nothing_else(
    talk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.chaos.proxy.STALE_S", 1e-9)

    async def conversation(it: Talk) -> None:
        await it.session.put(f"{it.bare}/old/k=1", data=b"")
        await it.put("new/k=1", b"")
        folders = f"{it.url}?list-type=2&delimiter=/&prefix="
        for stale in (False, True):
            monkeypatch.setattr("tests.chaos.proxy.STALE_S", 3600.0 * stale + 1e-9)
            async with it.session.get(folders) as reply:
                below = await reply.text()
            for text in (await it.listed(), below):
                assert "old/" in text and ("new/" in text) != stale

    talk("stale", conversation)


def test_a_closed_endpoint_refuses_until_it_opens(talk: Any) -> None:
    async def conversation(it: Talk) -> None:
        assert await it.put("key") == 200
        await it.proxy.refuse()
        with pytest.raises((aiohttp.ClientError, ConnectionError)):
            await it.get("key")
        await it.proxy.resume()
        assert (await it.get("key"))[0] == 200

    talk("none", conversation)


def test_fate_is_the_seeds() -> None:
    rates = rates_of("GET", listing=False)
    told = [fate(3, "GET /b/key", n, rates)[0] for n in range(2000)]
    assert told == [fate(3, "GET /b/key", n, rates)[0] for n in range(2000)]
    assert told != [fate(4, "GET /b/key", n, rates)[0] for n in range(2000)]
    assert told != [fate(3, "GET /b/other", n, rates)[0] for n in range(2000)]
    share = sum(map(bool, told)) / len(told)
    assert abs(share - sum(rates.values())) < 0.03
    assert not PUT.keys() & rates.keys() and rates.keys() == ANY.keys() | GET.keys()
    assert rates_of("GET", listing=True).keys() == rates.keys() | LIST.keys()
