"""Archives of station-days: one object holds every channel of a station on a day.

A name tells no channel. What a station held on a day is taken from its epochs where metadata are
lent (`epochs`); else objects are looked into: the first and the last that a station has, one a
year, and those between two that differ, until the day of the change is found.
"""

from __future__ import annotations

import re
from array import array
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from itertools import groupby, pairwise

from catalog.codes import spelled_code
from catalog.schema import EPOCH, TraceId
from catalog.store import AccessDenied, Listed, MissingObject
from workers.archives.archive import ArchiveConfig, Holding, version_of
from workers.archives.daily import DayKeys, concurrently, named_for, of_days
from workers.archives.glimpse import channels_within
from workers.archives.layout import Layout, Named, Wanted
from workers.archives.objects import NamedObject, Objects, require_root
from workers.archives.passed_over import PassedOver
from workers.decode import BadFormat
from workers.epochs import Epochs
from workers.waveform import ALIASES, Reading

LOOK_EVERY = 365
"""Held days from one that is looked into to the next."""

BLIND = 3
"""So often a stretch is halved whose ends do not both tell what they hold."""

Station = tuple[str, str]
Traces = tuple[TraceId, ...]
_Newest = dict[tuple[Station, date], Listed]


class StationDayArchive:
    """Objects of whole station-days. epochs: what is known of the stations, may be set."""

    def __init__(self, config: ArchiveConfig, layout: Layout) -> None:
        self.store = config.store()
        self.epochs: Epochs | None = None
        self.looked_into: list[str] = []
        self.unreadable: dict[str, str] = {}
        self.passed_over = PassedOver()
        self._layout = layout
        self._objects = Objects(self.store)
        self._keys = DayKeys(self.store, partial(_station_day, layout))

    def holdings(self, start: date, end: date, stations: Sequence[str] = ()) -> Iterator[Holding]:
        """An object's bytes are shared out evenly among its traces."""
        require_root(self.store)
        self._keys.forget()
        self.looked_into, self.unreadable, self.passed_over = [], {}, PassedOver()
        wanted = Wanted.of(stations)
        prefixes = self._layout.prefixes(start, end, wanted, self.store.folders)
        listings = concurrently(self._listing, prefixes)
        for _, listed in groupby(listings, key=lambda found: found[0].partition("/")[0]):
            held: dict[Station, _Held] = defaultdict(_Held)
            for _, found, passed_over in listed:
                self.passed_over.join(passed_over)
                for (station, day), newest in sorted(found.items()):
                    if start <= day < end:
                        held[station].add(day, newest)
            for station, traces in concurrently(self._named, sorted(held.items())):
                yield from held[station].holdings(traces)

    def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
        station = spelled_code(trace.network), spelled_code(trace.station)
        named = f"{trace.network}.{trace.station}"

        def of(day: date) -> list[NamedObject]:
            prefix = self._layout.key(Named(*station, "", "", day))
            versions = self._keys.of(station, prefix).get(day, ())
            newest = [max(versions, key=_stamp)] if versions else []
            return [replace(named_for(day, one.key), station=named, lent=station) for one in newest]

        objects, lost, absent = of_days(of, start_ns, end_ns)
        return self._objects.gather(trace, objects, start_ns, end_ns, lost, absent)

    def _listing(self, prefix: str) -> tuple[str, _Newest, PassedOver]:
        """The newest object of every station-day under a prefix, and what else lies there."""
        newest: _Newest = {}
        passed_over = PassedOver()
        for entry in self.store.list(prefix):
            found = _station_day(self._layout, entry.key)
            if found is not None:
                newest[found] = max(newest.get(found, entry), entry, key=_stamp)
            else:
                passed_over.add(entry.key)
        return prefix, newest, passed_over

    def _named(self, of_station: tuple[Station, _Held]) -> tuple[Station, list[Traces]]:
        """The traces that a station is said or seen to hold, for each of its held days."""
        station, held = of_station
        spelled = TraceId.spelled(*station, "", "")
        traces: list[Traces] = [()] * len(held)
        unknown = []
        for k, day in enumerate(held.dates()):
            if self.epochs is not None:
                traces[k] = self.epochs.on(spelled.network, spelled.station, day)
            if not traces[k]:
                unknown.append(k)
        for k, seen in zip(unknown, self._looked(station, held, unknown), strict=True):
            traces[k] = seen
        return station, traces

    def _looked(self, station: Station, held: _Held, which: Sequence[int]) -> list[Traces]:
        """What some held days of a station hold, told by looking into a few of them."""
        answers: dict[int, Traces | None] = {}

        def look(place: int) -> Traces | None:
            if place not in answers:
                k = which[place]
                answers[place] = self._look_into(held.key(self._layout, station, k), station)
            return answers[place]

        def narrow(low: int, high: int, blind: int = BLIND) -> None:
            ends = look(low), look(high)
            blind -= None in ends
            if high - low > 1 and blind >= 0 and (None in ends or ends[0] != ends[1]):
                middle = (low + high) // 2
                narrow(low, middle, blind)
                narrow(middle, high, blind)

        if not which:
            return []
        for low, high in pairwise([*range(0, len(which) - 1, LOOK_EVERY), len(which) - 1]):
            narrow(low, high)
        look(len(which) - 1)
        known = {place: answer for place, answer in sorted(answers.items()) if answer is not None}
        traces: list[Traces] = []
        # where nobody can tell, the days are planned all the same, and end as what they are
        nobody = (TraceId.spelled(*station, "", ""),)
        latest: Traces = next(iter(known.values()), nobody)
        for place in range(len(which)):
            latest = known.get(place, latest)
            traces.append(latest)
        return traces

    def _look_into(self, key: str, station: Station) -> Traces | None:
        """Traces of one object of a station; None where it cannot be told."""
        try:
            channels = channels_within(self.store, key)
        except (BadFormat, AccessDenied, MissingObject) as error:
            self.unreadable[key] = str(error)
            return None
        self.looked_into.append(key)
        traces = set()
        for codes in channels:
            try:
                if codes.component in ALIASES:
                    traces.add(codes.filled(*station).trace)
            except (ValueError, IndexError):
                continue  # such codes are no trace
        return tuple(sorted(traces))


