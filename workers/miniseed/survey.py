"""The records of an object by channel: which are waveforms, and what is wrong with which.

Looks at the headers of a whole object alone, so that nothing depends on the span that is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Flag
from workers.miniseed import marks
from workers.miniseed.chains import Rows
from workers.miniseed.rates import sane, true_rates
from workers.miniseed.records import KINDS, NS, SAMPLE_KINDS, ChannelId, Records, snapped
from workers.miniseed.strays import ends, holes, miscoded, misnamed, misplaced, possible, room
from workers.waveform import Told, told

BRIDGE_NS = 60 * NS
"""Doubts about time that are less apart are one: a clock may be locked and lost all day long."""

_READ = np.isin(np.arange(256), [*SAMPLE_KINDS])
_KIND = [np.isin(np.arange(256), codings) for codings in KINDS.values()]
"""By encoding: whether it is read at all, and whether as one of KINDS."""

Span = tuple[int, int, int]
"""(bits of `Flag`, start ns, end ns), half-open."""


@dataclass(frozen=True, slots=True)
class Survey:
    """records: with the rates that their times tell. groups: rows of the waveform records that
    are what they claim to be, in the order of the object, by channel, rate and kind of sample.

    flags, repairs (ns, one for each record skipped), detail: channel None: of every channel.
    """

    records: Records
    groups: list[tuple[ChannelId, Rows]]
    flags: list[tuple[ChannelId | None, Span]]
    repairs: list[tuple[ChannelId | None, int]]
    detail: list[tuple[ChannelId | None, Told]]

    def tell(self, codes: ChannelId | None, text: str, spans: Iterable[tuple[int, int]]) -> None:
        """Note what was met over some spans of a channel, None: of every channel."""
        self.detail.extend((codes, one) for one in told(text, spans))


def survey(records: Records) -> Survey:
    """What the headers of an object's records say.

    Left out with a word: channels without a component, encodings that nothing here reads. Records
    without samples or a rate (logs, state of health) are no waveform; an absurd rate is none.
    """
    found = Survey(records, [], [], [], [])
    rate = (
        records.rate if sane(records.rate).all() else np.where(sane(records.rate), records.rate, 0)
    )
    records = replace(records, rate=snapped(rate))
    holds = (records.count > 0) & (records.encoding != 0)
    readable = holds & _READ[records.encoding] & possible(records)
    most = room(records, slice(None))
    overfull = records.count > most
    if overfull.any():  # damaged, or meant to exhaust memory
        readable &= ~overfull
        records = replace(records, count=np.minimum(records.count, most).astype(np.int32))
    channels = list(_by_channel(records))
    rate = records.rate.copy()
    for rows in channels:
        for of_kind in _KIND:
            some = rows[readable[rows] & of_kind[records.encoding[rows]]]
            if len(some):
                rate[some] = true_rates(records, some)
    corrected = readable & (rate != records.rate)
    if corrected.any():
        records = replace(records, rate=rate)
    del rate  # of an object of two gigabytes it takes 32 MB
    waveform = readable & sane(records.rate)
    alien = misnamed(records, waveform)
    for row in alien.tolist():
        codes = records.channels[records.channel[row - 1]]
        hole = int(ends(records, np.array([row - 1]))[0]), int(records.start[row + 1])
        _skipped(found, codes, [hole], f"records of {codes} with damaged headers were skipped")
    waveform[alien] = False
    holds[alien] = False
    nowhere: list[ChannelId] = []  # no record of these says when it was
    timeless: list[tuple[ChannelId | None, str]] = []  # what is told of no time in particular
    for codes, rows in zip(records.channels, channels, strict=True):
        if not holds[rows].any():
            continue
        try:
            _ = codes.trace
        except ValueError as error:
            text, timed = f"channel {codes} left out: {error}", rows[waveform[rows]]
            if len(timed):
                low, high = records.start[timed].min(), ends(records, timed).max()
                found.tell(None, text, [(int(low), int(high))])
            else:
                timeless.append((None, text))
            continue
        good = rows[waveform[rows]]
        for stray in (misplaced(records, good), miscoded(records, good)):
            waveform[stray] = False
        good = rows[waveform[rows]]
        _damage(found, records, codes, good, rows, holds, overfull)
        if len(good):
            found.flags.extend((codes, span) for span in _marked(records, good))
            late = good[corrected[good]]
            if len(late):
                spans = list(_spans(records, late, Flag.RATE_CORRECTED, BRIDGE_NS))
                found.flags.extend((codes, span) for span in spans)
                text = (
                    f"{len(late)} records of {codes} follow each other at another rate than "
                    "their headers say; it was trusted"
                )
                found.tell(codes, text, ((low, high) for _, low, high in spans))
            found.groups.extend((codes, group) for group in _alike(records, good))
            continue
        if not possible(records)[rows].all():
            nowhere.append(codes)
        if wild := int((holds[rows] & ~_placed(records, rows)).sum()):
            timeless.append((codes, f"all {wild} records of {codes} have damaged headers"))
    whole = _whole(records, found.groups) if found.groups else (0, 0)
    if found.groups:
        found.flags.extend((codes, (Flag.SALVAGED, *whole)) for codes in nowhere)
    found.detail.extend((codes, (text, *whole)) for codes, text in timeless)
    return replace(found, records=records)


def _whole(records: Records, groups: list[tuple[ChannelId, Rows]]) -> tuple[int, int]:
    """First and last ns of an object."""
    low = min(int(records.start[rows].min()) for _, rows in groups)
    return low, max(int(ends(records, rows).max()) for _, rows in groups)


def _by_channel(records: Records) -> Iterator[Rows]:
    """Rows of each channel, in the order of the object."""
    if len(records.channels) == 1:
        yield np.arange(len(records))
        return
    order = np.argsort(records.channel, kind="stable")
    counts = np.bincount(records.channel, minlength=len(records.channels))
    yield from np.split(order, np.cumsum(counts)[:-1])


def _alike(records: Records, rows: Rows) -> Iterator[Rows]:
    """Rows of one channel by rate and kind of sample."""
    rates = records.rate[rows]
    by_rate = [rows]
    if rates.min() < rates.max():
        which = np.unique(rates, return_inverse=True)[1]
        order = np.argsort(which, kind="stable")
        by_rate = np.split(rows[order], np.cumsum(np.bincount(which))[:-1])
    for part in by_rate:
        encodings = records.encoding[part]
        for of_kind in _KIND:
            chosen = part[of_kind[encodings]]
            if len(chosen):
                yield chosen


def _placed(records: Records, rows: Rows) -> NDArray[np.bool_]:
    """Whether the header of each says when it was."""
    return np.asarray(possible(records)[rows] & sane(records.rate[rows]))


def _damage(
    found: Survey,
    records: Records,
    codes: ChannelId,
    good: Rows,
    rows: Rows,
    holds: NDArray[np.bool_],
    overfull: NDArray[np.bool_],
) -> None:
    """Flags for those of a channel's records that are no good, where they leave a hole.

    overfull: of all records, those that announce more samples than they have room for.
    """
    if len(good) == len(rows):
        return
    bad = np.setdiff1d(rows, good, assume_unique=True)
    placed = _placed(records, bad) & holds[bad]
    encoding = records.encoding[bad]
    unread = placed & ~_READ[encoding]
    if len(good):
        low, high = holes(records, good, bad)
        # Between records without samples there is nothing to miss, but what one had room for.
        least = NS / records.rate[good[0]]
        lost = (high - low > least / 2) & (holds[bad] | (high - low <= room(records, bad) * least))
        lost |= unread
    else:
        low, high = records.start[bad], ends(records, bad)
        lost = placed
    full = overfull[bad] & ~unread
    why = [
        (unread & (encoding == each), f"records of {codes} left out: encoding {each}")
        for each in np.unique(encoding[unread]).tolist()
    ]
    why += [
        (full, f"records of {codes} announce more samples than they can hold"),
        (~full & ~unread, f"records of {codes} with damaged headers were skipped"),
    ]
    spans = np.stack([low, high], axis=1)
    for those, text in why:
        _skipped(found, codes, spans[lost & those].tolist(), text)


def _skipped(found: Survey, codes: ChannelId, spans: list[tuple[int, int]], text: str) -> None:
    """Records that are not used, each with the time it leaves, and why."""
    found.flags.extend((codes, (Flag.SALVAGED, low, high)) for low, high in spans)
    found.repairs.extend((codes, low) for low, _ in spans)
    found.tell(codes, f"{len(spans)} {text}", ((low, high) for low, high in spans))


def _marked(records: Records, rows: Rows) -> Iterator[Span]:
    """What the records of a channel say of themselves."""
    said = records.marks[rows]
    any_of, all_of = (int(op.reduce(said)) for op in (np.bitwise_or, np.bitwise_and))
    unlocked = bool(any_of & marks.LOCKED) and not all_of & marks.LOCKED
    for mark, flag in marks.FLAGS.items():
        where = said & mark != 0 if any_of & mark else np.zeros(len(rows), bool)
        if mark == marks.QUESTIONABLE and unlocked:
            where = where | (said & marks.LOCKED == 0)
        if where.any():
            bridge = BRIDGE_NS if flag == Flag.CLOCK else 0
            yield from _spans(records, rows[where], flag, bridge)


def _spans(records: Records, rows: Rows, flag: int, bridge: int) -> Iterator[Span]:
    """The time of records, those less than a sample or `bridge` ns apart in one span."""
    order = np.argsort(records.start[rows], kind="stable")
    start = records.start[rows[order]]
    stop = np.maximum.accumulate(ends(records, rows[order]))
    step = (NS / records.rate[rows[order]]).astype(np.int64)
    cuts = np.flatnonzero(start[1:] - stop[:-1] > np.maximum(step[1:], bridge))
    first, last = np.append(0, cuts + 1), np.append(cuts, len(rows) - 1)
    yield from (
        (flag, a, b) for a, b in zip(start[first].tolist(), stop[last].tolist(), strict=True)
    )
