"""One object's bytes -> fragments per channel.

miniSEED records are chained by the object alone, never by the span that is asked for, so that a
sample is the same however the data are cut. What libmseed cannot read goes to obspy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Flag
from workers.foreign import ForeignTrace, read_foreign
from workers.miniseed.chains import Rows, distinct, snap
from workers.miniseed.chains import offsets as record_offsets
from workers.miniseed.records import KINDS, SAMPLE_KINDS, ChannelId, Records, duration_ns
from workers.miniseed.scanning import scan
from workers.miniseed.unpack import Samples, unpack
from workers.waveform import Fragment, grid_index, grid_time


class BadFormat(Exception):
    """An object that holds no readable waveform; names it, and what its first bytes look like."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__(source, why)
        self.source = source
        self.why = why

    def __str__(self) -> str:
        return f"{self.source}: {self.why}"


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of one object. flags: (bit of `Flag`, start ns, end ns), half-open."""

    fragments: Sequence[Fragment]
    flags: Sequence[tuple[int, int, int]] = ()


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one object holds. detail: problems met, in words."""

    channels: Mapping[ChannelId, Channel]
    detail: Sequence[str] = ()

    @property
    def nbytes(self) -> int:
        """Memory that the samples take."""
        return sum(
            fragment.samples.nbytes + fragment.offsets.nbytes
            for channel in self.channels.values()
            for fragment in channel.fragments
        )


def decode(body: bytes, source: str) -> Decoded:
    """Every waveform of an object. `source` names it in messages. Raises BadFormat."""
    records = scan(body)
    if not len(records):
        return _from_foreign(body, source)
    detail: list[str] = []
    groups = _survey(records, source, detail)
    channels: dict[ChannelId, Channel] = {}
    for codes, rows in groups:
        unpacked = unpack(body, records, distinct(body, records, rows))
        fragments = [_fragment(records, *link, codes) for link in unpacked.chains]
        fragments.sort(key=lambda fragment: (fragment.start, fragment.stop))
        flags = [(Flag.SALVAGED, *_extent(records, row)) for row in unpacked.lost[:, None]]
        if len(unpacked.lost):
            detail.append(f"{source}: {len(unpacked.lost)} damaged records of {codes} were skipped")
        if unpacked.disowned:
            detail.append(f"{source}: {codes} announces other last samples than it holds; kept")
        known = channels.get(codes, Channel(()))
        channels[codes] = Channel(
            [*known.fragments, *fragments], [*known.flags, *flags, *_not_finite(fragments)]
        )
    if channels and not any(channel.fragments for channel in channels.values()):
        raise BadFormat(source, f"none of its {len(records)} records can be unpacked")
    for owner, flag in _lost_spans(records, groups, source, detail):
        for codes, channel in channels.items():
            if owner in (None, codes):
                channels[codes] = Channel(channel.fragments, [*channel.flags, flag])
    return Decoded(channels, detail)


def extents(body: bytes, source: str) -> list[tuple[ChannelId, int, int]]:
    """(channel, start ns, end ns) of what an object holds, unpacking nothing where it can."""
    records = scan(body)
    if not len(records):
        return [(trace.codes, trace.start_ns, trace.end_ns) for trace in _foreign(body, source)[0]]
    return [(codes, *_extent(records, rows)) for codes, rows in _survey(records, source, [])]


def _extent(records: Records, rows: Rows) -> tuple[int, int]:
    """First start and last end of rows of one rate."""
    ends = records.start[rows] + duration_ns(records.count[rows], float(records.rate[rows[0]]))
    return int(records.start[rows].min()), int(ends.max())


def _survey(records: Records, source: str, detail: list[str]) -> list[tuple[ChannelId, Rows]]:
    """Rows of the waveform records by channel, rate and kind of sample.

    Channels that cannot be a trace, and encodings that nothing here reads, go to the detail.
    Records without samples or rate (logs, state of health) are no waveform.
    """
    groups: list[tuple[ChannelId, Rows]] = []
    waveform = (records.count > 0) & (records.rate > 0) & (records.encoding != 0)
    for number, codes in enumerate(records.channels):
        rows = np.flatnonzero(waveform & (records.channel == number))
        if not len(rows):
            continue
        try:
            _ = codes.trace
        except ValueError as error:
            detail.append(f"{source}: channel {codes} left out: {error}")
            continue
        encodings, rates = records.encoding[rows], records.rate[rows]
        for encoding in np.unique(encodings).tolist():
            if encoding not in SAMPLE_KINDS:
                count = int((encodings == encoding).sum())
                detail.append(f"{source}: {count} records of {codes} left out: encoding {encoding}")
        for rate in np.unique(rates):
            for codings in KINDS.values():
                chosen = rows[(rates == rate) & np.isin(encodings, codings)]
                if len(chosen):
                    groups.append((codes, chosen))
    return groups


