"""URL -> store: a local directory or an S3 prefix, so that nobody else asks which it is.

Storage is touched here and in the files behind it alone: `verbs` (what a store can do, and its
errors), `local`, and `s3` with `requests`, `refusals` and `credentials`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from catalog.errors import Refusal
from catalog.local import LocalStore, writing
from catalog.s3 import S3Store
from catalog.verbs import (
    AccessDenied,
    Listed,
    MissingObject,
    ObjectChanged,
    Part,
    S3Options,
    Store,
    StoreError,
    StoreUnavailable,
    Throttled,
)

_SECRET = re.compile(
    r"(?i)^[^/]*://[^/]*@|[?&](x-amz-|x-goog-|awsaccesskeyid=|signature=|sig=|[a-z_-]*token=)"
)
"""USER:PASSWORD@ before the host, or the query of a presigned URL."""


def open_store(url: str, options: S3Options | None = None) -> Store:
    """A store for a path, `file://` or `s3://bucket/prefix` URL. Raises Refusal for any other."""
    refuse_credentials(url)
    if url.startswith("s3://"):
        return S3Store(url, options or S3Options())
    if url.startswith("file://"):
        return LocalStore(url.removeprefix("file://"))
    if "://" in url:
        raise Refusal(f"store {url!r}: use a path or an s3:// URL")
    return LocalStore(url)


def refuse_credentials(url: str) -> str:
    """The URL, unless it carries a password or a signature; the message does not repeat it."""
    if "://" in url and _SECRET.search(url):
        raise Refusal(
            f"a {url.partition('://')[0]}:// URL with a password or a signature in it: write it "
            "without; credentials come from the environment, a profile or the machine"
        )
    return url


def fetch_all(store: Store, keys: Sequence[str], threads: int = 32) -> list[bytes]:
    """Bodies of many small objects, in order, fetched concurrently."""
    with ThreadPoolExecutor(threads) as pool:
        return [body for body, _ in pool.map(store.fetch, keys)]


__all__ = [
    "AccessDenied",
    "Listed",
    "LocalStore",
    "MissingObject",
    "ObjectChanged",
    "Part",
    "S3Options",
    "S3Store",
    "Store",
    "StoreError",
    "StoreUnavailable",
    "Throttled",
    "fetch_all",
    "open_store",
    "refuse_credentials",
    "writing",
]
