"""SeisComP data structure: `YEAR/NET/STA/CHAN.D/NET.STA.LOC.CHAN.D.YEAR.DOY`.

One object a channel-day.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import groupby

from catalog.schema import DAY_NS, TraceId, day_of, day_start_ns
from workers.archives.archive import ArchiveConfig, Holding
from workers.archives.objects import SPILL_NS, Candidate, Objects, require_root
from workers.waveform import ALIASES, Reading

_KEY = re.compile(
    r"(?P<year>\d{4})/(?P<net>[^/.]*)/(?P<sta>[^/.]*)/(?P<cha>[^/.]+)\.D/"
    r"(?P=net)\.(?P=sta)\.(?P<loc>[^/.]*)\.(?P=cha)\.D\.(?P=year)\.(?P<doy>\d{3})"
)


class SdsArchive:
    def __init__(self, config: ArchiveConfig) -> None:
        self.store = config.store()
        self._objects = Objects(self.store)
        self._listed: tuple[TraceId, dict[int, dict[date, list[str]]]] | None = None

    def holdings(self, start: date, end: date) -> Iterator[Holding]:
        """One listing for each year of [start, end), a station of which is held in memory."""
        require_root(self.store)
        self._listed = None
        for year in range(start.year, (end - timedelta(days=1)).year + 1):
            listed = self.store.list(f"{year}/")
            for _, of_station in groupby(listed, key=lambda entry: entry.key.split("/")[:3]):
                sizes: dict[tuple[TraceId, date], int] = {}
                for entry in of_station:
                    parsed = _parse(entry.key)
                    if parsed is not None and start <= parsed[1] < end:
                        sizes[parsed] = sizes.get(parsed, 0) + entry.size
                for (trace, day), size in sorted(sizes.items()):
                    yield Holding(trace, day, size)

    def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
        first, last = day_of(start_ns - SPILL_NS), day_of(end_ns + SPILL_NS)
        candidates = [
            Candidate(key, day_start_ns(day), day_start_ns(day) + DAY_NS)
            for year in range(first.year, last.year + 1)
            for day, keys in self._days(trace, year).items()
            if first <= day <= last
            for key in keys
        ]
        return self._objects.gather(trace, candidates, start_ns, end_ns)

    def _days(self, trace: TraceId, year: int) -> dict[date, list[str]]:
        """Keys of a trace by day, from one listing that is kept until another trace is read.

        A year of one band is two pages of an S3 listing; asking for each object that may exist
        costs more, and a bucket that cannot be listed answers 403 for those that do not.
        """
        if self._listed is None or self._listed[0] != trace:
            self._listed = trace, {}
        years = self._listed[1]
        if year not in years:
            days: dict[date, list[str]] = {}
            prefix = f"{year}/{trace.network}/{trace.station}/{trace.band}"
            for entry in self.store.list(prefix):
                parsed = _parse(entry.key)
                if parsed is not None and parsed[0] == trace:
                    days.setdefault(parsed[1], []).append(entry.key)
            years[year] = days
        return years[year]


def _parse(key: str) -> tuple[TraceId, date] | None:
    """Trace and day that a key is named for; None where it is no component that is read."""
    match = _KEY.fullmatch(key)
    if match is None or match["cha"][-1] not in ALIASES:
        return None
    try:
        trace = TraceId(match["net"], match["sta"], match["loc"], match["cha"][:-1])
        day = date(int(match["year"]), 1, 1) + timedelta(days=int(match["doy"]) - 1)
    except (ValueError, OverflowError):
        return None
    return (trace, day) if day.year == int(match["year"]) else None
