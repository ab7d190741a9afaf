"""What an object or a record that cannot be had costs: its own span, and a mark beside it."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from operator import or_

from catalog.schema import DAY_NS, Flag, Outcome
from catalog.store import AccessDenied
from workers.decoded import BadFormat
from workers.waveform import Lost, Reading

DAMAGED = "records are damaged"
NO_NUMBERS = "no sample is a finite number"


def settled(reading: Reading, start_ns: int, end_ns: int) -> Reading:
    """A reading of [start_ns, end_ns) and its halo, in which nothing of the span itself is lost
    without a mark. `lost` keeps what lies beside the span.

    Raises AccessDenied where a refused object is named for any of [start_ns, end_ns): what is left
    of its components is not the station-day; BadFormat where unreadable ones are and no other
    gave samples of it.
    """
    own = [lost for lost in reading.lost if lost.start_ns < end_ns and lost.end_ns > start_ns]
    refused = [lost for lost in own if lost.outcome is Outcome.ACCESS_DENIED]
    if refused:
        raise AccessDenied(errno.EACCES, _told(refused))
    if own and not any(f.start_ns < end_ns and f.stop_ns > start_ns for f in reading.fragments):
        url, _, why = _told(own).partition(": ")
        raise BadFormat(url, why)
    salvaged = Flag.SALVAGED | Flag.INCOMPLETE
    flags = {*reading.flags, *((salvaged, lost.start_ns, lost.end_ns) for lost in own)}
    detail = [*reading.detail, *((lost.why, lost.start_ns, lost.end_ns) for lost in own)]
    beside = [lost for lost in reading.lost if lost not in own]
    return replace(reading, flags=sorted(flags), detail=detail, lost=beside)


def beside(reading: Reading, reach_ns: int) -> Iterator[tuple[int, str, int, int]]:
    """Where rows may differ from those that lost samples of another day would have given, and why.

    (bits of `Flag`, words, start ns, end ns) of each stretch that gets HALO_LOST: within reach of
    a lost object or a damaged record, on the other side of a midnight, wherever the span was cut.
    With it goes what retry may bring it: HALO_REFUSED, or INCOMPLETE.
    The day that has it says so itself. Of an object that is cut off it is the end that is lost.
    """
    damages = [(_bits(lost), lost.why, lost.start_ns, lost.end_ns) for lost in reading.lost]
    damages += [
        (Flag.HALO_LOST | bits & Flag.INCOMPLETE, DAMAGED, low, high)
        for bits, low, high in reading.flags
        if bits & Flag.SALVAGED
    ]
    cut_off = [high for bits, _, high in reading.flags if bits & Flag.TRUNCATED]
    ends = [(bits, why, high) for bits, why, _, high in damages]
    for bits, why, low, _ in damages:
        midnight = low // DAY_NS * DAY_NS
        if low - reach_ns < midnight:
            yield bits, why, low - reach_ns, midnight
    for bits, why, high in [*ends, *((Flag.HALO_LOST, DAMAGED, high) for high in cut_off)]:
        midnight = -(-high // DAY_NS) * DAY_NS
        if high + reach_ns > midnight:
            yield bits, why, midnight, high + reach_ns


def retriable(reading: Reading, start_ns: int, end_ns: int) -> int:
    """Bits of what days beside a span may bring it that has nothing of its own: data may reach over
    midnight."""
    beside = (lost for lost in reading.lost if lost.end_ns <= start_ns or lost.start_ns >= end_ns)
    return reduce(or_, map(_bits, beside), Flag.BREAKS_OFF if reading.absent else 0)


def _bits(lost: Lost) -> int:
    refused = lost.outcome is Outcome.ACCESS_DENIED
    return Flag.HALO_LOST | (Flag.HALO_REFUSED if refused else Flag.INCOMPLETE)


def _told(losses: Sequence[Lost]) -> str:
    return "; ".join(lost.why for lost in losses)
