"""A miniSEED object: what its headers say, and the samples of a span.

Records are chained by the headers of the object alone, never by the span that is asked for, so
that a sample is the same however the data are cut; only the records of the span are unpacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Flag, TraceId
from workers.decoded import BadFormat, Channel, Decoded, masked
from workers.miniseed.body import Body
from workers.miniseed.chains import Rows, chain, distinct, inside
from workers.miniseed.chains import offsets as record_offsets
from workers.miniseed.records import ChannelId, Records, duration_ns
from workers.miniseed.strays import room
from workers.miniseed.survey import Span, Survey, survey
from workers.miniseed.unpack import Samples, unpack
from workers.waveform import Fragment, Told, told, words


@dataclass(frozen=True, slots=True)
class Contents:
    """What the headers of a miniSEED object say; nothing is unpacked.

    groups: rows of the waveform records by channel, rate and kind of sample. flags, repairs (ns,
    see Channel), detail: what the headers say, and what is lost between the records; channel
    None: of every channel.
    """

    source: str
    records: Records
    groups: Sequence[tuple[ChannelId, Rows]]
    flags: Sequence[tuple[ChannelId | None, Span]]
    repairs: Sequence[tuple[ChannelId | None, int]]
    detail: Sequence[tuple[ChannelId | None, Told]]

    @property
    def said(self) -> list[str]:
        """The problems, in words."""
        return words(one for _, one in self.detail)

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        return self.records.nbytes + sum(rows.nbytes for _, rows in self.groups)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records of one chain that reach into a span. channel: all rows of their channel and kind.

    twins: rows that equal one of the channel's. rows [r] with index, offset [r]: the records, the
    first sample of each on the grid, and true minus grid time in ns. begin: the first sample of the
    whole chain.
    """

    codes: ChannelId
    channel: Rows
    twins: Rows
    rows: Rows
    index: NDArray[np.int64]
    offset: NDArray[np.int64]
    begin: int


def read_contents(records: Records, source: str) -> Contents:
    """The table of an object's records as channels. `source` names the object in messages.

    Raises BadFormat where there are waveforms, and none that can be read.
    """
    found = survey(records)
    if found.detail and not found.groups:
        raise BadFormat(source, "; ".join(words(one for _, one in found.detail)))
    _lost_bytes(found)
    flags = [flag for flag in found.flags if _is_named(flag[0])]
    repairs = [repair for repair in found.repairs if _is_named(repair[0])]
    detail = [
        (codes, (f"{source}: {text}", low, high))
        for codes, (text, low, high) in found.detail
        if _is_named(codes)
    ]
    return Contents(source, found.records, found.groups, flags, repairs, detail)


def _is_named(codes: ChannelId | None) -> bool:
    """Whether there is a trace to be told of it, or all of them."""
    try:
        return codes is None or codes.trace is not None
    except ValueError:
        return False


def select(
    body: Body, contents: Contents, trace: TraceId | None, start_ns: int, end_ns: int
) -> list[Stretch]:
    """The records of a trace, None for all, that hold samples of [start_ns, end_ns)."""
    stretches: list[Stretch] = []
    for codes, group in contents.groups:
        if trace is not None and codes.trace != trace:
            continue
        channel = distinct(body, contents.records, group)
        twins = group[:0] if len(channel) == len(group) else np.setdiff1d(group, channel)
        rate = float(contents.records.rate[group[0]])
        for rows in chain(contents.records, channel):
            index, offset = record_offsets(contents.records, rows, rate)
            part = inside(contents.records, rows, index, start_ns, end_ns)
            if part.start < part.stop:
                found = rows[part], index[part], offset[part]
                stretches.append(Stretch(codes, channel, twins, *found, int(index[0])))
    return stretches