def _lost_spans(
    records: Records, groups: list[tuple[ChannelId, Rows]], source: str, detail: list[str]
) -> list[tuple[ChannelId | None, tuple[int, int, int]]]:
    """Flags for bytes that hold no record and for a cut end; channel None: of every channel."""
    spans: list[tuple[ChannelId | None, tuple[int, int, int]]] = []
    each = [_extent(records, rows) for _, rows in groups]
    whole = (min((low for low, _ in each), default=0), max((high for _, high in each), default=0))
    if records.truncated:
        detail.append(f"{source}: ends inside a record")
        spans.append((None, (Flag.TRUNCATED, *whole)))
    if records.junk:
        count = sum(stop - start for start, stop, _ in records.junk)
        detail.append(f"{source}: {count} bytes are no record and were skipped")
    for _, _, row in records.junk:
        inside = 0 < row < len(records) and records.channel[row - 1] == records.channel[row]
        if inside and records.end(row - 1) <= records.start[row]:
            codes = records.channels[records.channel[row]]
            hole = (records.end(row - 1), int(records.start[row]))
            spans.append((codes, (Flag.SALVAGED, *hole)))
        else:
            spans.append((None, (Flag.SALVAGED, *whole)))
    return spans


def _fragment(records: Records, rows: Rows, samples: Samples, codes: ChannelId) -> Fragment:
    rate = snap(float(records.rate[rows[0]]))
    index, offset = record_offsets(records, rows, rate)
    changed = np.append(True, offset[1:] != offset[:-1])
    offsets = np.stack([index[changed], offset[changed]], axis=1)
    return _masked(codes.component, rate, int(index[0]), samples, offsets, None)


def _masked(
    component: str,
    rate: float,
    start: int,
    samples: Samples,
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_] | None,
) -> Fragment:
    """A fragment whose NaN and Inf are masked and zeroed."""
    if samples.dtype == np.float32:
        finite = np.isfinite(samples)
        if not finite.all():
            samples = np.where(finite, samples, np.float32(0))
            valid = finite if valid is None else valid & finite
    return Fragment(component, rate, start, samples, offsets, valid)


def _not_finite(fragments: Sequence[Fragment]) -> list[tuple[int, int, int]]:
    """One span a fragment, from its first masked sample to its last."""
    spans = []
    for fragment in fragments:
        if fragment.valid is not None:
            masked = np.flatnonzero(~fragment.valid) + fragment.start
            low = grid_time(int(masked[0]), fragment.rate)
            spans.append((Flag.NOT_FINITE, low, grid_time(int(masked[-1]) + 1, fragment.rate)))
    return spans


def _foreign(body: bytes, source: str) -> tuple[list[ForeignTrace], list[str]]:
    if scan(body).truncated:
        raise BadFormat(source, f"{len(body)} bytes, which end inside the first record")
    traces, said = read_foreign(body)
    if not traces:
        raise BadFormat(source, "; ".join([_look(body), *said]))
    return traces, said


def _from_foreign(body: bytes, source: str) -> Decoded:
    traces, warnings = _foreign(body, source)
    detail = [f"{source}: {warning}" for warning in warnings]
    channels: dict[ChannelId, Channel] = {}
    for trace in traces:
        try:
            _ = trace.codes.trace
        except ValueError as error:
            detail.append(f"{source}: channel {trace.codes} left out: {error}")
            continue
        rate = snap(trace.rate)
        start = grid_index(trace.start_ns, rate)
        offsets = np.array([[start, trace.start_ns - grid_time(start, rate)]], np.int64)
        fragment = _masked(trace.codes.component, rate, start, trace.samples, offsets, trace.valid)
        known = channels.get(trace.codes, Channel(()))
        channels[trace.codes] = Channel(
            [*known.fragments, fragment], [*known.flags, *_not_finite([fragment])]
        )
    return Decoded(channels, detail)


def _look(body: bytes) -> str:
    """What an unreadable object looks like."""
    if not body:
        return "the object is empty"
    if body.lstrip()[:1] == b"<":
        return f"an HTML or XML page, not a waveform: {body.lstrip()[:40]!r}"
    return f"{len(body)} bytes in no known waveform format, beginning {body[:16]!r}"
