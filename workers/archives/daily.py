"""Archives of day objects: a listing says what exists, names say what a read needs.

`DailyArchive` reads every layout that has one object a channel-day.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from typing import Generic, TypeVar

from catalog.codes import spelled_code, upper
from catalog.schema import COMPONENTS, DAY_NS, Outcome, TraceId, day_of, day_start_ns, days_between
from catalog.store import AccessDenied, Listed, Store
from workers.archives.archive import ArchiveConfig, Holding, version_of
from workers.archives.layout import Layout, Wanted
from workers.archives.objects import SPILL_NS, NamedObject, Objects, require_root
from workers.archives.passed_over import PassedOver
from workers.waveform import ALIASES, Lost, Reading

LISTINGS = 16
"""Listings under way at once: each page of a large one is a reply to wait for."""

Owner = TypeVar("Owner", bound=Hashable)
_A = TypeVar("_A")
_B = TypeVar("_B")


class DailyArchive:
    """Day objects of single channels, in any layout that names location and channel."""

    def __init__(self, config: ArchiveConfig, layout: Layout) -> None:
        self.store = config.store()
        self._layout = layout
        self._objects = Objects(self.store)
        self._keys = DayKeys(self.store, partial(_trace_day, layout))
        self.passed_over = PassedOver()

    def holdings(self, start: date, end: date, stations: Sequence[str] = ()) -> Iterator[Holding]:
        require_root(self.store)
        self._keys.forget()
        self.passed_over = PassedOver()
        wanted = Wanted.of(stations)
        prefixes = self._layout.prefixes(start, end, wanted, self.store.folders)
        for sizes, passed_over in concurrently(self._sizes, prefixes):
            self.passed_over.join(passed_over)
            for (trace, day), (size, version) in sorted(sizes.items()):
                if start <= day < end:
                    yield Holding(trace, day, size, version)

    def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
        lent = spelled_code(trace.network), spelled_code(trace.station)

        def of(day: date) -> list[NamedObject]:
            entries = self._entries(trace, day)
            return [replace(named_for(day, one.key), trace=trace, lent=lent) for one in entries]

        objects, lost, absent = of_days(of, start_ns, end_ns)
        return self._objects.gather(trace, objects, start_ns, end_ns, lost, absent)

    def _entries(self, trace: TraceId, day: date) -> Sequence[Listed]:
        """Objects of a trace's day; the names of some may have the band in lower case."""
        prefix = self._layout.prefix(trace, day)
        found = [*self._keys.of(trace, prefix).get(day, ())]
        lower = prefix.removesuffix(trace.band) + trace.band.lower()
        if len(found) < len(COMPONENTS) and lower != prefix and prefix.endswith(trace.band):
            found += self._keys.of(trace, lower).get(day, ())
        return found

    def _sizes(self, prefix: str) -> tuple[dict[tuple[TraceId, date], tuple[int, int]], PassedOver]:
        """Bytes and version of every station-day under a prefix, and what else lies there."""
        sizes: dict[tuple[TraceId, date], tuple[int, int]] = {}
        passed_over = PassedOver()
        for entry in self.store.list(prefix):
            found = _trace_day(self._layout, entry.key)
            if found is not None:
                size, version = sizes.get(found, (0, 0))
                sizes[found] = size + entry.size, version ^ version_of(entry)
            elif self._layout.parse(entry.key) is None:  # else of a channel that is never read
                passed_over.add(entry.key)
        return sizes, passed_over


class DayKeys(Generic[Owner]):
    """Objects of one owner (a trace, a station) by day, each prefix listed once.

    A listing is kept until another owner is asked for. Asking instead for each object that may
    exist costs more, and a bucket that cannot be listed answers 403 for those that do not.
    """

    def __init__(self, store: Store, owner_day: Callable[[str], tuple[Owner, date] | None]) -> None:
        self._store = store
        self._owner_day = owner_day
        self._owner: Owner | None = None
        self._listed: dict[str, dict[date, list[Listed]]] = {}

    def of(self, owner: Owner, prefix: str) -> Mapping[date, Sequence[Listed]]:
        """The objects of an owner below a prefix, by day. Raises what listing raises."""
        if self._owner != owner:
            self._owner = owner
            self._listed = {}
        if prefix not in self._listed:
            days: dict[date, list[Listed]] = {}
            for entry in self._store.list(prefix):
                found = self._owner_day(entry.key)
                if found is not None and found[0] == owner:
                    days.setdefault(found[1], []).append(entry)
            self._listed[prefix] = days
        return self._listed[prefix]

    def forget(self) -> None:
        """List anew from now on."""
        self._owner = None


def _trace_day(layout: Layout, key: str) -> tuple[TraceId, date] | None:
    """What a key is named for; None where it is no component that is read."""
    named = layout.parse(key)
    if named is None or upper(named.channel[-1:]) not in ALIASES:
        return None
    try:
        codes = named.network, named.station, named.location, named.channel[:-1]
        return TraceId.spelled(*codes), named.day
    except ValueError:
        return None


def named_for(day: date, key: str) -> NamedObject:
    """An object that is named for a day."""
    return NamedObject(key, day_start_ns(day), day_start_ns(day) + DAY_NS)


def days_around(start_ns: int, end_ns: int) -> Iterator[date]:
    """Days whose objects may hold samples of [start_ns, end_ns)."""
    first, last = day_of(start_ns - SPILL_NS), day_of(end_ns + SPILL_NS)
    return days_between(first, last + timedelta(days=1))


def of_days(
    objects_of: Callable[[date], Sequence[NamedObject]], start_ns: int, end_ns: int
) -> tuple[list[NamedObject], list[Lost], list[tuple[int, int]]]:
    """Objects of the days that a span may need; the days whose listing is refused, of which nobody
    knows; and those that have none."""
    found: list[NamedObject] = []
    lost, absent = [], []
    for day in days_around(start_ns, end_ns):
        nothing = named_for(day, "")
        try:
            objects = objects_of(day)
        except AccessDenied as error:
            lost.append(nothing.lost(Outcome.ACCESS_DENIED, str(error.strerror)))
            continue
        found += objects
        if not objects:
            absent.append((nothing.start_ns, nothing.end_ns))
    return found, lost, absent


def concurrently(call: Callable[[_A], _B], arguments: Iterable[_A]) -> Iterator[_B]:
    """Results in order, LISTINGS of them under way; what is not asked for is not begun."""
    waiting: deque[Future[_B]] = deque()
    with ThreadPoolExecutor(LISTINGS) as pool:
        for argument in arguments:
            waiting.append(pool.submit(call, argument))
            if len(waiting) >= LISTINGS:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
