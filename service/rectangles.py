"""Station-days as shards: the fewest simple ones that hold just these."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from datetime import date, timedelta

from catalog.schema import Shard, StationDay, TraceId


def rectangles(days: Iterable[StationDay]) -> list[Shard]:
    """The fewest simple shards over some station-days of one month: traces of equal ranges."""
    ranges: dict[tuple[date, date], list[TraceId]] = defaultdict(list)
    by_trace: dict[TraceId, list[date]] = defaultdict(list)
    for station_day in sorted(days):
        by_trace[station_day.trace].append(station_day.day)
    for trace, dates in by_trace.items():
        first = previous = dates[0]
        for day in [*dates[1:], None]:
            if day is None or day != previous + timedelta(days=1):
                ranges[first, previous + timedelta(days=1)].append(trace)
                first = day or first
            previous = day or previous
    return [Shard(tuple(traces), first, stop) for (first, stop), traces in ranges.items()]
