"""What an object that cannot be had costs: its own span, and a mark on what stands beside it."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace

from catalog.schema import Flag, Outcome
from catalog.store import AccessDenied
from workers.decoded import BadFormat
from workers.waveform import NS, Lost, Reading

REACH_NS = 100 * NS
"""Beside a lost object rows may differ from those that its samples would have given: at 100 Hz as
far as 90.02 s (workers.span.halo)."""


def settled(reading: Reading, start_ns: int, end_ns: int) -> Reading:
    """A reading of [start_ns, end_ns) and its halo, in which nothing is lost without a mark.

    Raises AccessDenied where a refused object is named for any of [start_ns, end_ns): what is left
    of its components is not the station-day; BadFormat where unreadable ones are and no other
    gave samples of it. Objects beside the span are as if they held nothing. Every sample within
    REACH_NS of a lost object's span, on either side, gets HALO_LOST, wherever the span was cut.
    """
    meeting = [lost for lost in reading.lost if _meets(lost, start_ns, end_ns)]
    own = [lost for lost in meeting if lost.start_ns < end_ns and lost.end_ns > start_ns]
    refused = [lost for lost in own if lost.outcome is Outcome.ACCESS_DENIED]
    if refused:
        raise AccessDenied(errno.EACCES, _told(refused))
    if own and not any(f.start_ns < end_ns and f.stop_ns > start_ns for f in reading.fragments):
        url, _, why = _told(own).partition(": ")
        raise BadFormat(url, why)
    flags = list(reading.flags)
    flags += [(Flag.SALVAGED, lost.start_ns, lost.end_ns) for lost in own]
    for lost in meeting:
        flags.append((Flag.HALO_LOST, lost.start_ns - REACH_NS, lost.start_ns))
        flags.append((Flag.HALO_LOST, lost.end_ns, lost.end_ns + REACH_NS))
    beside = [f"beside this span {lost.why}" for lost in meeting if lost not in own]
    detail = dict.fromkeys([*reading.detail, *(lost.why for lost in own), *beside])
    return replace(reading, flags=sorted(set(flags)), detail=list(detail), lost=())


def _meets(lost: Lost, start_ns: int, end_ns: int) -> bool:
    """Whether a span has samples in an object's own span, or within reach of it."""
    return lost.start_ns - REACH_NS < end_ns and lost.end_ns + REACH_NS > start_ns


def _told(losses: Sequence[Lost]) -> str:
    return "; ".join(lost.why for lost in losses)
