"""miniSEED, or any archive, -> Zarr v3, a station-day at a time (layout: workers/archives/zarr.py).

A station-day is what its samples are: arrays on the grid with masks, conflicts and offsets, so
that reading it back assembles to the same waveform as the objects that it was made from.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal

from catalog.schema import DAY_NS, Flag, Outcome, StationDay, TraceId
from catalog.store import AccessDenied, Store, StoreError
from workers.archives.archive import Archive, TooMuch
from workers.archives.files import FilesArchive
from workers.archives.stations import StationDayArchive, unversioned
from workers.archives.verdicts import (
    EMPTY,
    SAMPLES,
    UNREADABLE,
    UNUSABLE,
    last_verdict,
    pass_verdict,
)
from workers.archives.zarr import FORMAT, days_said, group_path
from workers.archives.zarr_arrays import write_waveforms
from workers.decode import BadFormat
from workers.earlier import Earlier, Span, alike, beneath, spans_of
from workers.fragments import clip
from workers.losses import DAMAGED, NO_NUMBERS, settled
from workers.orientation import completed, oriented, unturned
from workers.parts import SHORTEST_NS
from workers.waveform import (
    TILTED,
    Given,
    Reading,
    Waveform,
    grid_index,
    grid_time,
    same_rate,
    stretches,
    words,
)

_DAY = timedelta(days=1)

MARGIN_NS = 10_000_000_000
"""Read around a day: the grid sample of a record may lie a sample beyond midnight."""

FASTEST = 1000
"""Hz, of a day that is written, which is held whole: 2 GB, and what stood before it as well."""

STILL = "what was ingested before is kept"
NONE_LEFT = "its objects have nothing of it any more"

TRIES = 3
"""So often a day is begun again, because somebody else has passed a verdict meanwhile."""

State = Literal["written", "kept", "empty", "unreadable", "refused"]


@dataclass(frozen=True, slots=True)
class Ingested:
    """What became of one station-day. samples: grid samples with data, of all components.

    kept: it was there already, and the source has nothing else by now. empty: nothing to write.
    unreadable: there are objects, and nothing of them could be used, which the destination then
    says of it, unless it has samples from before. refused: the source's store refused or did not
    answer; run again.
    """

    station_day: StationDay
    state: State
    samples: int = 0
    detail: str = ""


def ingest(
    source: Archive,
    destination: Store,
    start: date,
    end: date,
    traces: frozenset[TraceId] | None = None,
) -> Iterator[Ingested]:
    """Write every station-day of [start, end), by trace and day; yields each as it is done.

    traces: only these, None for all. Also the days beside those that the source lists are looked
    into, where records reach over midnight. To pick days [a, b) from the result exactly as from the
    source, ingest a day more on either side: picking reads a halo. An interrupted ingest leaves no
    day that reads as whole, and the next one does it again.
    """
    versions: dict[TraceId, dict[date, int]] = {}
    for holding in source.holdings(start - _DAY, end + _DAY):
        if traces is None or holding.trace in traces:
            versions.setdefault(holding.trace, {})[holding.day] = holding.version
    for trace, listed in sorted(versions.items()):
        days = {day + step for day in listed for step in (-_DAY, timedelta(), _DAY)}
        days |= days_said(destination, trace, *_looked_at_again(source))
        for day in sorted(day for day in days if start <= day < end):
            around = [listed.get(day + step) for step in (-_DAY, timedelta(), _DAY)]
            done = _ingest_day(source, destination, StationDay(trace, day), around)
            if day in listed or done.state not in ("empty", "unreadable") or STILL in done.detail:
                yield done


def _ingest_day(
    source: Archive, destination: Store, station_day: StationDay, listed: list[int | None]
) -> Ingested:
    """listed: versions (see Holding) of the day before, of this and of the next in the source."""
    path = group_path(station_day.trace, station_day.day)
    for _ in range(TRIES):
        last = last_verdict(destination, path)
        earlier = Earlier.of(destination, station_day, last)
        if earlier is not None and earlier.attributes.get("listed") == listed:
            return Ingested(station_day, "kept")
        try:
            found = _Found.of(source, station_day, listed)
        except (BadFormat, TooMuch) as error:
            if earlier is not None:
                return Ingested(station_day, "unreadable", detail=f"{error}; {STILL}")
            done = Ingested(station_day, "unreadable", detail=str(error))
            verdict: _Verdict | None = (UNREADABLE, str(error).encode())
        except StoreError as error:
            return Ingested(station_day, "refused", detail=error.strerror or str(error))
        else:
            if earlier is None:
                done, verdict = _first(destination, path, found)
            else:
                done, verdict = _again(destination, path, earlier, found, source)
        if verdict is None or pass_verdict(destination, path, last, *verdict):
            return done
    return Ingested(station_day, "refused", detail="others ingest it at the same time; run again")


_Verdict = tuple[str, bytes]


def _first(destination: Store, path: str, found: _Found) -> tuple[Ingested, _Verdict]:
    """What the source has of a day of which there are no samples yet."""
    found.attributes["rates"] = write_waveforms(destination, path, found.waveforms)
    if found.waveforms:
        return found.ingested("written"), (SAMPLES, _body(found.attributes))
    if found.is_nothing:
        return found.ingested("empty"), (EMPTY, b"")
    of_no_use = found.ingested("unreadable" if found.attributes["detail"] else "empty")
    return of_no_use, (UNUSABLE, _body(found.attributes))


def _again(
    destination: Store,
    path: str,
    earlier: Earlier,
    found: _Found,
    source: Archive,
) -> tuple[Ingested, _Verdict | None]:
    """What the source has now, over samples whose objects are out of reach. Arrays that stay as
    they are are not written again."""
    left_alone = replace(found.ingested("unreadable"), detail=f"{found.detail or DAMAGED}; {STILL}")
    known_as = unversioned if isinstance(source, StationDayArchive) else str
    if earlier.spoilt(found.reading, known_as):
        return left_alone, None
    gone = earlier.out_of_reach(found.reading, known_as, _elsewhere(source))
    try:
        before = earlier.waveforms()
    except BadFormat as error:
        if gone:
            return replace(left_alone, detail=f"{error}; {STILL}"), None
        before = {}  # all that it had can be had again
    if stays := found.lie_over(before.values(), [span for each in gone.values() for span in each]):
        found.attributes.update(earlier.attributes_of(stays, gone, found.attributes))
        one = min(url for url, each in gone.items() if _meet(each, stays))
        how = "is of no use now" if one in found.reading.inputs else "is gone"
        found.detail = "; ".join(filter(None, [found.detail, f"{one}: {how}; {STILL}"]))
    if not found.waveforms:
        if not found.is_nothing:
            return left_alone, None
        return replace(found.ingested("written"), detail=NONE_LEFT), (EMPTY, b"")
    kept = {
        name: old
        for name, old in before.items()
        if any(alike(old, waveform) for waveform in found.waveforms)
    }
    new = [w for w in found.waveforms if not any(alike(old, w) for old in kept.values())]
    found.attributes["rates"] = sorted(kept) + write_waveforms(destination, path, new)
    same = not new and kept.keys() == {*earlier.attributes["rates"]}
    return found.ingested("kept" if same else "written"), (SAMPLES, _body(found.attributes))


def _elsewhere(source: Archive) -> Set[str]:
    """URLs of objects that can be read, whichever days and traces they hold by now: where names
    tell none, an object that changes may leave a day behind."""
    return source.readable if isinstance(source, FilesArchive) else frozenset()


def _looked_at_again(source: Archive) -> Sequence[str]:
    """Verdicts of days that the source lists no more, and that may be others by now."""
    of_no_use = (UNREADABLE, UNUSABLE)
    return (*of_no_use, SAMPLES) if isinstance(source, FilesArchive) else of_no_use


def _meet(given: Iterable[Given], spans: Sequence[Span]) -> bool:
    return any(low < end and high > start for _, low, high in given for start, end in spans)


@dataclass(slots=True)
class _Found:
    """A station-day in its source. waveforms: one for each sampling rate. attributes: as they are
    written, but for `rates`. reading: without its fragments. is_nothing: nothing is known of it."""

    station_day: StationDay
    reading: Reading
    waveforms: list[Waveform]
    attributes: dict[str, Any]
    detail: str
    is_nothing: bool

    @classmethod
    def of(cls, source: Archive, station_day: StationDay, listed: list[int | None]) -> _Found:
        """Raises BadFormat, TooMuch and StoreError, AccessDenied for an object beside the day too:
        what is written now is not read again."""
        begin, end = own = station_day.start_ns, station_day.end_ns
        found = _read(source, station_day.trace, begin - MARGIN_NS, end + MARGIN_NS)
        if refused := [one.why for one in found.lost if one.outcome is Outcome.ACCESS_DENIED]:
            raise AccessDenied(errno.EACCES, "; ".join(refused))
        reading = settled(found, begin, end)
        waveforms = list(_waveforms(reading, station_day))
        said, at_large = (
            words(one for one in told if one[1] < end and one[2] > begin)
            for told in (reading.detail, reading.at_large)
        )
        flags = _flags_inside(reading, station_day)
        if left_out := _unturned(reading, station_day, waveforms):
            said.append(left_out)
        if not (said or waveforms) and any(bits & Flag.NOT_FINITE for bits, _, _ in flags):
            said.append(NO_NUMBERS)
        given = {url: each for url, each in reading.given.items() if _meet(each, [own])}
        absent = own in reading.absent
        attributes = {
            "format": FORMAT,
            "trace": str(station_day.trace),
            "day": station_day.day.isoformat(),
            "inputs": {url: reading.inputs[url] for url in given},
            "given": given,
            # what was listed, and was not there when it was to be read, is looked for again
            "listed": None if absent and listed[1] is not None else listed,
            "absent": absent,
            "flags": flags + _rotated(waveforms),
            "detail": said,
            "at_large": at_large,
            "repairs": [ns for ns in reading.repairs if begin <= ns < end],
        }
        return cls(
            station_day,
            replace(reading, fragments=()),
            waveforms,
            attributes,
            "; ".join([*said, *at_large]),
            not (waveforms or said or (flags and listed[1] is not None)),
        )

    def ingested(self, state: State) -> Ingested:
        """samples: of all components."""
        samples = sum(int(waveform.mask.sum()) for waveform in self.waveforms)
        return Ingested(self.station_day, state, samples, self.detail)

    def lie_over(self, before: Iterable[Waveform], within: Collection[Given]) -> list[Span]:
        """Take in what it lacks, in some spans, of earlier waveforms; where that is."""
        now, stays = [*self.waveforms], []
        for below in (beneath(now, old, within) for old in before):
            if not below.mask.any():
                continue
            stays += spans_of(below)
            for k, one in enumerate(self.waveforms):
                if same_rate(one.rate, below.rate):
                    self.waveforms[k] = completed(one, below, below.mask)
                    break
            else:
                self.waveforms.append(below)
        return stays


def _body(attributes: Mapping[str, Any]) -> bytes:
    return json.dumps({"attributes": attributes}).encode()


def _read(source: Archive, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
    """[start_ns, end_ns) of a trace, in halves where its samples are too many for one reading."""
    try:
        return source.read(trace, start_ns, end_ns)
    except TooMuch:
        if end_ns - start_ns <= SHORTEST_NS:
            raise
    middle = (start_ns + end_ns) // 2
    one = _read(source, trace, start_ns, middle + MARGIN_NS)
    two = _read(source, trace, middle - MARGIN_NS, end_ns)
    halves = ((one, start_ns - DAY_NS, middle), (two, middle, end_ns + DAY_NS))
    return Reading(
        [
            part
            for reading, low, high in halves
            for part in (clip(fragment, low, high) for fragment in reading.fragments)
            if part is not None
        ],
        {**one.inputs, **two.inputs},
        sorted({*one.flags, *two.flags}),
        [*dict.fromkeys([*one.detail, *two.detail])],
        [ns for reading, low, high in halves for ns in reading.repairs if low <= ns < high],
        [*dict.fromkeys([*one.lost, *two.lost])],
        [*dict.fromkeys([*one.at_large, *two.at_large])],
        sorted({*one.absent, *two.absent}),
        {
            url: [*one.given.get(url, ()), *two.given.get(url, ())]
            for url in {**one.given, **two.given}
        },
        {**one.unused, **two.unused},
    )


def _waveforms(reading: Reading, station_day: StationDay) -> Iterator[Waveform]:
    """The day's samples on the grid, for each sampling rate that has any. Raises BadFormat above
    FASTEST."""
    last = 0.0
    for rate in sorted({fragment.rate for fragment in reading.fragments}):
        if last and same_rate(rate, last):
            continue
        last = rate
        low, high = grid_index(station_day.start_ns, rate), grid_index(station_day.end_ns, rate)
        if rate > FASTEST:
            raise BadFormat(
                str(station_day.trace), f"{rate:g} Hz, where up to {FASTEST} are written"
            )
        waveform = oriented(reading.fragments, rate, low, high)
        if waveform.mask.any() or waveform.conflict is not None:
            yield waveform


def _flags_inside(reading: Reading, station_day: StationDay) -> list[tuple[int, int, int]]:
    """Each with its whole span: cut at midnight one would be two, of two days that tell each other
    of it."""
    return [
        (int(bit), int(low), int(high))
        for bit, low, high in reading.flags
        if low < station_day.end_ns and high > station_day.start_ns
    ]


def _unturned(reading: Reading, station_day: StationDay, waveforms: list[Waveform]) -> str:
    """Of U, V and W where they are never all there, in words."""
    if any(Flag.ROTATED in waveform.marks for waveform in waveforms):
        return ""
    low, high = station_day.start_ns, station_day.end_ns
    inside = (f for f in reading.fragments if f.start_ns < high and f.stop_ns > low)
    return unturned({f.component for f in inside if f.component in TILTED})


def _rotated(waveforms: list[Waveform]) -> list[tuple[int, int, int]]:
    """Where components were turned: their samples do not say so any more."""
    spans = []
    for waveform in waveforms:
        if Flag.ROTATED in waveform.marks:
            edges = stretches(waveform.marks[Flag.ROTATED]) + waveform.start
            spans += [
                (Flag.ROTATED, grid_time(low, waveform.rate), grid_time(high, waveform.rate))
                for low, high in edges.tolist()
            ]
    return spans
