"""A miniSEED object: what its headers say, and the samples of a span.

Records are chained by the headers of the object alone, never by the span that is asked for, so
that a sample is the same however the data are cut; only the records of the span are unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Flag, TraceId
from workers.decoded import BadFormat, Channel, Decoded, masked
from workers.miniseed.body import Body
from workers.miniseed.chains import Rows, chain, distinct, inside, snap
from workers.miniseed.chains import offsets as record_offsets
from workers.miniseed.records import (
    KINDS,
    LEAST_HZ,
    MOST_HZ,
    NS,
    SAMPLE_KINDS,
    ChannelId,
    Records,
    duration_ns,
)
from workers.miniseed.unpack import Samples, unpack
from workers.waveform import Fragment

MOST_PER_BYTE = 7 / 4
"""Samples of a record's byte: Steim 2, seven in a word, packs them closest. A header that announces
more is damaged, or meant to exhaust memory: 40 bytes of miniSEED 3 can announce 2^31."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What the headers of a miniSEED object say; nothing is unpacked.

    groups: rows of the waveform records by channel, rate and kind of sample. flags: what is lost
    between the records, channel None: of every channel.
    """

    source: str
    records: Records
    groups: Sequence[tuple[ChannelId, Rows]]
    flags: Sequence[tuple[ChannelId | None, tuple[int, int, int]]]
    detail: Sequence[str]

    @property
    def nbytes(self) -> int:
        return self.records.nbytes + sum(rows.nbytes for _, rows in self.groups)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records of one chain that reach into a span. channel: all rows of their channel and kind.

    index, offset: of each record, its first sample on the grid, and true minus grid time in ns.
    begin: the first sample of the whole chain.
    """

    codes: ChannelId
    channel: Rows
    rows: Rows
    index: NDArray[np.int64]
    offset: NDArray[np.int64]
    begin: int


def read_contents(records: Records, source: str) -> Contents:
    """The table of an object's records as channels. `source` names it in messages."""
    detail: list[str] = []
    overfull = (records.count > MOST_PER_BYTE * records.length) & (records.rate > LEAST_HZ)
    groups = _survey(records, overfull, source, detail)
    if overfull.any() and not groups:
        raise BadFormat(source, "; ".join(detail))
    flags = _lost_spans(records, groups, source, detail)
    flags += _overfull_spans(records, overfull, {codes for codes, _ in groups})
    return Contents(source, records, groups, flags, detail)


def select(
    body: Body, contents: Contents, trace: TraceId | None, start_ns: int, end_ns: int
) -> list[Stretch]:
    """The records of a trace, None for all, that hold samples of [start_ns, end_ns)."""
    stretches: list[Stretch] = []
    for codes, group in contents.groups:
        if trace is not None and codes.trace != trace:
            continue
        channel = distinct(body, contents.records, group)
        rate = snap(float(contents.records.rate[group[0]]))
        for rows in chain(contents.records, channel):
            index, offset = record_offsets(contents.records, rows, rate)
            part = inside(contents.records, rows, index, start_ns, end_ns)
            if part.start < part.stop:
                found = rows[part], index[part], offset[part]
                stretches.append(Stretch(codes, channel, *found, int(index[0])))
    return stretches


def unpack_selected(
    body: Body, contents: Contents, trace: TraceId | None, stretches: Sequence[Stretch]
) -> Decoded:
    """Samples of stretches of a trace, and its flags. Raises BadFormat where all of it is lost."""
    records, source = contents.records, contents.source
    detail = list(contents.detail)
    groups = [codes for codes, _ in contents.groups if trace in (None, codes.trace)]
    channels = dict.fromkeys(groups, Channel(()))
    whole = 0  # groups of which every record was selected
    for _, grouped in groupby(stretches, key=lambda stretch: id(stretch.channel)):
        alike = list(grouped)
        codes, channel = alike[0].codes, alike[0].channel
        unpacked = unpack(body, records, [stretch.rows for stretch in alike], channel)
        fragments: list[Fragment] = []
        flags = [(Flag.SALVAGED, *extent(records, row)) for row in unpacked.lost[:, None]]
        for stretch, samples in zip(alike, unpacked.samples, strict=True):
            for fragment, spoilt in _fragments(records, stretch, samples, unpacked.lost):
                fragments.append(fragment)
                flags += spoilt
        fragments.sort(key=lambda fragment: (fragment.start, fragment.stop))
        if len(unpacked.lost):
            detail.append(f"{source}: {len(unpacked.lost)} damaged records of {codes} were skipped")
        if unpacked.disowned:
            detail.append(f"{source}: {codes} announces other last samples than it holds; kept")
        known = channels[codes]
        channels[codes] = Channel([*known.fragments, *fragments], [*known.flags, *flags])
        whole += sum(len(stretch.rows) for stretch in alike) == len(channel)
    if groups and whole == len(groups) and not any(c.fragments for c in channels.values()):
        raise BadFormat(source, f"none of its {len(records)} records can be unpacked")
    for owner, flag in contents.flags:
        for codes, known in channels.items():
            if owner in (None, codes):
                channels[codes] = Channel(known.fragments, [*known.flags, flag])
    return Decoded(channels, detail)


