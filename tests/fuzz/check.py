"""One file through everything that reads it, and what must hold whatever it is."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from unittest import mock

import numpy as np

from workers.contents import select, unpack_selected
from workers.decode import ALWAYS, BadFormat, Contents, Decoded, decode, extents, look_into
from workers.foreign import FORMATS, ForeignTrace, read_here
from workers.miniseed import body as bodies
from workers.miniseed import scanning
from workers.miniseed.body import Held
from workers.miniseed.scanning import scan
from workers.resampling import on_grid
from workers.waveform import Fragment, grid_index
from workers.windows import segments

RATE = 100

STRETCH = 60 * RATE
"""Grid samples that are assembled around the beginning of a trace."""

SIZES = ((bodies, "PIECE", 700), (scanning, "PIECE", 700), (scanning, "LOOKAHEAD", 2048))
"""Bytes that an object is read in."""

SAFE = [name for name in FORMATS if name not in ("GSE1", "GSE2", "GCF")]
"""Formats whose readers cannot crash; the others are read in a process of their own, which may."""

MOST_PER_BYTE = 4
"""Samples that a byte of a file may become; Steim 2 gives 1.75, obspy's text formats fewer."""


def read(name: str, body: bytes) -> str:
    """Decode it whole, in small pieces and over a span, and put it on the grid.

    Returns `read`, or `refused` where it holds no waveform. Whatever else than BadFormat is raised
    is a defect.
    """
    try:
        with mock.patch("workers.decode.read_foreign", _read_foreign):
            whole = decode(body, name)
    except BadFormat as error:
        if "MemoryError" in str(error):
            raise AssertionError(f"asked for too much memory: {error}") from error
        found = "refused"
    else:
        _check(whole, len(body))
        found = "read"
    if len(scan(Held(body))):
        _in_pieces(name, body)
    return found


def _read_foreign(body: bytes) -> tuple[list[ForeignTrace], list[str]]:
    """In this process, which is one to be lost: a new one for each file would take a second."""
    return read_here(body, SAFE)


def _in_pieces(name: str, body: bytes) -> None:
    """Headers and samples in pieces of 700 bytes, a part of the time only."""
    with ExitStack() as patched:
        for module, setting, size in SIZES:
            patched.enter_context(mock.patch.object(module, setting, size))
        patched.enter_context(suppress(BadFormat))
        held = Held(body)
        found = look_into(held, name)
        if isinstance(found, Contents):
            span = _part(extents(found), body)
            part = unpack_selected(held, found, None, select(held, found, None, *span))
            _check(part, len(body))


def _part(spans: Sequence[tuple[object, int, int]], body: bytes) -> tuple[int, int]:
    """A span somewhere in what a file holds."""
    if not spans:
        return ALWAYS
    _, low, high = spans[zlib.crc32(body) % len(spans)]
    third = (high - low) // 3
    return low + third, high - third


def _check(decoded: Decoded, size: int) -> None:
    traces: dict[object, list[Fragment]] = {}
    samples = 0
    for codes, channel in decoded.channels.items():
        for fragment in channel.fragments:
            samples += len(fragment.samples)
            _check_fragment(fragment)
        traces.setdefault(codes.trace, []).extend(channel.fragments)
        for bit, low, high in channel.flags:
            assert bit.bit_count() == 1 and low <= high, (bit, low, high)
    assert samples <= MOST_PER_BYTE * size, f"{samples} samples of {size} bytes"
    for fragments in traces.values():
        if fragments:
            _check_grid(fragments)


def _check_fragment(fragment: Fragment) -> None:
    samples, offsets = fragment.samples, fragment.offsets
    assert samples.dtype in (np.int32, np.float32) and len(samples), samples.dtype
    assert np.isfinite(samples).all(), "a sample that is not finite"
    assert np.isfinite(fragment.rate) and fragment.rate > 0, fragment.rate
    assert fragment.valid is None or fragment.valid.shape == samples.shape
    assert offsets[0, 0] == fragment.start and (np.diff(offsets[:, 0]) > 0).all()
    assert len(offsets) <= len(samples)


def _check_grid(fragments: list[Fragment]) -> None:
    """A minute around where a trace begins, as a worker sees it."""
    first = fragments[0]
    start = grid_index(round(first.start / first.rate * 1e9), RATE) - 10
    waveform = on_grid(fragments, RATE, start, start + STRETCH)
    assert np.isfinite(waveform.data).all(), "a sample on the grid that is not finite"
    assert not waveform.data[~waveform.mask].any(), "a masked sample that is not zero"
    for a, b in segments(waveform.mask):
        assert 0 <= a < b <= STRETCH
