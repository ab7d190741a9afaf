"""Arrivals of an evaluation, picked again under shifted windows, a piece each station-day."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from catalog.examined import SHIFT_SCHEMA
from catalog.schema import StationDay, day_of
from service.campaign import CandidateConfig
from service.evaluate.days.ready import as_picked
from service.evaluate.days.station_days import StationDays
from service.evaluate.pieces import Workbench
from workers.day_pieces import SHIFTED_SCHEMA, Arrival, ShiftDay, lost_arrivals

MOST_ARRIVALS = 100
"""Drawn by the seed where there are more: each is picked anew under every set of windows."""

_ORDER = ("network", "station", "location", "time", "phase", "candidate", "shift_s")


def shifts_of(
    days: StationDays,
    arrivals: pa.Table,
    configs: Sequence[CandidateConfig],
    count: int,
    seed: int,
    bench: Workbench,
) -> tuple[pa.Table, Counter[str]]:
    """SHIFT_SCHEMA, of `count` sets of windows over 1 s; and why how many arrivals have no row."""
    candidates = as_picked(bench.store, days, configs, bench.compute.device)
    traces = {
        (day.trace.network, day.trace.station, day.trace.location, day.day): day
        for day in days.held
    }
    plain = sorted(_distinct(arrivals))
    rng = np.random.default_rng(seed)
    drawn = rng.choice(len(plain), min(len(plain), MOST_ARRIVALS), replace=False)
    on_day: dict[StationDay, list[tuple[str, int]]] = defaultdict(list)
    for network, station, location, phase, time in (plain[k] for k in drawn):
        on_day[traces[network, station, location, day_of(time)]].append((phase, time))
    pieces = [
        ShiftDay.of(days.picked(day), own, count, candidates) for day, own in sorted(on_day.items())
    ]
    found = bench.examine("picking in other windows", pieces, candidates, days.archives())
    gone: dict[Arrival, str] = {}
    for piece in pieces:
        over = next((found.undone[key] for key in piece.keys.values() if key in found.undone), None)
        if over is not None:
            what = "no worker finished them" if over.lost else "they cannot be read any more"
            trace = piece.picked.day.trace
            for phase, time in piece.arrivals:
                one = (trace.network, trace.station, trace.location, phase, time)
                gone[one] = f"{what}: {over.why}"
    tables = [SHIFT_SCHEMA.empty_table()]
    for each in candidates:
        own = found.tables(piece.keys[each.name] for piece in pieces)
        for arrival, why in lost_arrivals(own):
            gone.setdefault(arrival, f"they cannot be read any more: {why}")
        whole = pa.concat_tables([SHIFTED_SCHEMA.empty_table(), *own])
        names = pa.array([each.name] * whole.num_rows, pa.string())
        tables.append(whole.append_column("candidate", names).select(SHIFT_SCHEMA.names))
    table = pa.concat_tables(tables).sort_by([(name, "ascending") for name in _ORDER])
    told = Counter(gone.values())
    told["not drawn"] = len(plain) - len(drawn)
    told["no samples that can be picked"] = len(drawn) - len(_distinct(table) | gone.keys())
    return table, +told


def _distinct(table: pa.Table) -> set[Arrival]:
    columns = [table[name].to_pylist() for name in ("network", "station", "location", "phase")]
    return {*zip(*columns, table["time"].cast(pa.int64()).to_pylist(), strict=True)}