def extent(records: Records, rows: Rows) -> tuple[int, int]:
    """First start and last end of rows of one rate."""
    ends = records.start[rows] + duration_ns(records.count[rows], float(records.rate[rows[0]]))
    return int(records.start[rows].min()), int(ends.max())


def _survey(
    records: Records, overfull: NDArray[np.bool_], source: str, detail: list[str]
) -> list[tuple[ChannelId, Rows]]:
    """Rows of the waveform records by channel, rate and kind of sample.

    Records that announce more samples than they can hold, channels that cannot be a trace, and
    encodings that nothing here reads, go to the detail. Records without samples or a rate (logs,
    state of health) are no waveform.
    """
    groups: list[tuple[ChannelId, Rows]] = []
    waveform = (records.count > 0) & (records.encoding != 0)
    waveform &= (records.rate > LEAST_HZ) & (records.rate < MOST_HZ)
    if (waveform & overfull).any():
        count = int((waveform & overfull).sum())
        detail.append(f"{source}: {count} records announce more samples than they can hold")
    waveform &= ~overfull
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


def _overfull_spans(
    records: Records, overfull: NDArray[np.bool_], known: Set[ChannelId]
) -> list[tuple[ChannelId | None, tuple[int, int, int]]]:
    """Flags where records that announce more samples than they can hold would have stood.

    Of every channel where their own has no other record.
    """
    spans: list[tuple[ChannelId | None, tuple[int, int, int]]] = []
    for row in np.flatnonzero(overfull).tolist():
        start, rate = int(records.start[row]), float(records.rate[row])
        stop = start + round(MOST_PER_BYTE * int(records.length[row]) * NS / rate)
        codes = records.channels[records.channel[row]]
        spans.append((codes if codes in known else None, (Flag.SALVAGED, start, stop)))
    return spans


def _lost_spans(
    records: Records, groups: list[tuple[ChannelId, Rows]], source: str, detail: list[str]
) -> list[tuple[ChannelId | None, tuple[int, int, int]]]:
    """Flags for bytes that hold no record and for a cut end; channel None: of every channel."""
    spans: list[tuple[ChannelId | None, tuple[int, int, int]]] = []
    if not records.truncated and not records.junk:
        return spans
    each = [extent(records, rows) for _, rows in groups]
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


def _fragments(
    records: Records, stretch: Stretch, samples: Samples, lost: Rows
) -> Iterator[tuple[Fragment, list[tuple[int, int, int]]]]:
    """A stretch without its lost records, in pieces where these were, each with its flags.

    What is lost moves nothing: the place of a record is told by the headers alone.
    """
    rate = snap(float(records.rate[stretch.rows[0]]))
    good = ~np.isin(stretch.rows, lost)
    stop = np.cumsum(records.count[stretch.rows])
    start = stop - records.count[stretch.rows]
    for run in np.split(np.arange(len(good)), np.flatnonzero(np.diff(good)) + 1):
        if not good[run[0]]:
            continue
        index, offset = stretch.index[run], stretch.offset[run]
        changed = np.append(True, offset[1:] != offset[:-1])
        offsets = np.stack([index[changed], offset[changed]], axis=1)
        part = samples[start[run[0]] : stop[run[-1]]]
        place = rate, int(index[0])
        fragment = masked(stretch.codes.component, *place, part, offsets, None, stretch.begin)
        flags: list[tuple[int, int, int]] = []
        if fragment.valid is not None:  # record by record, so that no span changes it
            spoilt = np.add.reduceat(~fragment.valid, start[run] - start[run[0]]) > 0
            rows = stretch.rows[run]
            for some in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(spoilt)) + 1):
                if spoilt[some[0]]:
                    flags.append((Flag.NOT_FINITE, *extent(records, rows[some])))
        yield fragment, flags
