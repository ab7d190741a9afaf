"""A directory as a store."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import fsspec

from catalog.verbs import (
    AccessDenied,
    Listed,
    MissingObject,
    ObjectChanged,
    Part,
    Room,
    StoreError,
    StoreUnavailable,
    confined,
    printable,
)

_NO_FILE = {errno.ELOOP: "a link that leads in a circle", errno.ENXIO: "not a regular file"}


class LocalStore:
    """A directory. Commits are `os.link` of a synced temporary file: atomic and never empty."""

    def __init__(self, root: str) -> None:
        self.root = Path(root).expanduser().absolute()
        self.url = str(self.root)

    def url_of(self, key: str) -> str:
        return printable(str(self._path(key)))

    def _path(self, key: str) -> Path:
        return self.root / confined(key)

    def fetch(self, key: str) -> tuple[bytes, str]:
        with self._opened(key) as file:
            status = os.fstat(file.fileno())
            return file.read(), _local_etag(status)

    def fetch_part(
        self, key: str, start: int, stop: int, etag: str | None = None, room: Room = bytearray
    ) -> Part:
        with self._opened(key) as file:
            status = os.fstat(file.fileno())
            length = max(0, min(stop, status.st_size) - start)
            body = memoryview(room(length)).cast("B")[:length]
            body = body[: os.preadv(file.fileno(), [body], start)]
            found = _local_etag(os.fstat(file.fileno()))
        if found != (etag or _local_etag(status)):
            raise ObjectChanged(errno.ESTALE, f"changed while it was read: {self.url_of(key)}")
        return Part(body, status.st_size, found)

    @contextmanager
    def _opened(self, key: str) -> Iterator[BinaryIO]:
        path, url = self._path(key), self.url_of(key)
        try:
            with open(path, "rb", opener=_without_waiting) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise AccessDenied(errno.EACCES, f"not a regular file: {url}")
                yield file
        except StoreError:
            raise
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            if path.is_symlink():  # what it stands for may be on a disk that is not there today
                raise AccessDenied(errno.EACCES, f"a link that leads nowhere: {url}") from error
            raise MissingObject(errno.ENOENT, f"no such file: {url}") from error
        except PermissionError as error:
            raise AccessDenied(errno.EACCES, f"not readable: {url}") from error
        except OSError as error:
            if error.errno in _NO_FILE:
                raise AccessDenied(errno.EACCES, f"{_NO_FILE[error.errno]}: {url}") from error
            raise StoreUnavailable(error.errno, f"cannot read {url}: {error.strerror}") from error

    def create(self, key: str, body: bytes) -> bool:
        with writing(self.url_of(key)):
            return self._create(self._path(key), body)

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
        return self._below(prefix.rpartition("/")[0], prefix, frozenset())

    def _below(self, folder: str, prefix: str, above: frozenset[str]) -> Iterator[Listed]:
        """above: the folders on the way, without links; a link back to one holds nothing new."""
        here = os.path.realpath(self._path(folder))
        if here in above:
            return
        # a folder's name with its `/` stands where the keys below it stand
        entries = sorted((e.name + "/" * _is_folder(e), e) for e in self._entries(folder))
        for name, entry in entries:
            key = f"{folder}/{name}" if folder else name
            if not key.startswith(prefix):
                continue
            if name.endswith("/"):
                yield from self._below(key[:-1], prefix, above | {here})
            elif not name.startswith("."):
                listed = _listed(key, entry)
                if listed is not None:
                    yield listed

    def folders(self, prefix: str) -> Sequence[str]:
        return sorted(entry.name for entry in self._entries(prefix) if _is_folder(entry))

    def _entries(self, folder: str) -> Sequence[os.DirEntry[str]]:
        """What a folder holds; nothing where there is none."""
        try:
            with os.scandir(self._path(folder)) as entries:
                return [*entries]
        except FileNotFoundError:
            return []
        except OSError as error:
            path = self.url_of(folder)
            raise AccessDenied(error.errno, f"cannot list {path}: {error.strerror}") from error

    def filesystem(self) -> Any:
        return fsspec.filesystem("file")


@contextmanager
def writing(url: str) -> Iterator[None]:
    """What an operating system says of a failed write, as a StoreError that names it."""
    try:
        yield
    except StoreError:
        raise
    except PermissionError as error:
        raise AccessDenied(errno.EACCES, f"not writable: {url}") from error
    except OSError as error:  # a full disk, a file where a folder should be
        raise StoreUnavailable(error.errno, f"cannot write {url}: {error.strerror}") from error


def _without_waiting(path: str, flags: int) -> int:
    """Opens a pipe at once, instead of waiting for somebody who writes into it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle, or through a folder that may not be entered
        return False


def _listed(key: str, entry: os.DirEntry[str]) -> Listed | None:
    """None where it was removed while listing. A link whose end cannot be seen is listed, so that
    whoever fetches it is told."""
    try:
        status = entry.stat()
    except FileNotFoundError:
        return Listed(key, 0, "") if entry.is_symlink() else None
    except OSError:
        return Listed(key, 0, "")
    return Listed(key, status.st_size, _local_etag(status))


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
