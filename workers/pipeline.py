"""From a shard to its picks, the whole story on one page.

read (with a halo) -> assemble on the grid, mask what is wrong -> run every candidate over it ->
rows and outcomes.
Several candidates share the read, the decoding and the windows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby, pairwise

import numpy as np

from catalog.schema import Outcome, Shard, StationDay, TraceId
from catalog.store import AccessDenied
from workers.archives import Archive
from workers.candidate import Candidate
from workers.decode import BadFormat
from workers.filtering import filtered
from workers.losses import retriable, settled
from workers.parts import Gathered, Part, Ungathered, ahead, in_parts
from workers.picked import Picked, joined
from workers.quality import Quality
from workers.recipe import Curve
from workers.span import Span, margin_ns
from workers.waveform import Reading, Samples


def gather(
    archive: Archive, trace: TraceId, start_ns: int, end_ns: int, candidates: Sequence[Candidate]
) -> Gathered:
    """A span with all that picking it needs. Raises what `read_span` raises."""
    reading = read_span(archive, trace, start_ns, end_ns, candidates)
    return Gathered.of(reading, trace, start_ns, end_ns, {c.ground for c in candidates})


def read_span(
    archive: Archive, trace: TraceId, start_ns: int, end_ns: int, candidates: Sequence[Candidate]
) -> Reading:
    """The span with the widest halo that any candidate needs, resampled data included.

    Raises AccessDenied and BadFormat for objects of the span itself; those that only the halo
    reaches into leave a mark (workers/losses.py).
    """
    return settled(_widely(archive, trace, start_ns, end_ns, candidates), start_ns, end_ns)


def _widely(
    archive: Archive, trace: TraceId, start_ns: int, end_ns: int, candidates: Sequence[Candidate]
) -> Reading:
    margin = max(margin_ns(candidate.rate) for candidate in candidates)
    return archive.read(trace, start_ns - margin, end_ns + margin)


def pick_gathered(
    gathered: Sequence[Gathered], candidates: Sequence[Candidate]
) -> list[dict[str, Picked]]:
    """Picks of every candidate by name, of several spans, which share batches."""
    result: list[dict[str, Picked]] = [{} for _ in gathered]
    for ground, group in groupby(sorted(candidates, key=_ground), key=_ground):
        alike = list(group)
        spans = [each.spans[ground] for each in gathered]
        refused = [span.refusal() for span in spans]
        for sharing in sharing_windows(alike):
            ready = [span for span, why in zip(spans, refused, strict=True) if why is None]
            curves = iter(curves_of(ready, sharing))
            for found, span, why in zip(result, spans, refused, strict=True):
                if why is not None:
                    found |= {candidate.name: why for candidate in sharing}
                else:
                    mine = zip(sharing, next(curves), strict=True)
                    found |= {c.name: span.picked(c, curve) for c, curve in mine}
    return result


def curves_of(spans: Sequence[Span], candidates: Sequence[Candidate]) -> list[list[Curve]]:
    """Probabilities [PHASES, n] over each span's columns, by span and candidate.

    The candidates, of one engine, ground and filter, share every window; the spans share batches.
    """
    recipes = [candidate.recipe for candidate in candidates]
    if not spans:
        return []
    samples = [filtered(span.waveform, candidates[0].preparation).data for span in spans]
    ends = np.cumsum([0] + [each.shape[1] for each in samples])
    starts = [span.windows() + begin for span, begin in zip(spans, ends, strict=False)]
    curves = candidates[0].engine.curves(_side_by_side(samples), np.concatenate(starts), recipes)
    return [[curve[:, a:b] for curve in curves] for a, b in pairwise(ends.tolist())]


def _side_by_side(samples: Sequence[Samples]) -> Samples:
    """[3, n] of each -> [3, sum of n], int32 where all are."""
    if len(samples) == 1:
        return samples[0]
    whole = all(each.dtype == np.int32 for each in samples)
    return np.concatenate([each if whole else each.astype(np.float32) for each in samples], axis=1)


def sharing_windows(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Candidates of one ground in groups of one engine and one filter."""
    for _, group in groupby(sorted(candidates, key=_shared), key=_shared):
        yield list(group)


def _ground(candidate: Candidate) -> tuple[int, Quality]:
    return candidate.ground


def _shared(candidate: Candidate) -> str:
    use = candidate.preparation
    return json.dumps([id(candidate.engine), use.filter_args, use.filter_kwargs], sort_keys=True)


@dataclass(frozen=True, slots=True)
class StationDayPicked:
    """One station-day of a shard, for every candidate, with the ETags that were read."""

    station_day: StationDay
    picked: Mapping[str, Picked]
    inputs: Mapping[str, str]


def pick_shard(
    archive: Archive, shard: Shard, candidates: Sequence[Candidate]
) -> Iterator[StationDayPicked]:
    """Every station-day of a shard, in order; what is next is read while this one is picked.

    Refusals of a station-day's own objects (403, unreadable bytes) become its outcome; those of its
    neighbours' are flagged HALO_LOST. A store that does not answer ends the shard, which is tried
    again as a whole. A day with more samples than one reading may have is read and picked in parts.
    """

    def read(trace: TraceId, start_ns: int, end_ns: int) -> Gathered | Ungathered:
        found = _widely(archive, trace, start_ns, end_ns, candidates)
        met = retriable(found, start_ns, end_ns)
        try:
            reading = settled(found, start_ns, end_ns)
        except AccessDenied as error:
            why = Picked(Outcome.ACCESS_DENIED, error.strerror or str(error), met=met)
            return Ungathered(why, found.inputs)
        except BadFormat as error:
            return Ungathered(Picked(Outcome.BAD_FORMAT, str(error), met=met), found.inputs)
        return Gathered.of(reading, trace, start_ns, end_ns, grounds)

    grounds = {candidate.ground for candidate in candidates}

    parts = (
        (day, part)
        for day in shard.station_days
        for part in in_parts(partial(read, day.trace), day.start_ns, day.end_ns)
    )
    picked: list[Mapping[str, Picked]] = []
    inputs: dict[str, str] = {}
    for day, end_ns, read_from, found in _picked(parts, candidates):
        picked.append(found)
        inputs |= read_from
        if end_ns == day.end_ns:
            whole = {c.name: joined([each[c.name] for each in picked]) for c in candidates}
            yield StationDayPicked(day, whole, inputs)
            picked, inputs = [], {}


def _picked(
    parts: Iterator[tuple[StationDay, Part]], candidates: Sequence[Candidate]
) -> Iterator[tuple[StationDay, int, Mapping[str, str], Mapping[str, Picked]]]:
    """Of each part its day, end, inputs, and picks by candidate: as many parts in a call as suit
    the engine."""
    for group in ahead(parts, max(candidate.engine.together for candidate in candidates)):
        found = iter(
            pick_gathered([p.read for _, p in group if isinstance(p.read, Gathered)], candidates)
        )
        told: list[tuple[StationDay, int, Mapping[str, str], Mapping[str, Picked]]] = [
            (
                day,
                part.end_ns,
                part.read.inputs,
                next(found)
                if isinstance(part.read, Gathered)
                else dict.fromkeys((c.name for c in candidates), part.read.picked),
            )
            for day, part in group
        ]
        yield from told  # and no part: its samples would be held while the next ones are picked
