"""tidepick ingest: miniSEED (or anything an archive reads) -> Zarr, with a bar and a tally."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date

from rich.console import Console
from rich.progress import track

from catalog.errors import Refusal
from catalog.store import open_store
from service.patterns import select_traces
from workers.archives import ArchiveConfig, open_archive
from workers.ingest import ingest


@dataclass(slots=True)
class Tally:
    """What became of the station-days of one ingest."""

    states: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """No station-day is missing from what was written that the source holds."""
        return not self.states["refused"] and not self.states["unreadable"]


def ingest_archive(
    source: ArchiveConfig,
    destination: str,
    stations: Sequence[str],
    start: date,
    end: date,
    console: Console,
) -> Tally:
    """Copy station-days to a Zarr archive; what is complete there already is kept.

    Raises Refusal where no trace matches.
    """
    archive = open_archive(source)
    traces = {holding.trace for holding in archive.holdings(start, end, stations)}
    chosen = select_traces(traces, stations)
    if not chosen:
        raise Refusal(
            f"--stations {','.join(stations)}: none matches a trace of {source.root} in "
            f"{start}..{end}; globs are NET.STA[.LOC[.BAND]]"
        )
    tally = Tally()
    days = ingest(archive, open_store(destination), start, end, frozenset(chosen))
    total = len(chosen) * (end - start).days
    for done in track(days, "ingesting", total=total, console=console):
        tally.states[done.state] += 1
        if done.detail:
            where = f"{done.station_day.trace} {done.station_day.day}"
            tally.problems.append(f"{where}: {done.state}: {done.detail}")
    return tally
