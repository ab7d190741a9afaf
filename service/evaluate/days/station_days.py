"""What a catalogue holds for an evaluation: the station-days that all candidates picked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import Refusal
from catalog.query import Catalog
from catalog.schema import PHASES, SEMANTICS_VERSION, StationDay, TraceId
from eval.days import on_days, picked_days
from eval.strata import with_pick_snr
from eval.thresholds import Thresholds
from service.campaign import Campaign, CandidateConfig
from service.prepare import candidate_weights
from workers.archives import Archive, ArchiveConfig, open_archive
from workers.day_pieces import PickedDay

_DAY = ("network", "station", "location", "day")


@dataclass(frozen=True, slots=True)
class StationDays:
    """Station-days that are judged, of one band each: the one with most data.

    table: `eval.days.picked_days`. held: station-day -> the run that picked it, and the generation
    of its commit. floors: candidate -> phase -> the lowest probability stored.
    """

    catalog: Catalog
    names: Sequence[str]
    table: pa.Table
    held: dict[StationDay, tuple[str, int]]
    floors: dict[str, dict[str, float]]
    _campaigns: dict[str, Campaign] = field(default_factory=dict, repr=False)
    _began: dict[str, str] = field(default_factory=dict, repr=False)
    _archives: dict[ArchiveConfig, Archive] = field(default_factory=dict, repr=False)

    @classmethod
    def open(cls, url: str, candidates: Sequence[CandidateConfig], called: str) -> StationDays:
        """Raises Refusal where a candidate is not of the catalogue, where it stands for other
        weights there, and where candidates did not pick the same station-days."""
        catalog = Catalog(url)
        known = {row["candidate"]: row for row in catalog.sql("FROM candidates").to_pylist()}
        for config in candidates:
            if config.name not in known:
                raise Refusal(
                    f"{called}.catalog {url}: no candidate {config.name!r}, only {sorted(known)}; "
                    "run a campaign with it, or leave it out"
                )
            if candidate_weights(config).sha256 != known[config.name]["weights_sha256"]:
                raise Refusal(
                    f"candidate {config.name!r}: in {called}.catalog {url} it is other weights, "
                    f"{known[config.name]['source']}; name those, or pick again"
                )
        names = [config.name for config in candidates]
        coverage = catalog.sql(
            f"SELECT * FROM coverage WHERE outcome = 'picked' AND candidate IN ({_quoted(names)})"
        )
        try:
            table = picked_days(coverage, names)
        except ValueError as error:
            raise Refusal(f"{called}.catalog {url}: {error}") from error
        if not table.num_rows:
            raise Refusal(f"{called}.catalog {url}: no station-day is picked; `tidepick status`")
        return cls(
            catalog,
            names,
            table,
            _longest(coverage),
            {name: {phase: known[name][f"{phase}_floor"] for phase in PHASES} for name in names},
        )

    @property
    def floor(self) -> float:
        """The lowest threshold that all candidates can be judged at."""
        return max(floor for phases in self.floors.values() for floor in phases.values())

    def check_threshold(self, threshold: float) -> None:
        """Raises Refusal below a floor: picks under it were not stored."""
        if threshold < self.floor:
            raise Refusal(
                f"threshold {threshold:g}: picks are stored from {self.floor:g} on; give that or "
                "more, or pick again with a lower P_threshold and S_threshold"
            )

    def check_thresholds(self, thresholds: Thresholds, names: Sequence[str]) -> None:
        """Raises Refusal where picks that a candidate's threshold asks for were not stored."""
        for name in names:
            for phase in PHASES:
                threshold, floor = thresholds.at(name, phase), self.floors[name][phase]
                if threshold < floor:
                    raise Refusal(
                        f"{name!r} stands at {phase} {threshold:g}, and its picks are stored from "
                        f"{floor:g} on; pick again with a lower {phase}_threshold"
                    )

    def only(self, stations: set[tuple[str, str]]) -> StationDays:
        """Those of the stations (network, station)."""
        held = {
            d: r for d, r in self.held.items() if (d.trace.network, d.trace.station) in stations
        }
        names = pc.binary_join_element_wise(self.table["network"], self.table["station"], ".")
        wanted = pa.array([f"{network}.{station}" for network, station in stations])
        table = self.table.filter(pc.is_in(names, wanted))
        return replace(self, table=table, held=held)

    @property
    def hours(self) -> pa.Table:
        """`candidate` and `hours`, a row a candidate: of data picked."""
        total = pc.sum(self.table["hours"]).as_py()
        return pa.table({"candidate": list(self.names), "hours": [total] * len(self.names)})

    def picks(self) -> pa.Table:
        """The picks of all candidates on these station-days and bands, as stored, with `snr_db`."""
        days = self.table["day"]
        first, last = pc.min(days).as_py(), pc.max(days).as_py() + timedelta(days=1)
        rows = self.catalog.sql(
            f"SELECT * EXCLUDE (year, month) FROM picks WHERE candidate IN ({_quoted(self.names)}) "
            f"AND time >= '{first} 00:00:00+00'::TIMESTAMPTZ_NS "
            f"AND time < '{last} 00:00:00+00'::TIMESTAMPTZ_NS "
            "ORDER BY candidate, network, station, location, band, time, phase"
        )
        inside, _ = on_days(rows, self.table)
        bands = pa.array([f"{each.trace}.{each.day}" for each in self.held])
        day = inside["time"].cast(pa.timestamp("ns")).cast(pa.date32(), safe=False)
        texts = [inside[name].cast(pa.string()) for name in _DAY[:3]]
        keys = pc.binary_join_element_wise(
            *texts, inside["band"].cast(pa.string()), day.cast(pa.string()), "."
        )
        return with_pick_snr(inside.filter(pc.is_in(keys, bands)))

    def campaign(self, day: StationDay) -> Campaign:
        """The campaign that picked a station-day."""
        run, _ = self.held[day]
        if run not in self._campaigns:
            rows = self.catalog.sql("SELECT run, campaign, started FROM runs").to_pylist()
            for row in rows:  # in the order of their starts
                self._campaigns[row["run"]] = Campaign.model_validate(json.loads(row["campaign"]))
                self._began.setdefault(row["run"], row["started"].isoformat())
        return self._campaigns[run]

    def archive(self, day: StationDay) -> Archive:
        """The archive that a station-day was read from."""
        config = self.campaign(day).archive
        if config not in self._archives:
            self._archives[config] = open_archive(config)
        return self._archives[config]

    def picked(self, day: StationDay) -> PickedDay:
        """A station-day as workers are told of it.

        In every catalogue a run has the same name and begins with the same generation; when it was
        begun there tells one from another.
        """
        campaign, (run, generation) = self.campaign(day), self.held[day]
        version = f"{SEMANTICS_VERSION}.{run}.{self._began[run]}.{generation}"
        return PickedDay(day, campaign.archive, campaign.quality, version)

    def archives(self) -> dict[ArchiveConfig, Archive]:
        """All that station-days were read from."""
        for day in self.held:
            self.archive(day)
        return self._archives


def _longest(coverage: pa.Table) -> dict[StationDay, tuple[str, int]]:
    """Of each station-day the band with most data, the first of equals; the run and its newest
    generation."""
    best: dict[tuple[str, str, str, date], tuple[float, str, str, int]] = {}
    for row in coverage.to_pylist():
        key = (row["network"], row["station"], row["location"] or "", row["day"])
        this = (-row["seconds"], row["band"], row["run"], -row["generation"])
        best[key] = min(best.get(key, this), this)
    return {
        StationDay(TraceId(*key[:3], band), key[3]): (run, -newest)
        for key, (_, band, run, newest) in sorted(best.items())
    }


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)  # letters, digits, `.`, `_`, `-` alone
