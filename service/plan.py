"""A campaign against its archive: which station-days, in which shards, and what is left to do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import Any

from catalog.commits import Commit, resolve
from catalog.schema import Outcome, Shard, StationDay, TraceId, digest
from service.campaign import Campaign, CampaignError
from workers.archives import Archive
from workers.picker import StoredCandidate, Work

SHARDS_AT_LEAST = 64
"""Small campaigns are cut this fine where their station-days allow, so that workers share them."""

CPU_SECONDS = 5.0
"""A rough price of one station-day and candidate on one CPU core (`make bench` measures it)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be picked. The shards follow from the campaign and the listing alone."""

    shards: Sequence[Shard]
    sizes: Mapping[StationDay, int] = field(repr=False)  # bytes, of those that the listing shows
    unmatched: Sequence[str] = ()  # patterns that matched no trace

    @property
    def station_days(self) -> int:
        return sum(len(shard.station_days) for shard in self.shards)

    @property
    def traces(self) -> list[TraceId]:
        return sorted({trace for shard in self.shards for trace in shard.traces})

    def run_id(self, candidates: Sequence[StoredCandidate]) -> str:
        """Identity of this plan with these candidates: the same again is the same run."""
        return digest(self.to_json(candidates))

    def to_json(self, candidates: Sequence[StoredCandidate]) -> dict[str, Any]:
        return {
            "candidates": [
                {"name": c.name, "weights": c.weights_sha256, "settings": dict(c.settings)}
                for c in sorted(candidates, key=lambda c: c.name)
            ],
            "shards": [shard.to_json() for shard in self.shards],
        }


def make_plan(campaign: Campaign, archive: Archive) -> Plan:
    """List the archive and cut the campaign into shards.

    Every day of [start, end) of every matching trace is planned, held or not: what the archive
    lacks becomes `no_data`, not a silence. Raises CampaignError where no station matches.
    """
    select = campaign.select
    sizes: dict[StationDay, int] = {}
    for holding in archive.holdings(select.start, select.end):
        day = StationDay(holding.trace, holding.day)
        sizes[day] = sizes.get(day, 0) + holding.size
    seen = {day.trace for day in sizes}
    chosen = select_traces(seen, select.stations)
    if not chosen:
        held = ", ".join(str(trace) for trace in sorted(seen)[:5]) or "nothing"
        raise CampaignError(
            f"select.stations: none of {list(select.stations)} matches a trace of "
            f"{campaign.archive.root} in {select.start}..{select.end}, which holds {held}"
            f"{'...' if len(seen) > 5 else ''}; globs are NET.STA[.LOC[.BAND]]"
        )
    shards = cut_shards(chosen, select.start, select.end, campaign.compute.station_days_per_shard)
    wanted = set(chosen)
    return Plan(
        shards,
        {day: size for day, size in sizes.items() if day.trace in wanted},
        [text for text in select.stations if not select_traces(chosen, [text])],
    )


def select_traces(traces: Iterable[TraceId], patterns: Sequence[str]) -> list[TraceId]:
    """The traces that match any NET.STA[.LOC[.BAND]] glob, sorted. `--` is an empty location."""
    globs = [_pattern(text) for text in patterns]
    return sorted({trace for trace in traces if any(_matches(trace, glob) for glob in globs)})


def cut_shards(traces: Sequence[TraceId], start: date, end: date, largest: int) -> list[Shard]:
    """Rectangles of traces x days, inside calendar months, of at most `largest` station-days.

    Days of one trace stay together first: neighbouring days read the same halo.
    """
    days = (end - start).days
    size = max(1, min(largest, len(traces) * days // SHARDS_AT_LEAST))
    shards = []
    for first, last in _months(start, end):
        length = min(size, (last - first).days)
        width = max(1, size // length)
        for low in range(0, len(traces), width):
            day = first
            while day < last:
                stop = min(day + timedelta(days=length), last)
                shards.append(Shard(tuple(traces[low : low + width]), day, stop))
                day = stop
    return shards


def outstanding(
    plan: Plan,
    candidates: Sequence[StoredCandidate],
    commits: Sequence[Commit],
    retry: frozenset[Outcome] = frozenset(),
) -> list[Work]:
    """What of the plan no commit speaks for yet, or only with an outcome that is to be retried.

    A shard that is partly covered (by another plan of the same catalogue) is narrowed to its rest.
    """
    standing = resolve(commits)
    again = {
        (record.candidate, day)
        for record in commits
        for day, outcome in record.station_days()
        if outcome in retry and standing[record.candidate, day] is record
    }

    work: dict[tuple[Shard, int], list[str]] = defaultdict(list)
    for shard in plan.shards:
        for candidate in candidates:
            missing: dict[int, list[StationDay]] = defaultdict(list)
            for day in shard.station_days:
                key = (candidate.name, day)
                if key not in standing:
                    missing[0].append(day)
                elif key in again:
                    missing[standing[key].generation + 1].append(day)
            for generation, days in missing.items():
                for part in rectangles(days):
                    work[part, generation].append(candidate.name)
    return [Work(shard, tuple(names), generation) for (shard, generation), names in work.items()]


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


def _months(start: date, end: date) -> Iterable[tuple[date, date]]:
    while start < end:
        following = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
        yield start, min(following, end)
        start = following


def _pattern(text: str) -> list[str]:
    parts = text.split(".")
    if not 2 <= len(parts) <= 4:
        raise CampaignError(f"select.stations {text!r}: write it as NET.STA[.LOC[.BAND]]")
    return parts + ["*"] * (4 - len(parts))


def _matches(trace: TraceId, pattern: Sequence[str]) -> bool:
    codes = (trace.network, trace.station, trace.location, trace.band)
    return all(
        fnmatchcase(code, "" if glob == "--" else glob)
        for code, glob in zip(codes, pattern, strict=True)
    )
