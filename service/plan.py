"""A campaign against its archive: which station-days, and in which shards.

A plan is its traces, its days and one number; the shards follow, a month at a time. So a plan of
millions of shards is as small as the list of its traces. Where epochs or bands by priority leave
days of a trace out, the spans of those that are planned come along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import islice
from typing import Any

import numpy as np

from catalog.schema import Shard, TraceId, digest
from service.campaign import Campaign
from service.choice import Priority, choose
from service.days import Mask, PlannedDays, Spans, spans_of
from service.documents import CampaignError
from service.findings import Findings, left_out_of, unreadable_of
from service.held import Held
from service.patterns import select_traces
from service.rectangles import rectangles
from workers.archives import Archive, StationDayArchive
from workers.epochs import read_epochs
from workers.picker import StoredCandidate

Span = tuple[date, date]
"""Days [first, end) inside one calendar month."""

SHOWN = 500
"""Holdings of other stations that are looked at to say what an archive has instead."""

SHARDS_AT_LEAST = 64
"""Small campaigns are cut this fine where their station-days allow, so that workers share them."""

CPU_SECONDS = 1.6
"""Of one held station-day and candidate on one CPU core, engine fast (docs/performance.md)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be picked: the planned days of [start, end) of every trace, held or not.

    size: station-days that a shard holds at most. held: planned station-days that the listing
    shows; bytes: their size; unmatched: patterns that matched no trace. days: which days are
    planned, None: every day. findings: what else the listing told.
    """

    traces: Sequence[TraceId]
    start: date
    end: date
    size: int
    held: int = 0
    bytes: int = 0
    unmatched: Sequence[str] = ()
    days: PlannedDays | None = None
    findings: Findings = field(default_factory=Findings, compare=False)

    @property
    def station_days(self) -> int:
        """How many are planned."""
        if self.days is not None:
            return self.days.count
        return len(self.traces) * (self.end - self.start).days

    @property
    def shard_count(self) -> int:
        """How many shards there will be."""
        if self.days is not None:
            return sum(1 for _ in self.shards())
        total = 0
        for first, last in self.months():
            width, length = self._cut((first, last))
            total += -(-len(self.traces) // width) * -(-(last - first).days // length)
        return total

    def planned(self, month: Span) -> Mask:
        """bool [trace, day of the month], True where the plan has a station-day."""
        low, high = ((day - self.start).days for day in month)
        if self.days is None:
            return np.ones((len(self.traces), high - low), bool)
        return self.days.mask(len(self.traces), low, high)

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

    def parts(self, month: Span, block: tuple[slice, slice], chosen: Mask) -> list[Shard]:
        """Shards over some station-days of a block; chosen: bool [trace, day] of the block."""
        traces, days = block
        start, end = (month[0] + timedelta(days=day) for day in (days.start, days.stop))
        return rectangles(Shard(tuple(self.traces[traces]), start, end), chosen)

    def shards(self) -> Iterator[Shard]:
        """Every shard, by month, then by trace and day."""
        for month in self.months():
            planned = self.planned(month)
            for block in self.blocks(month):
                yield from self.parts(month, block, planned[block])

    def run_id(self, candidates: Sequence[StoredCandidate]) -> str:
        """Identity of this plan with these candidates: the same again is the same run."""
        return digest(self.to_json(candidates))

    def to_json(self, candidates: Sequence[StoredCandidate]) -> dict[str, Any]:
        """`days`, where not all are planned: of each trace [first, stop, ...] after `start`."""
        days = {} if self.days is None else {"days": self.days.to_json(len(self.traces))}
        return days | {
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

    What is planned and not held becomes `no_data`, not a silence. Raises CampaignError where no
    station matches or nothing is left to plan, EpochsError where station metadata cannot be read.
    """
    select = campaign.select
    epochs = None if select.epochs is None else read_epochs(select.epochs)
    if isinstance(archive, StationDayArchive):
        archive.epochs = epochs
    held = _held(campaign, archive)
    priority = Priority(select.bands, select.locations)
    findings = Findings.of(held, select.stations, priority, epochs, archive)
    planned: list[tuple[TraceId, Spans]] = []
    size = 0
    for trace, days in choose(held, held.traces, priority, epochs):
        there = int(np.count_nonzero(held.mask(trace) & days))
        findings.add(trace, int(np.count_nonzero(days)), there)
        size += held.bytes(trace, there)
        planned.append((trace, spans_of(days[None])))
    if not planned:
        raise CampaignError(
            f"select: nothing is left to plan of {len(held.traces)} traces, such as "
            f"{', '.join(map(str, held.traces[:5]))}: look at select.bands, locations and epochs"
        )
    planned.sort(key=lambda one: one[0])
    traces = [trace for trace, _ in planned]
    days_of = PlannedDays.of([spans for _, spans in planned])
    whole = days_of.count == len(traces) * held.days
    return Plan(
        traces,
        select.start,
        select.end,
        shard_size(len(traces), select.start, select.end, campaign.compute.station_days_per_shard),
        sum(tally.held for tally in findings.stations.values()),
        size,
        [text for text in select.stations if not select_traces(held.traces, [text])],
        None if whole else days_of,
        findings,
    )


def _held(campaign: Campaign, archive: Archive) -> Held:
    """What the archive lists of the stations of a campaign."""
    select = campaign.select
    select_traces((), select.stations)  # globs that are none are told before anything is listed
    held = Held(select.start, select.end)
    matching: dict[TraceId, bool] = {}
    for holding in archive.holdings(select.start, select.end, select.stations):
        if holding.trace not in matching:
            matching[holding.trace] = bool(select_traces([holding.trace], select.stations))
        if matching[holding.trace]:
            held.add(holding)
    if held.traces:
        return held
    left_out = left_out_of(archive)
    others = (holding.trace for holding in archive.holdings(select.start, select.end))
    seen = sorted(set(islice(others, SHOWN)))
    whys = [*left_out, *islice(unreadable_of(archive).values(), 1)]
    raise CampaignError(
        f"select.stations: none of {list(select.stations)} matches a trace of "
        f"{campaign.archive.root} in {select.start}..{select.end}, which holds "
        f"{', '.join(map(str, seen)) or 'nothing'}{'...' if len(seen) > 1 else ''}; globs are "
        f"NET.STA[.LOC[.BAND]]" + "".join(f"; {why}" for why in whys)
    )


def shard_size(traces: int, start: date, end: date, largest: int) -> int:
    """Station-days a shard: `largest`, or fewer where the campaign is small."""
    return max(1, min(largest, traces * (end - start).days // SHARDS_AT_LEAST))
