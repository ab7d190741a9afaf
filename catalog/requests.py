"""One request to S3: how often it is tried, how many at once, and what its failure means.

This is the one policy, also for what zarr and DuckDB ask through the file system. Tried again, at
most ATTEMPTS times in all, with exponential backoff and full jitter, or when the store says:
429, SlowDown, 5xx, timeouts, broken connections, bodies that are shorter than announced, and
writes that crossed another (409). Every other 4xx is an answer. Credentials that have expired are
read anew from their source, once a request.
"""

from __future__ import annotations

import asyncio
import errno
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from urllib.parse import urlsplit

import s3fs
from aiohttp import ClientError as HttpError
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from catalog.answers import asked_to_wait, judged, may_have_expired
from catalog.credentials import CredentialSource
from catalog.errors import Refusal
from catalog.refusals import Silence
from catalog.verbs import CredentialsRefused, S3Options, StoreError, StoreUnavailable

ATTEMPTS = 6
"""Tries of one request, all causes together. Where a connection is closed without an answer aiohttp
sends a GET twice in one try."""

FIRST_WAIT_S = 0.4
"""At most, before the second try; each further one may wait twice as long: 12 s in all."""

LONGEST_WAIT_S = 60.0
"""However long a store asks to wait (Retry-After)."""

CONNECT_S, SILENT_S, REQUEST_S = 10, 60, 300
"""Without a connection, without another byte, and without the end of the answer."""

CONNECTIONS = 32
"""Requests in flight of one store in one process; what is more waits for its turn."""

_FAILURES = (ClientError, BotoCoreError, ResponseParserError, HttpError, OSError)

_T = TypeVar("_T")


class S3FileSystem(s3fs.S3FileSystem):  # type: ignore[misc]
    """s3fs, whose every request goes through `tried`. Two never share connections or refusals."""

    cachable = False
    session: Any

    def __init__(self, *args: Any, profile: str | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._source = CredentialSource(profile)
        self._refused = Silence()
        self._renewing = asyncio.Lock()
        self._session_is_owned = False  # set_session makes it

    @classmethod
    def of(cls, options: S3Options) -> S3FileSystem:
        """The file system for a store's options; one policy for retries, in `tried`."""
        return cls(
            anon=options.anonymous,
            endpoint_url=options.endpoint_url,
            profile=options.profile,
            client_kwargs={"region_name": options.region} if options.region else {},
            config_kwargs={
                "retries": {"mode": "standard", "total_max_attempts": 1},  # see `tried`
                "connect_timeout": CONNECT_S,
                "read_timeout": SILENT_S,
                "max_pool_connections": CONNECTIONS,
            },
            use_listings_cache=False,
        )

    async def set_session(self, refresh: bool = False, kwargs: Any = None) -> Any:
        """The client. refresh: another one, with credentials read anew."""
        if self.session is None or refresh:
            self.session = self._source.session()
        try:
            client = await super().set_session(refresh)
        except ValueError as error:  # botocore's word for it
            if "endpoint" not in str(error):
                raise
            raise Refusal(
                "AWS_ENDPOINT_URL (or endpoint_url): write it as http(s)://HOST[:PORT]"
            ) from None
        if urlsplit(client.meta.endpoint_url).username is not None:
            raise Refusal("AWS_ENDPOINT_URL has a password in it: write it without")
        return client

    async def tried(self, url: str, request: Callable[[Any], Awaitable[_T]]) -> _T:
        """What a request, made of a client, brings. Raises Refusal and a StoreError."""
        stale: Any = None
        for attempt in range(1, ATTEMPTS + 1):
            if why := self._refused.reason():
                raise CredentialsRefused(errno.EACCES, why)
            client = self._s3
            try:
                client = await self._client_after(stale)
                async with asyncio.timeout(REQUEST_S):
                    answer = await request(client)
            except _FAILURES as error:
                ours = isinstance(error, StoreError)
                failure = error if ours else judged(error, url, self._source.name)
                expired = may_have_expired(error) and not self.anon
                wait = _pause(attempt) + min(LONGEST_WAIT_S, asked_to_wait(error))
            else:
                self._refused.end()
                return answer
            # raised below, where no cause hangs on it: its words may hold secrets
            if expired and stale is None:
                stale = client
            elif isinstance(failure, StoreUnavailable) and attempt < ATTEMPTS:
                await asyncio.sleep(wait)
            else:
                break
        if isinstance(failure, CredentialsRefused):
            self._refused.begin(str(failure.strerror))
        raise failure

    async def _client_after(self, stale: Any) -> Any:
        """The client, another than one whose credentials have expired; one is made for all."""
        async with self._renewing:
            return await self.set_session(refresh=stale is not None and self._s3 is stale)

    async def _call_s3(self, method: str, *more: Any, **kwargs: Any) -> Any:
        """What s3fs asks."""

        async def request(client: Any) -> Any:
            call = getattr(client, method)
            return await call(**self._get_s3_method_kwargs(call, *more, **kwargs))

        key = kwargs.get("Key", kwargs.get("Prefix", ""))
        return await self.tried(f"s3://{kwargs.get('Bucket', '')}/{key}", request)


def _pause(attempt: int) -> float:
    """Seconds before the next try."""
    return random.uniform(0, FIRST_WAIT_S * 2 ** (attempt - 1))
