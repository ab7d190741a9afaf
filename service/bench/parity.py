"""What another engine does to the picks: gained, lost, moved, and by how much probability.

Both engines pick the same station-days in one read. Nothing is written to a catalogue.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from catalog.errors import Refusal
from catalog.schema import PHASES, Outcome, Shard, StationDay, TraceId
from eval.matching import match, tolerance_ns
from service.bench.synthetic import synthetic_campaign, write_station
from service.campaign import Campaign, Compute, load_campaign
from service.patterns import select_traces
from service.prepare import candidate_record, candidate_weights
from workers.archives import Archive, open_archive
from workers.candidate import Candidate
from workers.device import checked_device
from workers.engines import open_engine
from workers.phasenet import WINDOW
from workers.pipeline import pick_shard

SAME_PICK_S = 0.5
"""Picks of two engines this near are one pick; in the order of time, as many as possible."""

THRESHOLDS = (0.2, 0.3, 0.5)
"""Beside the floor from which picks are stored and what the weights recommend."""

STATION_DAYS = 4
WEYL = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Pair:
    """One candidate with either engine. thresholds: what its weights recommend, by phase."""

    tested: Candidate
    against: Candidate
    thresholds: Mapping[str, float]

    @property
    def name(self) -> str:
        return self.against.name

    def levels(self, phase: str) -> dict[str, float]:
        """Thresholds by what they are called; those below the floor cannot be asked for."""
        floor = self.against.floors[phase]
        named = {"floor": floor, **{f"{t:g}": t for t in THRESHOLDS}}
        named["default"] = self.thresholds[phase]
        return {name: level for name, level in named.items() if level >= floor}


@dataclass(slots=True)
class Tally:
    """Picks of one candidate and phase at one threshold, over all station-days.

    shifts: samples that a pick moved by, later is positive -> how many did. dp: |difference of
    probability| of the picks that both have.
    """

    candidate: str
    phase: str
    threshold: str
    level: float
    picks: int = 0
    picks_against: int = 0
    shifts: Counter[int] = field(default_factory=Counter)
    dp: list[NDArray[np.float32]] = field(default_factory=list)

    def add(self, tested: pa.Table, against: pa.Table, rate: int) -> None:
        """The picks of one station-day at the floor, of this phase; SPAN_SCHEMA."""
        (times, heights), (times_against, heights_against) = (
            _standing(table, self.level) for table in (tested, against)
        )
        first, second = match(times_against, times, tolerance_ns(SAME_PICK_S))
        self.picks += len(times)
        self.picks_against += len(times_against)
        moved = np.rint((times[second] - times_against[first]) * (rate / 1e9)).astype(int)
        self.shifts.update(moved[moved != 0].tolist())
        self.dp.append(np.abs(heights[second] - heights_against[first]))

    @property
    def matched(self) -> int:
        return sum(map(len, self.dp))

    def to_json(self) -> dict[str, Any]:
        dp = np.concatenate(self.dp) if self.matched else None
        moved = self.shifts.total()
        return {
            "candidate": self.candidate,
            "phase": self.phase,
            "threshold": self.threshold,
            "level": self.level,
            "picks": self.picks,
            "picks_against": self.picks_against,
            "same": self.matched - moved,
            "moved": moved,
            "gained": self.picks - self.matched,
            "lost": self.picks_against - self.matched,
            "shifts": {str(shift): self.shifts[shift] for shift in sorted(self.shifts)},
            "dp_median": None if dp is None else float(np.median(dp)),
            "dp_99": None if dp is None else float(np.quantile(dp, 0.99)),
            "dp_max": None if dp is None else float(dp.max()),
        }


def _standing(picks: pa.Table, threshold: float) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Times and probabilities of the picks at a threshold, compared as `picks_at` compares."""
    probability = picks["probability"].to_numpy()
    at = probability >= np.float32(threshold)
    at &= picks["saddle"].to_numpy() < np.float32(threshold / 2)
    times: NDArray[np.int64] = picks["time"].cast(pa.int64()).to_numpy()
    return times[at], probability[at]


