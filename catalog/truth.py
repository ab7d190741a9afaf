"""What picks are judged by: reference arrivals, noise, events and where the stations are.

Times are UTC; codes are spelled as in picks (catalog/codes.py).
"""

from __future__ import annotations

import pyarrow as pa

ARRIVAL_SCHEMA = pa.schema(
    [
        ("network", pa.string()),
        ("station", pa.string()),
        ("location", pa.string()),
        ("phase", pa.string()),
        ("time", pa.timestamp("ns", tz="UTC")),
        ("event", pa.string()),
    ]
)
"""Reference arrivals, analysts' or planted."""

NOISE_COLUMNS = ("network", "station", "location", "start", "end")
"""What a table of noise needs: one row a window [start, end) of a station, timestamps in UTC."""

NOISE_SCHEMA = pa.schema(
    [
        ("network", pa.string()),
        ("station", pa.string()),
        ("location", pa.string()),
        ("band", pa.string()),
        ("start", pa.timestamp("ns", tz="UTC")),
        ("end", pa.timestamp("ns", tz="UTC")),
        ("energy_ratio", pa.float64()),  # loudest second over the level around it
    ]
)
"""Noise as workers/noise_windows.py finds it. Its metadata say by which rule, seed and events."""

EVENT_SCHEMA = pa.schema(
    [
        ("event", pa.string()),
        ("time", pa.timestamp("ns", tz="UTC")),  # of origin
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("depth_km", pa.float64()),  # 0 where the catalogue has none
        ("magnitude", pa.float64()),  # null where the catalogue has none
    ]
)
"""Earthquakes, one row each."""

SITE_SCHEMA = pa.schema(
    [
        ("network", pa.string()),
        ("station", pa.string()),
        ("latitude", pa.float64()),
        ("longitude", pa.float64()),
        ("elevation_m", pa.float64()),  # 0 where the metadata have none
    ]
)
"""Where stations are, one row each."""