def unpack_selected(
    body: Body, contents: Contents, trace: TraceId | None, stretches: Sequence[Stretch]
) -> Decoded:
    """Samples of stretches of a trace, and its flags. Raises BadFormat where all of it is lost."""
    records, source = contents.records, contents.source
    detail = [one for codes, one in contents.detail if codes and trace in (None, codes.trace)]
    at_large = [one for codes, one in contents.detail if codes is None]
    groups = [codes for codes, _ in contents.groups if trace in (None, codes.trace)]
    flagged = dict.fromkeys(codes for codes, _ in contents.flags if codes)
    damaged = [codes for codes in flagged if trace in (None, codes.trace)]
    channels = dict.fromkeys([*groups, *damaged], Channel(()))
    whole = 0  # groups of which every record was selected
    for _, grouped in groupby(stretches, key=lambda stretch: id(stretch.channel)):
        alike = list(grouped)
        codes, channel = alike[0].codes, alike[0].channel
        unpacked = unpack(body, records, [stretch.rows for stretch in alike], channel)
        fragments: list[Fragment] = []
        flags = _lost_spans(records, channel, unpacked.lost)
        repairs = [records.start[rows] for rows in (unpacked.lost, alike[0].twins)]
        for stretch, samples in zip(alike, unpacked.samples, strict=True):
            for fragment, spoilt in _fragments(records, stretch, samples, unpacked.lost):
                fragments.append(fragment)
                flags += spoilt
        fragments.sort(key=lambda fragment: (fragment.start, fragment.stop))
        if len(unpacked.lost):
            text = f"{source}: damaged records of {codes} were skipped"
            detail += told(text, [(a, b) for bit, a, b in flags if bit == Flag.SALVAGED])
        if unpacked.disowned:
            text = f"{source}: {codes} announces other last samples than it holds; kept"
            detail.append((text, *extent(records, channel)))
        known = channels[codes]
        channels[codes] = Channel(
            [*known.fragments, *fragments],
            [*known.flags, *flags],
            np.concatenate([known.repairs, *repairs]),
        )
        whole += sum(len(stretch.rows) for stretch in alike) == len(channel)
    if groups and whole == len(groups) and not any(c.fragments for c in channels.values()):
        raise BadFormat(source, f"none of its {len(records)} records can be unpacked")
    for codes, known in channels.items():
        channels[codes] = Channel(
            known.fragments,
            [*known.flags, *(flag for owner, flag in contents.flags if owner in (None, codes))],
            np.append(known.repairs, _repairs(contents, codes)),
        )
    for codes in [*channels][:1]:  # what no channel owns counts once
        known = channels[codes]
        unowned = np.append(known.repairs, _repairs(contents, None))
        channels[codes] = replace(known, repairs=unowned)
    return Decoded(channels, detail, at_large)


def _repairs(contents: Contents, codes: ChannelId | None) -> NDArray[np.int64]:
    return np.array([ns for owner, ns in contents.repairs if owner == codes], np.int64)


def extent(records: Records, rows: Rows) -> tuple[int, int]:
    """First start and last end of rows of one rate."""
    ends = records.start[rows] + duration_ns(records.count[rows], float(records.rate[rows[0]]))
    return int(records.start[rows].min()), int(ends.max())


def _lost_bytes(found: Survey) -> None:
    """Flags for bytes that hold no record and for a cut end; channel None: of every channel."""
    records = found.records
    if not records.truncated and not records.junk:
        return
    each = [extent(records, rows) for _, rows in found.groups]
    whole = (min((low for low, _ in each), default=0), max((high for _, high in each), default=0))
    if records.truncated:
        found.tell(None, "ends inside a record", [whole])
        found.flags.append((None, (Flag.TRUNCATED, *whole)))
    count = sum(stop - start for start, stop, _ in records.junk)
    text = f"{count} bytes are no record and were skipped"
    holes: dict[ChannelId | None, list[tuple[int, int]]] = {}
    for _, _, row in records.junk:
        inside = 0 < row < len(records) and records.channel[row - 1] == records.channel[row]
        if inside and records.end(row - 1) <= records.start[row]:
            codes = records.channels[records.channel[row]]
            hole = (records.end(row - 1), int(records.start[row]))
            found.flags.append((codes, (Flag.SALVAGED, *hole)))
            found.repairs.append((codes, hole[0]))
            holes.setdefault(codes, []).append(hole)
        else:
            found.flags.append((None, (Flag.SALVAGED, *whole)))
            found.repairs.append((None, whole[0]))
            holes.setdefault(None, []).append(whole)
    for owner, spans in holes.items():
        found.tell(owner, text, spans)


def _lost_spans(records: Records, channel: Rows, lost: Rows) -> list[Span]:
    """What records that cannot be unpacked leave of the time of their channel, rows in time.

    The count of such a record may be damaged too: up to the next one, but no longer than a record
    has room for.
    """
    if not len(lost):
        return []
    rate = float(records.rate[channel[0]])
    at = np.flatnonzero(np.isin(channel, lost))
    rows = channel[at]
    start = records.start[rows]
    following = np.append(records.start[channel[1:]], -1)[at]
    stop = np.maximum(start + duration_ns(records.count[rows], rate), following)
    stop = np.minimum(stop, start + duration_ns(room(records, rows), rate))
    return [(Flag.SALVAGED, a, b) for a, b in zip(start.tolist(), stop.tolist(), strict=True)]


def _fragments(
    records: Records, stretch: Stretch, samples: Samples, lost: Rows
) -> Iterator[tuple[Fragment, list[Span]]]:
    """A stretch without its lost records, in pieces where these were, each with its flags.

    What is lost moves nothing: the place of a record is told by the headers alone.
    """
    rate = float(records.rate[stretch.rows[0]])
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
        flags: list[Span] = []
        if fragment.valid is not None:  # record by record, so that no span changes it
            spoilt = np.add.reduceat(~fragment.valid, start[run] - start[run[0]]) > 0
            rows = stretch.rows[run]
            for some in np.split(np.arange(len(rows)), np.flatnonzero(np.diff(spoilt)) + 1):
                if spoilt[some[0]]:
                    flags.append((Flag.NOT_FINITE, *extent(records, rows[some])))
        yield fragment, flags
