"""URL -> object store: read, list, and the conditional put that commits rest on.

The only module that touches storage. A store is a local directory or an S3 prefix; both offer the
same few verbs, so that archives and catalogues never ask where they are.
"""

from __future__ import annotations

import errno
import os
import random
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import fsspec
from fsspec.asyn import sync

from catalog.errors import Refusal

ATTEMPTS = 6
"""Tries of one request before a passing fault is passed on."""


class StoreError(OSError):
    """A store refused or could not serve; the message names the URL and the fix."""


class MissingObject(StoreError):
    """The object does not exist (404)."""


class AccessDenied(StoreError):
    """The store knows the request and refuses it (403)."""


class StoreUnavailable(StoreError):
    """The store did not answer after bounded, backed-off tries (429, 5xx, network)."""


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

    body: bytes
    size: int
    etag: str


class Store(Protocol):
    """Objects below one root. Keys are relative, with `/`, and never begin with it."""

    url: str

    def url_of(self, key: str) -> str: ...

    def fetch(self, key: str) -> tuple[bytes, str]:
        """Body and ETag, complete. Raises MissingObject, AccessDenied, StoreUnavailable."""
        ...

    def fetch_part(self, key: str, start: int, stop: int, etag: str | None = None) -> Part:
        """Bytes [start, stop) as far as the object reaches, of the version `etag` where given.

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
    """How to reach a bucket. Credentials come from the environment or the instance, never here."""

    anonymous: bool = False
    endpoint_url: str | None = None
    region: str | None = None


def open_store(url: str, options: S3Options | None = None) -> Store:
    """A store for a path, `file://` or `s3://bucket/prefix` URL."""
    if url.startswith("s3://"):
        return S3Store(url, options or S3Options())
    if url.startswith("file://"):
        return LocalStore(url.removeprefix("file://"))
    if "://" in url:
        raise Refusal(f"store {url!r}: use a path or an s3:// URL")
    return LocalStore(url)


def fetch_all(store: Store, keys: Sequence[str], threads: int = 32) -> list[bytes]:
    """Bodies of many small objects, in order, fetched concurrently."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(threads) as pool:
        return [body for body, _ in pool.map(store.fetch, keys)]


def confined(key: str) -> str:
    """The key, where it cannot lead out of a store's root. Raises Refusal."""
    if key.startswith("/") or "\0" in key or not {".", ".."}.isdisjoint(key.split("/")):
        raise Refusal(f"key {key!r}: it may lead out of the store; use plain names and '/'")
    return key


