"""One object's bytes -> fragments per channel. What libmseed cannot read goes to obspy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from catalog.schema import Flag
from workers.contents import Contents, extent, read_contents, select, unpack_selected
from workers.decoded import BadFormat, Channel, Decoded, masked
from workers.foreign import read_foreign
from workers.miniseed.body import Body, Held
from workers.miniseed.records import ChannelId, Records, snapped
from workers.miniseed.scanning import scan
from workers.waveform import Fragment, grid_index, grid_time, words

__all__ = ["ALWAYS", "BadFormat", "Contents", "Decoded", "decode", "extents", "look_into"]

ALWAYS = (-(2**62), 2**62)
"""ns, a span that holds all that there is."""

FOREIGN_BYTES = 100_000_000
"""An object in another format than miniSEED is read whole: a day of SAC at 200 Hz is smaller."""

PACKED = {
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a zstd file",
    b"PK": "a zip file",
}
"""By their first bytes: compressed files, which are not looked into."""


def look_into(body: Body, source: str, network: str = "", station: str = "") -> Contents | Decoded:
    """The headers of an object, or all of it where it is no miniSEED. Raises BadFormat.

    `source` names it in messages. network, station: of what it is named for; they stand for the
    blank ones of its headers, and that is told.
    """
    records = scan(body)
    if not len(records):
        return _from_foreign(body, records, source, network, station)
    channels = [codes.filled(network, station) for codes in records.channels]
    found = read_contents(replace(records, channels=channels), source)
    text = f"{source}: {_lent(network, station)}"
    lent = [
        (None, (text, *extent(found.records, rows)))
        for codes, rows in found.groups
        if records.channels[records.channel[rows[0]]] != codes
    ]
    return replace(found, detail=[*found.detail, *lent])


def decode(body: bytes, source: str) -> Decoded:
    """Every waveform of an object in memory. Raises BadFormat."""
    held = Held(body)
    found = look_into(held, source)
    if isinstance(found, Decoded):
        return found
    return unpack_selected(held, found, None, select(held, found, None, *ALWAYS))


def extents(found: Contents | Decoded) -> list[tuple[ChannelId, int, int]]:
    """(channel, start ns, end ns) of what an object holds, of some channels more than once."""
    if isinstance(found, Contents):
        return [(codes, *extent(found.records, rows)) for codes, rows in found.groups]
    spans = []
    for codes, channel in found.channels.items():
        for one in channel.fragments:
            late = int(one.offsets[0, 1])
            start, stop = (grid_time(index, one.rate) + late for index in (one.start, one.stop))
            spans.append((codes, start, stop))
    return spans


def _not_finite(fragment: Fragment) -> list[tuple[int, int, int]]:
    """One span, from the first masked sample of a foreign trace to its last."""
    if fragment.valid is None:
        return []
    bad = np.flatnonzero(~fragment.valid) + fragment.start
    low, high = (grid_time(index, fragment.rate) for index in (int(bad[0]), int(bad[-1]) + 1))
    return [(Flag.NOT_FINITE, low, high)]


def _lent(network: str, station: str) -> str:
    return f"headers without a network or station were read as {network}.{station}, as it is named"


def _from_foreign(body: Body, records: Records, source: str, network: str, station: str) -> Decoded:
    if records.truncated:
        raise BadFormat(source, f"{body.size} bytes, which end inside the first record")
    if body.size > FOREIGN_BYTES:
        raise BadFormat(
            source,
            f"{body.size} bytes that are not miniSEED; formats that are read whole may have "
            f"{FOREIGN_BYTES}: convert it to miniSEED, or split it",
        )
    whole = bytes(body.read(0, body.size))
    if told := _told(whole):
        raise BadFormat(source, told)
    traces, said = read_foreign(whole)
    if not traces:
        unknown = f"{len(whole)} bytes in no known waveform format, beginning {whole[:16]!r}"
        raise BadFormat(source, "; ".join([unknown, *said]))
    begin, end = min(trace.start_ns for trace in traces), max(trace.end_ns for trace in traces)
    detail = [(warning, begin, end) for warning in said]
    channels: dict[ChannelId, Channel] = {}
    for trace in traces:
        codes = trace.codes.filled(network, station)
        if codes != trace.codes:
            detail.append((_lent(network, station), trace.start_ns, trace.end_ns))
        try:
            _ = codes.trace
        except ValueError as error:
            text = f"channel {codes} left out: {error}"
            detail.append((text, trace.start_ns, trace.end_ns))
            continue
        rate = float(snapped(np.array([trace.rate]))[0])
        start = grid_index(trace.start_ns, rate)
        offsets = np.array([[start, trace.start_ns - grid_time(start, rate)]], np.int64)
        fragment = masked(codes.component, rate, start, trace.samples, offsets, trace.valid)
        known = channels.get(codes, Channel(()))
        channels[codes] = Channel(
            [*known.fragments, fragment], [*known.flags, *_not_finite(fragment)]
        )
    if not channels:
        raise BadFormat(source, "; ".join(words(detail)))
    at_large = [(f"{source}: {text}", low, high) for text, low, high in detail]
    return Decoded(channels, at_large=at_large)


def _told(body: bytes) -> str:
    """What an object is, where it is plainly no waveform; empty where it may be one."""
    if not body:
        return "the object is empty"
    text = body.lstrip()
    if text[:1] == b"<":
        return f"an HTML or XML page, not a waveform: {text[:40]!r}"
    if text[:1] in (b"{", b"["):
        return f"JSON or other text, not a waveform: {text[:40]!r}"
    for magic, name in PACKED.items():
        if body.startswith(magic):
            return f"{len(body)} bytes of {name}: unpack it before it is put into the archive"
    return ""
