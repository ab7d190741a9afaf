"""Where an S3 client's credentials come from, asked no more often than their life demands.

botocore refreshes credentials a fixed quarter of an hour before they end: those that live shorter
it asks for again with every request, and a source that fails with every request too.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, TypeVar

from aiobotocore.session import AioSession
from botocore.credentials import RefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

from catalog.refusals import Silence
from catalog.verbs import CredentialsRefused

SOURCE_S = 60.0
"""A source that has not answered by then has failed."""

EARLY_S = 900.0, 600.0
"""Before their end credentials may, and must, be refreshed: botocore's own times."""

EARLY_SHARE = 4, 8
"""Of short-lived credentials: a quarter, and an eighth, of their life before its end."""

_FAILURES = (BotoCoreError, ClientError, OSError, ValueError, KeyError, TypeError, RuntimeError)
"""What processes, token endpoints and their parsers raise."""

_T = TypeVar("_T")


class CredentialSource:
    """The credential source of one client, over all of its sessions.

    Raises CredentialsRefused without a word of what the source said: it may hold secrets.
    """

    def __init__(self, profile: str | None) -> None:
        self.name = f"profile {profile!r}" if profile else "the environment or the machine"
        self._profile = profile
        self._silence = Silence()

    def session(self) -> AioSession:
        """A session with credentials of its own, read anew from the source. Raises
        botocore's ProfileNotFound."""
        _hush()
        session = AioSession(profile=self._profile) if self._profile else AioSession()
        session.register_component(
            "credential_provider", _Provider(session.get_component("credential_provider"), self)
        )
        return session

    async def ask(self, question: Callable[[], Any]) -> Any:
        """The source's answer, awaited where it must be."""
        if why := self._silence.reason():
            raise CredentialsRefused(errno.EACCES, why)
        try:
            answer = question()
            if isinstance(answer, Awaitable):
                answer = await asyncio.wait_for(answer, SOURCE_S)
        except _FAILURES as error:
            raise self.failed(f"it gave none ({type(error).__name__})") from None
        self._silence.end()
        return answer

    def failed(self, how: str) -> CredentialsRefused:
        """What to raise for a source that gave none; it is left alone for a while (Silence)."""
        why = f"no credentials from {self.name}: {how}; try what it runs by hand, or name another"
        self._silence.begin(why)
        return CredentialsRefused(errno.EACCES, why)

    def spare(self, credentials: Any) -> None:
        """Have expiring credentials refreshed once in their life, however short that is.

        Refreshing raises CredentialsRefused where the source gives what has expired already.
        """
        refresh = credentials._refresh_using

        async def refreshed() -> Any:
            metadata = await self.ask(refresh)
            try:
                left = _seconds(credentials._expiry_datetime(metadata["expiry_time"]))
            except (KeyError, TypeError, ValueError):
                raise self.failed("what it gave has no time of expiry") from None
            if left <= 0:
                raise self.failed("what it gave has expired already")
            self._space(credentials, left)
            return metadata

        credentials._refresh_using = refreshed
        if credentials._expiry_time is not None:
            self._space(credentials, _seconds(credentials._expiry_time))

    def _space(self, credentials: Any, left: float) -> None:
        may, must = (
            max(0.0, min(early, left / share))
            for early, share in zip(EARLY_S, EARLY_SHARE, strict=True)
        )
        credentials._advisory_refresh_timeout = may
        credentials._mandatory_refresh_timeout = must


class _Provider:
    """A session's chain of credential providers, through the source."""

    def __init__(self, chain: Any, source: CredentialSource) -> None:
        self._chain, self._source = chain, source

    async def load_credentials(self) -> Any:
        credentials = await self._source.ask(self._chain.load_credentials)
        if isinstance(credentials, RefreshableCredentials):
            self._source.spare(credentials)
        return credentials


def _seconds(until: datetime) -> float:
    return (until - datetime.now(UTC)).total_seconds()


def _hush() -> None:
    """At DEBUG these print session tokens and token endpoints' replies; and where a refresh fails,
    what the credential process wrote."""
    for name, level in (
        ("botocore", logging.INFO),
        ("aiobotocore", logging.INFO),
        ("aiobotocore.credentials", logging.CRITICAL),
        ("botocore.credentials", logging.CRITICAL),
    ):
        logger = logging.getLogger(name)
        logger.setLevel(max(level, logger.level))
