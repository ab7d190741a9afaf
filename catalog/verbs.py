"""What every store can do, the same few verbs on a directory and on S3, and how it may fail."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from catalog.errors import Refusal


class StoreError(OSError):
    """A store refused or could not serve; the message names the URL and the fix."""


class MissingObject(StoreError, FileNotFoundError):
    """The object does not exist (404)."""


class AccessDenied(StoreError, PermissionError):
    """The store knows the request and refuses it (401, 403)."""


class CredentialsRefused(AccessDenied):
    """There are no credentials that the store accepts; it is not about one object."""


class StoreUnavailable(StoreError):
    """The store did not answer after bounded, backed-off tries (5xx, timeouts, network)."""


class Throttled(StoreUnavailable):
    """The store still asked for fewer requests after bounded, backed-off tries (429, SlowDown)."""


class ObjectChanged(StoreError):
    """The object is another version than the one that is being read; begin again."""


@dataclass(frozen=True, slots=True)
class Listed:
    """One object of a listing: its key below the store's root, bytes, and ETag."""

    key: str
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Part:
    """Some bytes of one version of an object, and the size of all of it."""

    body: bytes | memoryview
    size: int
    etag: str


Room = Callable[[int], Any]
"""Memory of so many bytes, for a body."""


def confined(key: str) -> str:
    """The key, where it cannot lead out of a store's root. Raises Refusal."""
    if key.startswith("/") or "\0" in key or not {".", ".."}.isdisjoint(key.split("/")):
        raise Refusal(f"key {key!r}: it may lead out of the store; use plain names and '/'")
    return key


def printable(text: str) -> str:
    r"""The same, bytes of a file's name that are no UTF-8 written as \xff: messages and tables hold
    text alone."""
    return os.fsencode(text).decode(errors="backslashreplace")


class Store(Protocol):
    """Objects below one root. Keys are relative, with `/`, and never begin with it."""

    url: str

    def url_of(self, key: str) -> str:
        """Where a key is, for people and errors. Raises Refusal for one that leads out."""
        ...

    def fetch(self, key: str) -> tuple[bytes, str]:
        """Body and ETag, complete. Raises MissingObject, AccessDenied, StoreUnavailable."""
        ...

    def fetch_part(
        self, key: str, start: int, stop: int, etag: str | None = None, room: Room = bytearray
    ) -> Part:
        """Bytes [start, stop) as far as the object reaches, of the version `etag` where given.

        room: whose memory a store may use that can read into it.

        Raises ObjectChanged where that version is gone, and what `fetch` raises.
        """
        ...

    def create(self, key: str, body: bytes) -> bool:
        """Put if absent, durably. True: it is there and its body is ours; False: it is another's.

        Exactly one of many concurrent callers with different bodies gets True. A lost reply is
        settled by reading the object back.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[Listed]:
        """Every object whose key begins with `prefix`, sorted by key; none is not an error.

        Lazy: memory is one page, or one folder, of it.
        """
        ...

    def folders(self, prefix: str) -> Sequence[str]:
        """Names of the folders directly below `prefix` (which ends in `/`, or is empty), sorted."""
        ...

    def filesystem(self) -> Any:
        """The fsspec file system under it, for zarr and DuckDB."""
        ...


@dataclass(frozen=True, slots=True)
class S3Options:
    """How to reach a bucket. Credentials come from the environment or the machine, never here.

    profile: of the AWS configuration, whose `credential_process`, role or keys are used.
    """

    anonymous: bool = False
    endpoint_url: str | None = None
    region: str | None = None
    profile: str | None = None