class LocalStore:
    """A directory. Commits are `os.link` of a synced temporary file: atomic and never empty."""

    def __init__(self, root: str) -> None:
        self.root = Path(root).expanduser().absolute()
        self.url = str(self.root)

    def url_of(self, key: str) -> str:
        return str(self._path(key))

    def _path(self, key: str) -> Path:
        return self.root / confined(key)

    def fetch(self, key: str) -> tuple[bytes, str]:
        with self._opened(key) as file:
            status = os.fstat(file.fileno())
            return file.read(), _local_etag(status)

    def fetch_part(self, key: str, start: int, stop: int, etag: str | None = None) -> Part:
        with self._opened(key) as file:
            status = os.fstat(file.fileno())
            body = os.pread(file.fileno(), max(0, min(stop, status.st_size) - start), start)
            found = _local_etag(os.fstat(file.fileno()))
        if found != (etag or _local_etag(status)):
            raise ObjectChanged(errno.ESTALE, f"changed while it was read: {self.url_of(key)}")
        return Part(body, status.st_size, found)

    @contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        path = self._path(key)
        try:
            with path.open("rb") as file:
                yield file
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise MissingObject(errno.ENOENT, f"no such file: {path}") from error
        except PermissionError as error:
            raise AccessDenied(errno.EACCES, f"not readable: {path}") from error

    def create(self, key: str, body: bytes) -> bool:
        try:
            return self._create(self._path(key), body)
        except PermissionError as error:
            raise AccessDenied(errno.EACCES, f"not writable: {self.url_of(key)}") from error
        except OSError as error:  # a full disk, a file where a folder should be
            raise StoreUnavailable(
                error.errno, f"cannot write {self.url_of(key)}: {error.strerror}"
            ) from error

    def _create(self, path: Path, body: bytes) -> bool:
        _make_folder(path.parent)
        temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
        try:
            with temporary.open("xb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                if path.read_bytes() != body:
                    return False
        finally:
            temporary.unlink(missing_ok=True)
        _sync_directory(path.parent)
        return True

    def list(self, prefix: str = "") -> Iterator[Listed]:
        return self._below(prefix.rpartition("/")[0], prefix)

    def _below(self, folder: str, prefix: str) -> Iterator[Listed]:
        # a folder's name with its `/` stands where the keys below it stand
        for name, entry in sorted((e.name + "/" * e.is_dir(), e) for e in self._entries(folder)):
            key = f"{folder}/{name}" if folder else name
            if not key.startswith(prefix):
                continue
            if name.endswith("/"):
                yield from self._below(key[:-1], prefix)
            elif not name.startswith("."):
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue  # removed while listing
                yield Listed(key, status.st_size, _local_etag(status))

    def folders(self, prefix: str) -> Sequence[str]:
        return sorted(entry.name for entry in self._entries(prefix) if entry.is_dir())

    def _entries(self, folder: str) -> Sequence[os.DirEntry[str]]:
        """What a folder holds; nothing where there is none."""
        try:
            with os.scandir(self._path(folder)) as entries:
                return [*entries]
        except FileNotFoundError:
            return []
        except OSError as error:
            path = self.root / folder
            raise AccessDenied(error.errno, f"cannot list {path}: {error.strerror}") from error

    def filesystem(self) -> Any:
        return fsspec.filesystem("file")


class S3Store:
    """A prefix of a bucket, through s3fs."""

    def __init__(self, url: str, options: S3Options) -> None:
        import s3fs

        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not bucket:
            raise Refusal(f"store {url!r}: name a bucket, s3://bucket/prefix")
        self.bucket = bucket
        self.prefix = prefix.strip("/")
        self.url = f"s3://{bucket}/{self.prefix}".rstrip("/")
        self._fs = s3fs.S3FileSystem(
            anon=options.anonymous,
            endpoint_url=options.endpoint_url,
            client_kwargs={"region_name": options.region} if options.region else {},
            config_kwargs={
                "retries": {"mode": "standard", "max_attempts": 2},
                "connect_timeout": 10,
                "read_timeout": 60,
            },
            use_listings_cache=False,
        )

    def url_of(self, key: str) -> str:
        return f"s3://{self.bucket}/{self._key(key)}"

    def fetch(self, key: str) -> tuple[bytes, str]:
        def get() -> tuple[bytes, str]:
            body, announced, etag = sync(self._fs.loop, self._get, self._key(key))
            if len(body) != announced:
                raise OSError(errno.EIO, f"{len(body)} of {announced} bytes arrived")
            return body, etag

        body, etag = self._tried(get, key)
        return body, etag

    def fetch_part(self, key: str, start: int, stop: int, etag: str | None = None) -> Part:
        try:
            part: Part = self._tried(
                lambda: sync(self._fs.loop, self._get_part, self._key(key), start, stop, etag), key
            )
        except _Taken as error:
            url = self.url_of(key)
            raise ObjectChanged(errno.ESTALE, f"changed while it was read: {url}") from error
        return part

    def create(self, key: str, body: bytes) -> bool:
        def put() -> bool:
            sync(
                self._fs.loop,
                self._fs._call_s3,
                "put_object",
                Bucket=self.bucket,
                Key=self._key(key),
                Body=body,
                IfNoneMatch="*",
            )
            return True

        try:
            return bool(self._tried(put, key))
        except _Taken:
            return self.fetch(key)[0] == body

    def list(self, prefix: str = "") -> Iterator[Listed]:
        for page in self._pages(prefix):
            for entry in page.get("Contents", ()):
                key = entry["Key"].removeprefix(self.prefix).lstrip("/")
                yield Listed(key, int(entry["Size"]), entry["ETag"].strip('"'))

    def folders(self, prefix: str) -> Sequence[str]:
        below = self._key(prefix)
        return sorted(
            entry["Prefix"].removeprefix(below).rstrip("/")
            for page in self._pages(prefix, Delimiter="/")
            for entry in page.get("CommonPrefixes", ())
        )

    def filesystem(self) -> Any:
        return self._fs

    def _missing(self, url: str, error: Exception) -> str:
        if "bucket" in str(error).lower():
            return f"no such bucket: s3://{self.bucket}; make it, or correct the URL"
        return f"no such object: {url}"

    def _key(self, key: str) -> str:
        return f"{self.prefix}/{confined(key)}" if self.prefix else confined(key)

    async def _get(self, key: str) -> tuple[bytes, int, str]:
        reply = await self._fs._call_s3("get_object", Bucket=self.bucket, Key=key)
        async with reply["Body"] as stream:
            body = await stream.read()
        return body, int(reply["ContentLength"]), reply["ETag"].strip('"')

    async def _get_part(self, key: str, start: int, stop: int, etag: str | None) -> Part:
        asked: dict[str, str] = {"Range": f"bytes={start}-{stop - 1}"}
        if etag is not None:
            asked["IfMatch"] = f'"{etag}"'
        try:
            reply = await self._fs._call_s3("get_object", Bucket=self.bucket, Key=key, **asked)
        except OSError as error:
            if _status(error) != 416:
                raise
            body, size, found = await self._get(key)  # nothing at `start`: an empty object
            return Part(body[start:stop], size, found)
        async with reply["Body"] as stream:
            body = await stream.read()
        if len(body) != int(reply["ContentLength"]):
            raise OSError(errno.EIO, f"{len(body)} of {reply['ContentLength']} bytes arrived")
        size = int(reply["ContentRange"].rpartition("/")[2])
        return Part(body, size, reply["ETag"].strip('"'))

    def _pages(self, prefix: str, **how: str) -> Iterator[Mapping[str, Any]]:
        """The pages of a listing, each asked for when it is wanted."""
        which = {"Bucket": self.bucket, "Prefix": self._key(prefix), **how}
        while True:
            page = self._tried(partial(sync, self._fs.loop, self._page, which), prefix)
            yield page
            if "NextContinuationToken" not in page:
                return
            which["ContinuationToken"] = page["NextContinuationToken"]

    async def _page(self, which: Mapping[str, Any]) -> Any:
        from botocore.exceptions import ClientError
        from s3fs.errors import translate_boto_error

        client = await self._fs.set_session()
        try:
            return await client.list_objects_v2(**which)
        except ClientError as error:  # as s3fs words its own requests' errors
            raise translate_boto_error(error) from error

    def _tried(self, request: Any, key: str) -> Any:
        """The request's result; refusals at once, passing faults after backed-off retries."""
        from aiohttp import ClientError as NetworkError
        from botocore.exceptions import BotoCoreError, ClientError

        url = self.url_of(key)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return request()
            except FileNotFoundError as error:
                raise MissingObject(errno.ENOENT, self._missing(url, error)) from error
            except FileExistsError as error:
                raise _Taken from error
            except PermissionError as error:
                raise AccessDenied(
                    errno.EACCES,
                    f"access denied: {url}; check the credentials, the region and the bucket's "
                    "policy, or set anonymous = true for an open bucket",
                ) from error
            except (OSError, ClientError, BotoCoreError, NetworkError, TimeoutError) as error:
                if _precondition_failed(error):
                    raise _Taken from error
                if attempt == ATTEMPTS or not _passing(error):
                    raise StoreUnavailable(
                        errno.EIO, f"{url}: {type(error).__name__}: {error}"
                    ) from error
            time.sleep(min(8.0, 0.1 * 2**attempt) * random.uniform(0.5, 1.0))
        raise AssertionError("unreachable")


class _Taken(Exception):
    """A conditional put found the key taken (412)."""


def _status(error: BaseException) -> int | None:
    """HTTP status of a botocore error, also where s3fs has wrapped it in an OSError."""
    for link in (error, error.__cause__, error.__context__):
        response = getattr(link, "response", None)
        if isinstance(response, dict):
            status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            return int(status) if status is not None else None
    return None


def _precondition_failed(error: BaseException) -> bool:
    return _status(error) == 412


def _passing(error: BaseException) -> bool:
    """Worth another try: no HTTP answer at all, a conflict (409), throttling, or a server fault."""
    status = _status(error)
    return status is None or status in (409, 429) or status >= 500


def _local_etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def _make_folder(folder: Path) -> None:
    """The folder and those above it, each entered durably in its own parent."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_directory(folder.parent)


def _sync_directory(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
