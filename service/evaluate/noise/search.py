"""Noise windows out of the archives of a catalogue's station-days, a piece each."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import StationDay
from catalog.truth import NOISE_SCHEMA
from service.evaluate.config import Noise
from service.evaluate.days.station_days import StationDays
from service.evaluate.pieces import Workbench
from service.evaluate.read.arrivals import read_arrivals
from service.evaluate.read.events import read_events, read_sites
from workers.day_pieces import NoiseDay, why_none
from workers.noise_windows import NoiseRule, around_arrivals
from workers.wavetrain import Spans, wave_spans

METADATA = b"tidepick_noise"


def noise_of(settings: Noise, days: StationDays, bench: Workbench) -> tuple[pa.Table, Counter[str]]:
    """Windows from the archives that the station-days were read from, and why the others are none.

    Station-days without coordinates cannot be cleared of events and give no window.
    """
    assert settings.events is not None and settings.stations is not None
    events = read_events(settings.events)
    sites = {
        (row["network"], row["station"]): (row["latitude"], row["longitude"])
        for row in read_sites(settings.stations).to_pylist()
    }
    arrivals = read_arrivals(settings.arrivals).table if settings.arrivals else None
    rule = NoiseRule(per_hour=settings.windows_per_hour, energy_ratio=settings.energy_ratio)
    chosen = sorted(days.held)
    rng = np.random.default_rng(settings.seed)
    some = rng.choice(len(chosen), min(len(chosen), settings.station_days), replace=False)
    why = Counter({"station-days not drawn": len(chosen) - len(some)})
    pieces = []
    for day in (chosen[k] for k in sorted(some.tolist())):
        place = sites.get((day.trace.network, day.trace.station))
        if place is None:
            why["station-days without coordinates"] += 1
            continue
        busy = np.concatenate([wave_spans(events, *place), _near_arrivals(arrivals, day)])
        pieces.append(NoiseDay.of(days.picked(day), busy, rule, settings.seed))
    found = bench.examine("looking for noise", pieces, archives=days.archives())
    for over in found.undone.values():
        what = "that no worker finished" if over.lost else "that cannot be read any more"
        why[f"station-days {what}: {over.why}"] += 1
    tables = found.tables(each.keys[""] for each in pieces)
    for table in tables:
        why.update(why_none(table))
    facts = rule.facts() | {
        "seed": settings.seed,
        "station_days": len(some),
        "events": events.num_rows,
        "events_sha256": _sha256(settings.events),
        "stations_sha256": _sha256(settings.stations),
        "arrivals_sha256": [_sha256(path) for path in settings.arrivals],
        "windows_that_are_no_noise": dict(sorted((+why).items())),
    }
    windows = pa.concat_tables([NOISE_SCHEMA.empty_table(), *tables])
    return windows.replace_schema_metadata({METADATA: json.dumps(facts, sort_keys=True)}), +why


def _near_arrivals(arrivals: pa.Table | None, day: StationDay) -> Spans:
    """What analysts read at the station, whatever its location code."""
    if arrivals is None:
        return np.zeros((0, 2), np.int64)
    own = arrivals.filter(
        (pc.field("network") == day.trace.network) & (pc.field("station") == day.trace.station)
    )
    return around_arrivals(own["time"].cast(pa.int64()).to_numpy())


def _sha256(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
