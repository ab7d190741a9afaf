"""When the waves of an event can be at a station: bounds that need no travel-time table.

Noise may lose a minute too many, but must not hold an arrival. So the bounds are of physics rather
than of a model of the Earth:

    first    nothing is faster than 13.8 km/s (P at the foot of the mantle), and no path is shorter
             than the straight line from hypocentre to station
    last     2.5 km/s, as surface waves are, from the hypocentre, too; then a coda as long as the
             earthquake's own record, 10 ** ((M + 0.87) / 2) s (Lee, Bennett and Meagher 1972), by
             when S, its reflections and Lg have come and faded
    reach    50 km * 10 ** (M / 2): M 1 to 158 km, M 2 to 500 km, M 3 to 1,581 km, M 4 to 5,000 km,
             and M 5.2 and more everywhere; beyond it an event is too weak to be seen

A margin on either side takes up errors of origin time and place.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

RADIUS_KM = 6371.0
FASTEST = 13.8
SLOWEST = 2.5
REACH_KM = 50.0
UNKNOWN_MAGNITUDE = 3.0
"""What an event without a magnitude is taken for: few of those are larger."""

MARGIN_S = 20.0

_NS = 1_000_000_000

Numbers = NDArray[np.float64]
Spans = NDArray[np.int64]


def wave_spans(events: pa.Table, latitude: float, longitude: float) -> Spans:
    """[k, 2] ns, [from, to): when each event that reaches a station may be seen there.

    events: EVENT_SCHEMA. latitude, longitude: of the station, degrees.
    """
    origin = events["time"].cast(pa.int64()).to_numpy()
    depth = events["depth_km"].to_numpy()
    magnitude = events["magnitude"].fill_null(UNKNOWN_MAGNITUDE).to_numpy()
    angle = _angle(
        events["latitude"].to_numpy(), events["longitude"].to_numpy(), latitude, longitude
    )
    along = RADIUS_KM * angle
    inner = RADIUS_KM - depth
    straight = np.hypot(depth, 2 * np.sqrt(RADIUS_KM * inner) * np.sin(angle / 2))
    seen = along <= REACH_KM * 10 ** (magnitude / 2)
    first = straight / FASTEST - MARGIN_S
    last = np.hypot(along, depth) / SLOWEST + 10 ** ((magnitude + 0.87) / 2) + MARGIN_S
    spans = np.stack([first, last], axis=1)[seen]
    return np.asarray(origin[seen, None] + np.rint(spans * _NS).astype(np.int64))


def _angle(latitudes: Numbers, longitudes: Numbers, latitude: float, longitude: float) -> Numbers:
    """Great-circle distance in radians, by the haversine, exact for near points too."""
    lat1, lon1 = np.radians(latitudes), np.radians(longitudes)
    lat2, lon2 = np.radians(latitude), np.radians(longitude)
    half = np.sin((lat2 - lat1) / 2) ** 2
    half += np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    return np.asarray(2 * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0))))