class _Held:
    """Held days of one station: 28 bytes each, so that a network of decades fits in memory."""

    def __init__(self) -> None:
        self._days, self._numbers, self._sizes = array("i"), array("q"), array("q")
        self._versions = array("Q")

    def __len__(self) -> int:
        return len(self._days)

    def add(self, day: date, newest: Listed) -> None:
        number, size = _stamp(newest)
        self._days.append((day - EPOCH).days)
        self._numbers.append(number)
        self._sizes.append(size)
        self._versions.append(version_of(newest))

    def dates(self) -> Iterator[date]:
        return (date.fromordinal(EPOCH.toordinal() + day) for day in self._days)

    def key(self, layout: Layout, station: Station, k: int) -> str:
        day = date.fromordinal(EPOCH.toordinal() + self._days[k])
        number = self._numbers[k]
        return layout.key(Named(*station, "", "", day)) + (f"#{number}" if number >= 0 else "")

    def holdings(self, traces: Sequence[Traces]) -> Iterator[Holding]:
        for trace in sorted(set().union(*traces)):
            for k, day in enumerate(self.dates()):
                if trace in traces[k]:
                    size = self._sizes[k] // len(traces[k])
                    yield Holding(trace, day, size, self._versions[k])


def _station_day(layout: Layout, key: str) -> tuple[Station, date] | None:
    named = layout.parse(key.partition("#")[0])
    if named is None or _number(key) is None:
        return None
    return (named.network, named.station), named.day


def unversioned(url: str) -> str:
    """The same for all versions of an object."""
    return url.partition("#")[0]


def _number(key: str) -> int | None:
    """The number behind `#`, -1 where there is none, None where that is no number."""
    _, mark, version = key.partition("#")
    if not mark:
        return -1
    return int(version) if re.fullmatch(r"0|[1-9][0-9]*", version) else None


def _stamp(entry: Listed) -> tuple[int, int]:
    """What is newer compares higher."""
    number = _number(entry.key)
    return (-1 if number is None else number), entry.size