def compare(
    archive: Archive, station_days: Iterable[StationDay], pairs: Sequence[Pair]
) -> tuple[list[Tally], Counter[Outcome]]:
    """Every candidate, phase and threshold; and what became of the station-days.

    A pick that moves over the edge of a station-day counts as gained or lost there.
    """
    tallies = {
        (pair.name, phase, name): Tally(pair.name, phase, name, level)
        for pair in pairs
        for phase in PHASES
        for name, level in pair.levels(phase).items()
    }
    # any two names will do, as long as they differ: a file's candidates are told apart by them
    both = [
        replace(candidate, name=f"{k} {pair.name}")
        for pair in pairs
        for k, candidate in enumerate((pair.tested, pair.against))
    ]
    outcomes: Counter[Outcome] = Counter()
    for day in station_days:
        shard = Shard((day.trace,), day.day, day.day + timedelta(days=1))
        for done in pick_shard(archive, shard, both):
            outcomes[done.picked[both[0].name].outcome] += 1
            for pair in pairs:
                tables = [done.picked[f"{k} {pair.name}"].picks for k in (0, 1)]
                for phase in PHASES:
                    tested, against = (t.filter(pc.equal(t["phase"], phase)) for t in tables)
                    for name in pair.levels(phase):
                        tally = tallies[pair.name, phase, name]
                        tally.add(tested, against, pair.against.rate)
    return list(tallies.values()), outcomes


def pairs_of(campaign: Campaign, engine: str, against: str, device: str) -> list[Pair]:
    """The candidates of a campaign, loaded by both engines, each of which has run once.

    Raises Refusal where torch has no arithmetic of an engine on the device.
    """
    engines = open_engine(engine, device), open_engine(against, device)
    pairs = []
    for config in campaign.candidate:
        ensemble = candidate_weights(config)
        record = candidate_record(campaign, config, ensemble)
        floors, stacking = record.settings["floors"], record.settings["stacking"]
        before, after = record.settings["blinding"]
        how = floors, stacking, (before, after), record.settings["quality"]
        tested, other = (
            Candidate.of(config.name, ensemble.members, each, *how) for each in engines
        )
        _try(tested, engine, device)
        _try(other, against, device)
        pairs.append(Pair(tested, other, record.thresholds))
    return pairs


def _try(candidate: Candidate, engine: str, device: str) -> None:
    silence, start = np.zeros((3, WINDOW), np.int32), np.zeros(1, np.int64)
    try:
        candidate.engine.curves(silence, start, [candidate.recipe])
    except RuntimeError as error:
        why = str(error).strip().splitlines()[0]
        raise Refusal(f"engine {engine} on {device}: this torch cannot run it ({why})") from error


def spread(held: Sequence[StationDay], count: int) -> list[StationDay]:
    """`count` of the station-days, by trace and day, far from each other in both; or all."""
    chosen: dict[int, None] = {}
    step = 0
    while len(chosen) < min(count, len(held)):
        chosen[int(step * WEYL % 1 * len(held))] = None
        step += 1
    return [held[k] for k in sorted(chosen)]


def parity(
    path: Path | None,
    engine: str,
    against: str,
    device: str,
    station_days: int | None,
    say: Console,
) -> dict[str, Any]:
    """Compare two engines over some station-days of a campaign; None: over synthetic ones.

    station_days: how many, default STATION_DAYS.

    Raises Refusal where the campaign or the device is unfit, and where nothing could be picked.
    """
    checked_device(device)
    count = STATION_DAYS if station_days is None else station_days
    if count < 1:
        raise Refusal(f"--station-days {count}: give 1 or more")
    with tempfile.TemporaryDirectory(prefix="tidepick-parity-") as folder:
        campaign = load_campaign(path) if path else _synthetic(Path(folder), count, say)
        pairs = pairs_of(campaign, engine, against, device)
        archive = open_archive(campaign.archive)
        select = campaign.select
        listed = archive.holdings(select.start, select.end, select.stations)
        held = [one.station_day for one in listed]
        wanted = set(select_traces({day.trace for day in held}, select.stations))
        days = spread([day for day in held if day.trace in wanted], count)
        tallies, outcomes = compare(archive, track(days, "comparing", console=say), pairs)
    if not outcomes[Outcome.PICKED]:
        where = f"{campaign.archive.root} in {select.start}..{select.end}"
        raise Refusal(f"--parity: no station-day of {where} could be picked: {dict(outcomes)}")
    return {
        "engine": engine,
        "against": against,
        "device": device,
        "archive": campaign.archive.root if path else "synthetic",
        "station_days": sum(outcomes.values()),
        "outcomes": {str(outcome): n for outcome, n in outcomes.items()},
        "rows": [tally.to_json() for tally in tallies],
    }


def _synthetic(folder: Path, days: int, say: Console) -> Campaign:
    say.print(f"making {days} synthetic station-days in {folder}")
    campaign = synthetic_campaign(folder, "sds", days, Compute.model_validate({}))
    write_station(Path(campaign.archive.root), TraceId("XX", "ONE", "", "HH"), days, 86_400.0)
    return campaign
