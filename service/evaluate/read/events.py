"""Event catalogues and station coordinates, from which noise is built without any picker.

Events are QuakeML, or a csv with `time`, `latitude`, `longitude`, and where it has them `depth`
(km) and `magnitude` or `mag`, such as ComCat's. Stations are StationXML, or a csv with `network`,
`station`, `latitude`, `longitude` and where it has it `elevation` (m).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from catalog.truth import EVENT_SCHEMA, SITE_SCHEMA
from service.evaluate.read.arrivals import quakeml_events
from service.evaluate.read.columns import (
    InputError,
    instant,
    number,
    rows_of,
    station_code,
    text_of,
)
from workers.station_xml import NotStationXml, inventory_of

_EVENT = {
    "event": ("event", "event_id", "id", "source_id"),
    "time": ("time", "origin_time"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
    "depth": ("depth", "depth_km"),
    "magnitude": ("magnitude", "mag"),
}
_SITE = {
    "network": ("network", "net"),
    "station": ("station", "sta"),
    "latitude": ("latitude", "lat"),
    "longitude": ("longitude", "lon"),
    "elevation": ("elevation", "elevation_m"),
}
_DEEPEST, _HIGHEST = 800.0, 10.0
"""km below and above the sea."""


def read_events(path: str) -> pa.Table:
    """EVENT_SCHEMA, perhaps without a row. Raises InputError in one line."""
    rows = _events_of_xml(Path(path)) if _is_xml(Path(path)) else _events_of_csv(Path(path))
    return pa.Table.from_pylist(list(rows), EVENT_SCHEMA)


def read_sites(path: str) -> pa.Table:
    """SITE_SCHEMA, one row a station. Raises InputError, also for a station in two places."""
    rows = _sites_of_xml(Path(path)) if _is_xml(Path(path)) else _sites_of_csv(Path(path))
    sites: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        known = sites.setdefault((row["network"], row["station"]), row)
        moved = max(abs(known[name] - row[name]) for name in ("latitude", "longitude"))
        if moved > 0.05:  # degrees, some kilometres: beyond that travel times are another station's
            raise InputError(
                f"{path}: {row['network']}.{row['station']} is in two places; keep that of the data"
            )
    return pa.Table.from_pylist(list(sites.values()), SITE_SCHEMA)


def _is_xml(path: Path) -> bool:
    return text_of(path)[:1000].lstrip().startswith("<")


def _events_of_csv(path: Path) -> Iterator[dict[str, Any]]:
    for k, (where, row) in enumerate(rows_of(path, _EVENT, ("time", "latitude", "longitude"))):
        depth, magnitude = row["depth"], row["magnitude"]
        yield {
            "event": row["event"] or str(k),
            "time": instant(row["time"], "time", where),
            "latitude": number(row["latitude"], "latitude", where, -90, 90),
            "longitude": number(row["longitude"], "longitude", where, -180, 360),
            "depth_km": number(depth, "depth", where, -_HIGHEST, _DEEPEST) if depth else 0.0,
            "magnitude": number(magnitude, "magnitude", where, -5, 10) if magnitude else None,
        }


def _events_of_xml(path: Path) -> Iterator[dict[str, Any]]:
    for event in quakeml_events(path):
        origin = event.preferred_origin() or next(iter(event.origins), None)
        magnitude = event.preferred_magnitude() or next(iter(event.magnitudes), None)
        where = f"{path}, event {event.resource_id.id}"
        if origin is None or None in (origin.time, origin.latitude, origin.longitude):
            raise InputError(f"{where}: no origin with time, latitude and longitude")
        yield {
            "event": event.resource_id.id,
            "time": origin.time.ns,
            "latitude": number(str(origin.latitude), "latitude", where, -90, 90),
            "longitude": number(str(origin.longitude), "longitude", where, -180, 360),
            "depth_km": number(
                str((origin.depth or 0.0) / 1000), "depth", where, -_HIGHEST, _DEEPEST
            ),
            "magnitude": None
            if magnitude is None
            else number(str(magnitude.mag), "magnitude", where, -5, 10),
        }


def _sites_of_csv(path: Path) -> Iterator[dict[str, Any]]:
    for where, row in rows_of(path, _SITE, ("network", "station", "latitude", "longitude")):
        elevation = row["elevation"]
        yield {
            "network": station_code(row["network"]),
            "station": station_code(row["station"]),
            "latitude": number(row["latitude"], "latitude", where, -90, 90),
            "longitude": number(row["longitude"], "longitude", where, -180, 360),
            "elevation_m": number(elevation, "elevation", where, -12e3, 9e3) if elevation else 0.0,
        }


def _sites_of_xml(path: Path) -> Iterator[dict[str, Any]]:
    try:
        inventory = inventory_of(path, "station")
    except NotStationXml as error:
        raise InputError(f"{path}: not StationXML ({error})") from error
    for network in inventory:
        for station in network:
            yield {
                "network": station_code(network.code),
                "station": station_code(station.code),
                "latitude": float(station.latitude),
                "longitude": float(station.longitude),
                "elevation_m": float(station.elevation or 0.0),
            }
