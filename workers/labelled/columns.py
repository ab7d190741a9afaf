"""A row of SeisBench's metadata, or of any csv that names its columns alike -> Description."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from workers.labelled.traces import BenchmarkError, Description

_ARRIVAL = re.compile(r"(?:trace_)?(.+)_arrival_sample")

_KM_PER_DEGREE = 111.19


def arrival_columns(columns: Sequence[str]) -> dict[str, str]:
    """Column -> phase: `trace_Pg_arrival_sample` and `Pg_arrival_sample` are of Pg."""
    found = ((str(column), _ARRIVAL.fullmatch(str(column))) for column in columns)
    return {column: match[1] for column, match in found if match}


def check_strata(strata: Sequence[str], columns: Collection[str], path: str) -> None:
    """Raises BenchmarkError for a stratum that is no column of the benchmark."""
    for name in strata:
        if name not in columns:
            raise BenchmarkError(
                f"benchmark {path}: no column {name!r} to stratify by; strata may name "
                f"{', '.join(sorted(map(str, columns)))}"
            )


def described(frame: pd.DataFrame, chunk: str, strata: Sequence[str]) -> Iterator[Description]:
    """Every row of the frame. strata: columns that are taken along as text."""
    arrivals = arrival_columns(list(frame.columns))
    for row in frame.to_dict("records"):
        yield _description({str(key): value for key, value in row.items()}, chunk, arrivals, strata)


def _description(
    row: Mapping[str, Any], chunk: str, arrivals: Mapping[str, str], strata: Sequence[str]
) -> Description:
    times = ((phase, number(row, column)) for column, phase in arrivals.items())
    picked = [(phase, sample) for phase, sample in times if sample is not None]
    distance = number(row, "path_ep_distance_km", "distance_km")
    if distance is None and (degrees := number(row, "path_ep_distance_deg")) is not None:
        distance = degrees * _KM_PER_DEGREE
    station = text(row, "station")
    if station is None and (code := text(row, "station_code")) is not None:
        station = f"{text(row, 'station_network_code') or ''}.{code}"
    category = text(row, "trace_category") or ""
    return Description(
        trace_name=text(row, "trace_name") or "",
        chunk=text(row, "chunk") or chunk or None,
        event_id=text(row, "source_id", "event_id"),
        station=station,
        distance_km=distance,
        depth_km=number(row, "source_depth_km", "depth_km"),
        magnitude=number(row, "source_magnitude", "magnitude"),
        snr_db=_snr(row),
        origin_ns=_time(row, "source_origin_time", "origin_time"),
        latitude=number(row, "source_latitude_deg", "latitude"),
        longitude=number(row, "source_longitude_deg", "longitude"),
        arrivals=tuple(sorted(picked, key=lambda each: (each[1], each[0]))),
        noise=category.lower().startswith("noise"),
        split=text(row, "split"),
        strata={name: value for name in strata if (value := text(row, name)) is not None},
    )


def number(row: Mapping[str, Any], *names: str) -> float | None:
    """The first of the columns that holds a finite number."""
    for name in names:
        try:
            value = float(row.get(name, math.nan))
        except (TypeError, ValueError):
            continue
        if math.isfinite(value):
            return value
    return None


def text(row: Mapping[str, Any], *names: str) -> str | None:
    """The first of the columns that holds anything; a whole number without its `.0`."""
    for name in names:
        value = row.get(name)
        if value is None or (isinstance(value, float) and math.isnan(value)) or value is pd.NaT:
            continue
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if str(value).strip():
            return str(value).strip()
    return None


def _snr(row: Mapping[str, Any]) -> float | None:
    """`trace_snr_db`, or the mean of those of each component: `[56.7 55.4 47.4]` in one column
    (STEAD), or a column each (`trace_Z_snr_db`, INSTANCE)."""
    given = number(row, "trace_snr_db", "snr_db")
    if given is not None:
        return given
    several = re.findall(r"-?\d+(?:\.\d*)?(?:e[+-]?\d+)?", str(row.get("trace_snr_db", "")))
    values = [float(each) for each in several]
    if not values:
        each = (number(row, f"trace_{component}_snr_db") for component in "ZNE")
        values = [value for value in each if value is not None]
    return sum(values) / len(values) if values else None


def _time(row: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        if (given := text(row, name)) is None:
            continue
        value = pd.to_datetime(given, errors="coerce", utc=True)
        if isinstance(value, pd.Timestamp):
            return int(value.as_unit("ns").value)
    return None
