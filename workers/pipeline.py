"""From a shard to its picks, the whole story on one page.

read (with a halo) -> assemble on the grid -> run every candidate over it -> rows and outcomes.
Several candidates share the read, the decoding and the windows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby

from catalog.schema import Outcome, Shard, StationDay, TraceId
from catalog.store import AccessDenied
from workers.archives import Archive
from workers.decode import BadFormat
from workers.filtering import filtered
from workers.span import Candidate, Picked, Span, halo
from workers.waveform import NS, Reading


def pick_span(
    archive: Archive, trace: TraceId, start_ns: int, end_ns: int, candidates: Sequence[Candidate]
) -> dict[str, Picked]:
    """Picks of every candidate in [start_ns, end_ns), by name. Raises what the archive raises."""
    return pick_reading(
        read_span(archive, trace, start_ns, end_ns, candidates), trace, start_ns, end_ns, candidates
    )


def read_span(
    archive: Archive, trace: TraceId, start_ns: int, end_ns: int, candidates: Sequence[Candidate]
) -> Reading:
    """The span with the widest halo that any candidate needs."""
    margin = max((halo(c.rate) + 2) * NS // c.rate for c in candidates)
    return archive.read(trace, start_ns - margin, end_ns + margin)


def pick_reading(
    reading: Reading, trace: TraceId, start_ns: int, end_ns: int, candidates: Sequence[Candidate]
) -> dict[str, Picked]:
    """As `pick_span`, on what was read."""
    result: dict[str, Picked] = {}
    for rate, at_rate in groupby(sorted(candidates, key=lambda c: c.rate), key=lambda c: c.rate):
        alike = list(at_rate)
        span = Span.of(reading, trace, start_ns, end_ns, rate)
        refused = span.refusal()
        for group in alike_filtered(alike):
            if refused is not None:
                result |= {candidate.name: refused for candidate in group}
            else:
                result |= span.pick(filtered(span.waveform, group[0].weights.preparation), group)
    return result


def alike_filtered(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Candidates of one rate, grouped by the filter that their weights name."""
    for _, group in groupby(sorted(candidates, key=_filter_key), key=_filter_key):
        yield list(group)


def _filter_key(candidate: Candidate) -> str:
    preparation = candidate.weights.preparation
    return json.dumps([preparation.filter_args, preparation.filter_kwargs], sort_keys=True)


@dataclass(frozen=True, slots=True)
class StationDayPicked:
    """One station-day of a shard, for every candidate, with the ETags that were read."""

    station_day: StationDay
    picked: Mapping[str, Picked]
    inputs: Mapping[str, str]


def pick_shard(
    archive: Archive, shard: Shard, candidates: Sequence[Candidate]
) -> Iterator[StationDayPicked]:
    """Every station-day of a shard, in order; the next one is read while this one is picked.

    Refusals of one station-day (403, unreadable bytes) become its outcome; a store that does not
    answer ends the shard, which is tried again as a whole.
    """

    def read(day: StationDay) -> Reading | Picked:
        try:
            return read_span(archive, day.trace, day.start_ns, day.end_ns, candidates)
        except AccessDenied as error:
            return Picked(Outcome.ACCESS_DENIED, error.strerror or str(error))
        except BadFormat as error:
            return Picked(Outcome.BAD_FORMAT, str(error))

    days = shard.station_days
    with ThreadPoolExecutor(1) as reader:
        ahead = reader.submit(read, days[0])
        for day, following in zip(days, (*days[1:], None), strict=True):
            reading = ahead.result()
            if following is not None:
                ahead = reader.submit(read, following)
            if isinstance(reading, Picked):
                yield StationDayPicked(day, {c.name: reading for c in candidates}, {})
            else:
                picked = pick_reading(reading, day.trace, day.start_ns, day.end_ns, candidates)
                yield StationDayPicked(day, picked, reading.inputs)
