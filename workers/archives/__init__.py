"""Waveform archives: one file a layout, one small Protocol.

To add a layout: a class with `holdings` and `read` in a file here, its name in
`ArchiveConfig.kind`, and one line in `ARCHIVES`.
"""

from __future__ import annotations

from collections.abc import Callable

from workers.archives.archive import ENDPOINT, Archive, ArchiveConfig, Holding, TooMuch
from workers.archives.files import FilesArchive
from workers.archives.sds import SdsArchive


def _zarr(config: ArchiveConfig) -> Archive:
    from workers.archives.zarr import ZarrArchive  # half a second, for those who read it

    return ZarrArchive(config)


ARCHIVES: dict[str, Callable[[ArchiveConfig], Archive]] = {
    "sds": SdsArchive,
    "files": FilesArchive,
    "zarr": _zarr,
}


def open_archive(config: ArchiveConfig) -> Archive:
    """The archive that a configuration names. Nothing is read or listed yet."""
    return ARCHIVES[config.kind](config)


__all__ = [
    "ARCHIVES",
    "ENDPOINT",
    "Archive",
    "ArchiveConfig",
    "FilesArchive",
    "Holding",
    "TooMuch",
    "open_archive",
]
