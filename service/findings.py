"""What listing and metadata told of a campaign beside its station-days: for people to look at."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from catalog.schema import TraceId
from catalog.verbs import printable
from service.choice import Priority, allowed
from service.held import Held
from service.patterns import select_traces
from workers.archives import Archive, DailyArchive, FilesArchive, StationDayArchive
from workers.epochs import Epochs


@dataclass(slots=True)
class Tally:
    """Station-days."""

    planned: int = 0
    held: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of the planned station-days that the archive holds; 0 where none is planned."""
        return self.held / self.planned if self.planned else 0.0


@dataclass(slots=True)
class Findings:
    """stations: by NET.STA; networks; choices: by LOC.BAND, of what was planned.

    phantoms: traces that the metadata have in these days and the archive never. unknown: traces
    that the archive holds and the metadata do not know; they are planned. Of phantom stations the
    archive holds nothing, of unknown stations the metadata know nothing. outside_epochs: held
    station-days, by NET.STA, that are not planned because no epoch has them; not_chosen: how many
    are not because of bands and locations. unreadable: objects that could not be looked into, and
    why; unlooked: those of them that therefore are in no plan and get no outcome. notes: how it was
    told.
    """

    stations: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    networks: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    choices: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    phantoms: Sequence[TraceId] = ()
    phantom_stations: Sequence[str] = ()
    unknown: Sequence[TraceId] = ()
    unknown_stations: Sequence[str] = ()
    outside_epochs: Counter[str] = field(default_factory=Counter)
    not_chosen: int = 0
    unreadable: Mapping[str, str] = field(default_factory=dict)
    unlooked: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()

    @classmethod
    def of(
        cls,
        held: Held,
        patterns: Sequence[str],
        priority: Priority,
        epochs: Epochs | None,
        archive: Archive,
    ) -> Findings:
        """Before anything is planned: every held station-day inside the epochs is not chosen."""
        findings = cls()
        for trace in held.traces:
            there = held.mask(trace)
            inside = int(np.count_nonzero(there & allowed(epochs, trace, held.start, held.days)))
            findings.not_chosen += inside
            if outside := int(np.count_nonzero(there)) - inside:
                findings.outside_epochs[_station(trace)] += outside
        if epochs is not None:
            have = set(held.traces)
            findings.unknown = [trace for trace in held.traces if trace not in epochs.spans]
            findings.phantoms = [
                trace
                for trace in select_traces(epochs.spans, patterns)
                if trace not in have
                and priority.rank(trace) is not None
                and allowed(epochs, trace, held.start, held.days).any()
            ]
            here = {_station(trace) for trace in have}
            on_paper = {_station(trace) for trace in epochs.spans}
            findings.phantom_stations = sorted({*map(_station, findings.phantoms)} - here)
            findings.unknown_stations = sorted({*map(_station, findings.unknown)} - on_paper)
        findings.unreadable = unreadable_of(archive)
        if isinstance(archive, FilesArchive):  # elsewhere a name says which station-day it is
            findings.unlooked = findings.unreadable
        notes = []
        if isinstance(archive, StationDayArchive):
            looked = len(archive.looked_into)
            notes = [
                "an object holds all channels of a station-day, and its name tells none: bands are "
                + (
                    "those of select.epochs where these know the station and day, else "
                    * bool(epochs)
                )
                + f"what the headers of {looked:,} objects show, of each station the first and the "
                "last, one a year, and those around a change"
            ]
        findings.notes = [*notes, *left_out_of(archive)]
        return findings

    def add(self, trace: TraceId, planned: int, held: int) -> None:
        """One trace's planned station-days, and how many of them are held."""
        for tallies, name in (
            (self.stations, _station(trace)),
            (self.networks, trace.network),
            (self.choices, f"{trace.location or '--'}.{trace.band}"),
        ):
            tallies[name].planned += planned
            tallies[name].held += held
        self.not_chosen -= held

    def worst(self, count: int) -> list[tuple[str, Tally]]:
        """The stations of the lowest hit rates, of those that lack anything."""
        lacking = [(name, each) for name, each in self.stations.items() if each.held < each.planned]
        return sorted(lacking, key=lambda one: (one[1].hit_rate, -one[1].planned, one[0]))[:count]


def _station(trace: TraceId) -> str:
    return f"{trace.network}.{trace.station}"


def unreadable_of(archive: Archive) -> Mapping[str, str]:
    """Objects that had to be looked into and told nothing, and why."""
    if isinstance(archive, FilesArchive | StationDayArchive):
        return {printable(key): why for key, why in sorted(archive.unreadable.items())}
    return {}


def left_out_of(archive: Archive) -> Sequence[str]:
    """A line about what its listing passed over, if it did."""
    if not isinstance(archive, DailyArchive | StationDayArchive) or not archive.passed_over.count:
        return []
    count, some = archive.passed_over.count, [printable(key) for key in archive.passed_over.keys]
    return [
        f"left out, for their names are of no station-day of this layout: {count:,}, "
        f"{', '.join(some)}{', ...' if count > len(some) else ''}"
    ]
