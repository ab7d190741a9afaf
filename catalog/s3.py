"""A prefix of a bucket as a store."""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from fsspec.asyn import sync

from catalog.errors import Refusal
from catalog.refusals import Refusals
from catalog.verbs import (
    AccessDenied,
    CredentialsRefused,
    Listed,
    ObjectChanged,
    Part,
    Room,
    S3Options,
    StoreUnavailable,
    confined,
)

if TYPE_CHECKING:
    from catalog.requests import S3FileSystem

_T = TypeVar("_T")


class S3Store:
    """A prefix of a bucket, through s3fs. A refusal of an object or a listing is remembered."""

    def __init__(self, url: str, options: S3Options) -> None:
        from catalog.requests import S3FileSystem  # half a second, for those who use it

        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise Refusal(f"store {url!r}: name a bucket, s3://bucket/prefix")
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self.url = f"s3://{bucket}/{self.prefix}".rstrip("/")
        self._fs: S3FileSystem = S3FileSystem.of(options)
        self._refusals = Refusals()

    def url_of(self, key: str) -> str:
        return f"s3://{self.bucket}/{self._key(key)}"

    def fetch(self, key: str) -> tuple[bytes, str]:
        reply, body = self._got(key)
        return body, _etag(reply)

    def fetch_part(
        self, key: str, start: int, stop: int, etag: str | None = None, room: Room = bytearray
    ) -> Part:
        from catalog.answers import ConditionFailed, OutOfRange

        asked = {"Range": f"bytes={start}-{stop - 1}"}
        if etag is not None:
            asked["IfMatch"] = f'"{etag}"'
        try:
            reply, body = self._got(key, asked)
        except OutOfRange:  # nothing at `start`: an empty object
            body, found = self.fetch(key)
            return Part(body[start:stop], len(body), found)
        except ConditionFailed:
            url = self.url_of(key)
            raise ObjectChanged(errno.ESTALE, f"changed while it was read: {url}") from None
        size = reply["ContentRange"].rpartition("/")[2]
        if not size.isdecimal():
            strange = f"Content-Range {reply['ContentRange']!r} has no size"
            raise StoreUnavailable(errno.EIO, f"{self.url_of(key)}: {strange}")
        return Part(body, int(size), _etag(reply))

    def create(self, key: str, body: bytes) -> bool:
        from catalog.answers import ConditionFailed

        where = {"Bucket": self.bucket, "Key": self._key(key)}
        try:
            self._tried(
                self.url_of(key),
                lambda client: client.put_object(**where, Body=body, IfNoneMatch="*"),
            )
        except ConditionFailed:
            return self.fetch(key)[0] == body
        return True

    def list(self, prefix: str = "") -> Iterator[Listed]:
        for page in self._pages(prefix):
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self.prefix).lstrip("/")
                yield Listed(key, int(entry["Size"]), entry.get("ETag", "").strip('"'))

    def folders(self, prefix: str) -> Sequence[str]:
        below = self._key(prefix)
        return sorted(
            entry["Prefix"].removeprefix(below).rstrip("/")
            for page in self._pages(prefix, Delimiter="/")
            for entry in page.get("CommonPrefixes", ())
        )

    def filesystem(self) -> Any:
        return self._fs

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{confined(key)}" if self.prefix else confined(key)

    def _got(
        self, key: str, asked: Mapping[str, str] | None = None
    ) -> tuple[Mapping[str, Any], bytes]:
        """The reply to a GET, and its body, as long as announced."""

        async def get(client: Any) -> tuple[Mapping[str, Any], bytes]:
            reply = await client.get_object(Bucket=self.bucket, Key=self._key(key), **(asked or {}))
            async with reply["Body"] as stream:
                body = await stream.read()
            _require(reply, self.url_of(key), "ETag", "ContentLength")
            if asked:
                _require(reply, self.url_of(key), "ContentRange")
            if len(body) != int(reply["ContentLength"]):
                short = f"{len(body)} of {reply['ContentLength']} bytes arrived"
                raise StoreUnavailable(errno.EIO, f"{self.url_of(key)}: {short}")
            return reply, body

        return self._remembering(self.url_of(key), get)

    def _pages(self, prefix: str, **how: str) -> Iterator[Mapping[str, Any]]:
        """The pages of a listing, each asked for when it is wanted."""
        which = {"Bucket": self.bucket, "Prefix": self._key(prefix), **how}
        while True:
            page = self._page(which)
            yield page
            if not page["IsTruncated"]:
                return
            which["ContinuationToken"] = page["NextContinuationToken"]

    def _page(self, which: Mapping[str, Any]) -> Mapping[str, Any]:
        async def page(client: Any) -> Mapping[str, Any]:
            found: Mapping[str, Any] = await client.list_objects_v2(**which)
            url = f"s3://{self.bucket}/{which['Prefix']}*"
            _require(found, url, "IsTruncated")
            if found["IsTruncated"]:  # where to go on from, without which the rest would be lost
                _require(found, url, "NextContinuationToken")
            return found

        return self._remembering(f"s3://{self.bucket}/{which['Prefix']}*", page)

    def _remembering(self, url: str, request: Callable[[Any], Awaitable[_T]]) -> _T:
        """As `_tried`, but what was refused lately is refused without asking."""
        self._refusals.check(url)
        try:
            return self._tried(url, request)
        except CredentialsRefused:
            raise  # not of this object
        except AccessDenied as refusal:
            self._refusals.note(url, refusal)
            raise

    def _tried(self, url: str, request: Callable[[Any], Awaitable[_T]]) -> _T:
        result: _T = sync(self._fs.loop, self._fs.tried, url, request)
        return result


def _require(reply: Mapping[str, Any], url: str, *fields: str) -> None:
    """Raises StoreUnavailable for an answer of something between us and the store: a web page."""
    for field in fields:
        if field not in reply:
            raise StoreUnavailable(errno.EIO, f"{url}: an answer without {field} is no store's")


def _etag(reply: Mapping[str, Any]) -> str:
    return str(reply["ETag"]).strip('"')
