"""Formats that obspy reads, in a process of their own where their readers may crash."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from obspy import Trace, UTCDateTime

from catalog.schema import Flag, TraceId
from tests.workers.records import (
    ORIGIN,
    START,
    STEP,
    signal,
)
from workers.decode import BadFormat, decode
from workers.miniseed.records import ChannelId


def test_sac_keeps_float32_and_its_place(tmp_path: Path) -> None:
    values = np.random.default_rng(3).normal(size=5000).astype(np.float32)
    values[100:110], values[200] = np.nan, np.inf
    trace = Trace(values, {"network": "XX", "station": "SAC", "channel": "BHN", "delta": 0.01})
    trace.stats.starttime = UTCDateTime(ns=ORIGIN * STEP + 3_000_000)
    trace.write(str(tmp_path / "a.sac"), "SAC")
    body = (tmp_path / "a.sac").read_bytes()
    codes = ChannelId("XX", "SAC", "", "BHN")
    channel = decode(body, "a.sac").channels[codes]
    (fragment,) = channel.fragments
    assert (fragment.component, fragment.rate, fragment.start) == ("N", 100.0, ORIGIN)
    assert fragment.samples.dtype == np.float32 and fragment.valid is not None
    assert np.flatnonzero(~fragment.valid).tolist() == [*range(100, 110), 200]
    assert abs(fragment.offsets[0, 1] - 3_000_000) < 1000
    assert [bit for bit, _, _ in channel.flags] == [Flag.NOT_FINITE]
    assert codes.trace == TraceId("XX", "SAC", "", "BH")


def foreign(kind: str) -> bytes:
    samples: NDArray[np.generic] = signal(3000)
    header = {"network": "XX", "station": "ABC", "channel": "BHZ", "delta": 0.01}
    trace = Trace(samples.astype(np.float32) if kind == "SAC" else samples, header)
    trace.stats.starttime = UTCDateTime(ns=START)
    with tempfile.NamedTemporaryFile() as out:
        trace.write(out.name, kind)
        return Path(out.name).read_bytes()


def garbled(kind: str, seed: int, flips: int) -> bytes:
    rng = random.Random(seed)
    body = bytearray(foreign(kind))
    for _ in range(flips):
        body[rng.randrange(min(len(body), 700))] = rng.randrange(256)
    del body[rng.randrange(1, 2 * len(body)) :]
    return bytes(body)


def samples_in(body: bytes) -> int:
    try:
        decoded = decode(body, "object")
    except BadFormat:
        return 0
    return sum(len(f.samples) for c in decoded.channels.values() for f in c.fragments)


def test_a_reader_that_crashes_takes_nothing_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """obspy's GSE2 reader is C; on some of these it ends in a segmentation fault."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a secret")
    assert samples_in(foreign("GSE2")) == 3000
    for seed in (0, 1):
        assert samples_in(garbled("GSE2", seed, 3)) <= 6000
    monkeypatch.setattr("workers.foreign.SECONDS", 0.01)
    with pytest.raises(BadFormat, match=r"obspy did not read it in 0\.01 s"):
        decode(foreign("GSE2"), "object")


def test_headers_that_claim_more_than_the_bytes_hold_are_not_believed() -> None:
    body = foreign("GSE2")
    claim = body.replace(b"    3000 ", b"99000000 ", 1)
    assert claim != body
    with pytest.raises(BadFormat, match=rf"claim 99000000 samples in {len(body)} bytes"):
        decode(claim, "object")
