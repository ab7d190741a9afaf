"""Arrivals of an evaluation, picked again under shifted windows, in this process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from catalog.examined import SHIFT_SCHEMA
from catalog.schema import StationDay, day_of
from catalog.store import AccessDenied
from service.campaign import CandidateConfig
from service.evaluate.ready import ready
from service.evaluate.station_days import StationDays
from workers.decoded import BadFormat
from workers.shift import shift_picks

MOST_ARRIVALS = 100
"""Drawn by the seed where there are more: each is picked anew under every set of windows."""


def shifts_of(
    days: StationDays,
    arrivals: pa.Table,
    configs: Sequence[CandidateConfig],
    count: int,
    seed: int,
) -> pa.Table:
    """SHIFT_SCHEMA, of `count` sets of windows over 1 s. Arrivals whose data cannot be read any
    more have no row."""
    candidates = ready(days, configs)
    traces = {
        (day.trace.network, day.trace.station, day.trace.location, day.day): day
        for day in days.held
    }
    plain = arrivals.set_column(
        arrivals.column_names.index("time"), "time", arrivals["time"].cast(pa.int64())
    ).to_pylist()
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(plain), min(len(plain), MOST_ARRIVALS), replace=False)
    rows = []
    for row in (plain[k] for k in sorted(drawn.tolist())):
        where = {name: row[name] for name in ("network", "station", "location", "phase", "time")}
        day: StationDay = traces[
            row["network"], row["station"], row["location"], day_of(row["time"])
        ]
        try:
            found = list(
                shift_picks(
                    days.archive(day), day.trace, row["phase"], row["time"], candidates, count
                )
            )
        except (AccessDenied, BadFormat):
            continue
        for each in found:
            nothing = np.isnan(each.probability)
            rows.append(
                where
                | {
                    "candidate": each.candidate,
                    "shift_s": each.shift_s,
                    "residual_s": None if nothing else each.residual_s,
                    "probability": None if nothing else each.probability,
                }
            )
    return pa.Table.from_pylist(rows, SHIFT_SCHEMA)
