"""StationXML, as obspy reads it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any, Literal


class NotStationXml(ValueError):
    """The message says why, in one line."""


def inventory_of(path: Path, level: Literal["station", "channel"]) -> Any:
    """obspy's Inventory of a file, down to stations or to channels. Raises NotStationXml."""
    from obspy import read_inventory

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of schema versions, of units
            return read_inventory(str(path), format="STATIONXML", level=level)
    except (ValueError, TypeError, AttributeError, SyntaxError, OSError) as error:
        raise NotStationXml(" ".join(str(error).split())) from error
