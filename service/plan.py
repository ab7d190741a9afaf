"""A campaign against its archive: which station-days, and in which shards.

A plan is its traces, its days and one number; the shards follow, a month at a time. So a plan of
millions of shards is as small as the list of its traces.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from typing import Any

from catalog.schema import Shard, TraceId, digest
from service.campaign import Campaign, CampaignError
from workers.archives import Archive
from workers.picker import StoredCandidate

Span = tuple[date, date]
"""Days [first, end) inside one calendar month."""

SHARDS_AT_LEAST = 64
"""Small campaigns are cut this fine where their station-days allow, so that workers share them."""

CPU_SECONDS = 2.0
"""A rough price of one station-day and candidate on one CPU core (`make bench` measures it)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be picked: every day of [start, end) of every trace, held or not.

    size: station-days that a shard holds at most. held: station-days that the listing shows;
    bytes: their size; unmatched: patterns that matched no trace.
    """

    traces: Sequence[TraceId]
    start: date
    end: date
    size: int
    held: int = 0
    bytes: int = 0
    unmatched: Sequence[str] = ()

    @property
    def station_days(self) -> int:
        return len(self.traces) * (self.end - self.start).days

    @property
    def shard_count(self) -> int:
        total = 0
        for first, last in self.months():
            width, length = self._cut((first, last))
            total += -(-len(self.traces) // width) * -(-(last - first).days // length)
        return total

    def months(self) -> Iterator[Span]:
        """The days of the plan by calendar month."""
        start = self.start
        while start < self.end:
            following = (start.replace(day=1) + timedelta(days=32)).replace(day=1)
            yield start, min(following, self.end)
            start = following

    def blocks(self, month: Span) -> Iterator[tuple[slice, slice]]:
        """The shards of one month, as slices of the plan's traces and of the month's days.

        Days of one trace stay together first: neighbouring days read the same halo.
        """
        width, length = self._cut(month)
        days = (month[1] - month[0]).days
        for low in range(0, len(self.traces), width):
            traces = slice(low, min(low + width, len(self.traces)))
            for day in range(0, days, length):
                yield traces, slice(day, min(day + length, days))

    def shard(self, month: Span, block: tuple[slice, slice]) -> Shard:
        traces, days = block
        start, end = (month[0] + timedelta(days=day) for day in (days.start, days.stop))
        return Shard(tuple(self.traces[traces]), start, end)

    def shards(self) -> Iterator[Shard]:
        for month in self.months():
            for block in self.blocks(month):
                yield self.shard(month, block)

    def run_id(self, candidates: Sequence[StoredCandidate]) -> str:
        """Identity of this plan with these candidates: the same again is the same run."""
        return digest(self.to_json(candidates))

    def to_json(self, candidates: Sequence[StoredCandidate]) -> dict[str, Any]:
        return {
            "candidates": [
                {"name": c.name, "weights": c.weights_sha256, "settings": dict(c.settings)}
                for c in sorted(candidates, key=lambda c: c.name)
            ],
            "traces": [str(trace) for trace in self.traces],
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "station_days_per_shard": self.size,
        }

    def _cut(self, month: Span) -> tuple[int, int]:
        """Traces and days of a shard."""
        length = min(self.size, (month[1] - month[0]).days)
        return max(1, self.size // length), length


def make_plan(campaign: Campaign, archive: Archive) -> Plan:
    """List the archive once and cut the campaign into shards.

    Every day of [start, end) of every matching trace is planned, held or not: what the archive
    lacks becomes `no_data`, not a silence. Raises CampaignError where no station matches.
    """
    select = campaign.select
    matching: dict[TraceId, bool] = {}
    held = size = 0
    for holding in archive.holdings(select.start, select.end):
        if holding.trace not in matching:
            matching[holding.trace] = bool(select_traces([holding.trace], select.stations))
        if matching[holding.trace]:
            held += 1
            size += holding.size
    chosen = sorted(trace for trace, matches in matching.items() if matches)
    if not chosen:
        seen = ", ".join(str(trace) for trace in sorted(matching)[:5]) or "nothing"
        raise CampaignError(
            f"select.stations: none of {list(select.stations)} matches a trace of "
            f"{campaign.archive.root} in {select.start}..{select.end}, which holds {seen}"
            f"{'...' if len(matching) > 5 else ''}; globs are NET.STA[.LOC[.BAND]]"
        )
    return Plan(
        chosen,
        select.start,
        select.end,
        shard_size(len(chosen), select.start, select.end, campaign.compute.station_days_per_shard),
        held,
        size,
        [text for text in select.stations if not select_traces(chosen, [text])],
    )


def shard_size(traces: int, start: date, end: date, largest: int) -> int:
    """Station-days a shard: `largest`, or fewer where the campaign is small."""
    return max(1, min(largest, traces * (end - start).days // SHARDS_AT_LEAST))


def select_traces(traces: Iterable[TraceId], patterns: Sequence[str]) -> list[TraceId]:
    """The traces that match any NET.STA[.LOC[.BAND]] glob, sorted. `--` is an empty location."""
    globs = [_pattern(text) for text in patterns]
    return sorted({trace for trace in traces if any(_matches(trace, glob) for glob in globs)})


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
