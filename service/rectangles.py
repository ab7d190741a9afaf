"""Some station-days of a shard as shards: the fewest simple ones that hold just these."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta

from catalog.schema import Shard, TraceId
from service.days import Mask, spans_of


def rectangles(shard: Shard, chosen: Mask) -> list[Shard]:
    """Traces of equal ranges together. chosen: bool [trace, day] of the shard; all: itself."""
    ranges: dict[tuple[int, int], list[TraceId]] = defaultdict(list)
    for trace, first, stop in spans_of(chosen).T.tolist():
        ranges[first, stop].append(shard.traces[trace])
    return [
        Shard(tuple(traces), *(shard.start + timedelta(days=day) for day in days))
        for days, traces in ranges.items()
    ]
