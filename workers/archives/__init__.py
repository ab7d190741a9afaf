"""Waveform archives: one file a layout, one small Protocol.

To add one of day objects: a `Layout` in a file here, its name in `ArchiveConfig.kind`, and one line
in `ARCHIVES`; of anything else: a class with `holdings` and `read`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from workers.archives.archive import ENDPOINT, Archive, ArchiveConfig, Holding, TooMuch
from workers.archives.daily import DailyArchive
from workers.archives.earthscope import EARTHSCOPE
from workers.archives.files import FilesArchive
from workers.archives.geonet import GEONET
from workers.archives.ncedc import NCEDC
from workers.archives.scedc import SCEDC
from workers.archives.sds import SDS
from workers.archives.stations import StationDayArchive


def _zarr(config: ArchiveConfig) -> Archive:
    from workers.archives.zarr import ZarrArchive  # half a second, for those who read it

    return ZarrArchive(config.store())


ARCHIVES: dict[str, Callable[[ArchiveConfig], Archive]] = {
    "sds": partial(DailyArchive, layout=SDS),
    "files": FilesArchive,
    "zarr": _zarr,
    "scedc": partial(DailyArchive, layout=SCEDC),
    "ncedc": partial(DailyArchive, layout=NCEDC),
    "earthscope": partial(StationDayArchive, layout=EARTHSCOPE),
    "geonet": partial(DailyArchive, layout=GEONET),
}


def open_archive(config: ArchiveConfig) -> Archive:
    """The archive that a configuration names. Nothing is read or listed yet."""
    return ARCHIVES[config.kind](config)


__all__ = [
    "ARCHIVES",
    "ENDPOINT",
    "Archive",
    "ArchiveConfig",
    "DailyArchive",
    "FilesArchive",
    "Holding",
    "StationDayArchive",
    "TooMuch",
    "open_archive",
]
