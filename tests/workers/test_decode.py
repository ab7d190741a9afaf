"""Bytes to fragments: what is written comes back on the grid, whatever the object looks like."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import obspy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pymseed import DataEncoding, MS3Record

from catalog.schema import Flag
from tests.workers.records import (
    ORIGIN,
    STEP,
    Z,
    fragments_of,
    miniseed,
    noise,
)
from workers.decode import decode, extents, look_into
from workers.miniseed import scanning
from workers.miniseed.body import Held
from workers.miniseed.records import COLUMNS, ChannelId
from workers.waveform import assemble, grid_time

Recording = tuple[bytes, NDArray[np.int32], NDArray[np.bool_], NDArray[np.int64]]


def test_real_files_are_what_obspy_reads(data: Path) -> None:
    paths = sorted((data / "continuous").rglob("*.ms*"))
    assert len(paths) == 6
    for path in paths:
        body = path.read_bytes()
        decoded = decode(body, path.name)
        assert not decoded.detail
        stream = obspy.read(path)
        assert {str(codes) for codes in decoded.channels} == {trace.id for trace in stream}
        spans = dict(
            (codes, (low, high)) for codes, low, high in extents(look_into(Held(body), path.name))
        )
        for trace in stream:
            codes = ChannelId(*trace.id.split("."))
            (fragment,) = decoded.channels[codes].fragments
            np.testing.assert_array_equal(fragment.samples, trace.data)
            assert (
                grid_time(fragment.start, 100) + fragment.offsets[0, 1] == trace.stats.starttime.ns
            )
            assert spans[codes] == (trace.stats.starttime.ns, trace.stats.endtime.ns + STEP)


@st.composite
def recordings(
    draw: st.DrawFn,
) -> tuple[bytes, NDArray[np.int32], NDArray[np.bool_], NDArray[np.int64]]:
    """An object of one channel, and what it must be on the grid from ORIGIN on."""
    seed = draw(st.integers(0, 2**32 - 1))
    segments = draw(
        st.lists(
            st.tuples(
                st.integers(1, 1500),  # samples
                st.sampled_from([0, 0, 3, 50, 1000]),  # gap before, in samples
                st.integers(-4999, 4999),  # microseconds from the grid
                st.sampled_from(["STEIM1", "STEIM2", "INT32"]),
            ),
            min_size=1,
            max_size=6,
        )
    )
    length = draw(st.sampled_from([256, 512, 4096]))
    total = sum(count + gap for count, gap, _, _ in segments)
    truth, mask = np.zeros(total, np.int32), np.zeros(total, bool)
    offset = np.zeros(total, np.int64)
    at, records = 0, []
    for number, (count, gap, phase, encoding) in enumerate(segments):
        at += gap
        samples = noise(count, seed + number)
        body = miniseed(
            samples, (ORIGIN + at) * STEP + phase * 1000, encoding=encoding, reclen=length
        )
        records += [body[i : i + length] for i in range(0, len(body), length)]
        inside = slice(at, at + count)
        truth[inside], mask[inside], offset[inside] = samples, True, phase * 1000
        at += count
    shuffled = random.Random(seed)
    if draw(st.booleans()):
        records += shuffled.sample(records, len(records) // 2)  # sent twice
        shuffled.shuffle(records)
    return b"".join(records), truth, mask, offset


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(recordings(), st.data())
def test_decoded_records_stand_on_the_grid(recording: Recording, draw: st.DataObject) -> None:
    """Any gaps, record lengths, encodings, phases, order of records: equal to the truth."""
    body, truth, mask, offset = recording
    fragments = fragments_of(body)
    low = draw.draw(st.integers(-50, len(truth) - 1))
    high = draw.draw(st.integers(low + 1, len(truth) + 50))
    waveform = assemble(fragments, 100, ORIGIN + low, ORIGIN + high)
    part = slice(max(low, 0), max(min(high, len(truth)), 0))
    inside = slice(part.start - low, part.stop - low)
    np.testing.assert_array_equal(waveform.data[0, inside], truth[part])
    np.testing.assert_array_equal(waveform.mask[0, inside], mask[part])
    assert waveform.mask[0].sum() == mask[part].sum()
    assert waveform.conflict is None
    there = np.flatnonzero(mask[part])
    offsets = waveform.offsets_ns(ORIGIN + part.start + there)
    np.testing.assert_array_equal(offsets, offset[part][there])


def test_unequal_records_and_junk_between_are_read_one_by_one() -> None:
    parts = [noise(3000, seed) for seed in range(3)]
    bodies = [
        miniseed(part, (ORIGIN + 3000 * i) * STEP, reclen=length)
        for i, (part, length) in enumerate(zip(parts, (512, 4096, 512), strict=True))
    ]
    (whole,) = fragments_of(b"".join(bodies))
    np.testing.assert_array_equal(whole.samples, np.concatenate(parts))

    decoded = decode(b"garbage" + bodies[0] + b"\x00" * 777 + bodies[1], "object")
    (whole,) = decoded.channels[Z].fragments
    np.testing.assert_array_equal(whole.samples, np.concatenate(parts[:2]))
    assert "784 bytes are no record" in decoded.said[0]
    assert {bit for bit, _, _ in decoded.channels[Z].flags} == {Flag.SALVAGED}


def test_a_digitiser_that_never_writes_the_last_sample_is_believed() -> None:
    samples = noise(9000)
    body = bytearray(miniseed(samples, ORIGIN * STEP))
    for at in range(0, len(body), 512):
        body[at + 64 + 8 : at + 64 + 12] = bytes(4)
    decoded = decode(bytes(body), "object")
    (fragment,) = decoded.channels[Z].fragments
    np.testing.assert_array_equal(fragment.samples, samples)
    assert "other last samples" in decoded.said[0]


@settings(max_examples=30, deadline=None)
@given(st.integers(513, 6 * 512))
def test_of_a_truncated_object_the_whole_records_are_used(cut: int) -> None:
    samples = noise(4000)
    body = miniseed(samples, ORIGIN * STEP)
    decoded = decode(body[:cut], "object")
    whole = int(scanning.scan(Held(body)).count[: cut // 512].sum())
    (fragment,) = decoded.channels[Z].fragments
    np.testing.assert_array_equal(fragment.samples, samples[:whole])
    truncated = Flag.TRUNCATED in {bit for bit, _, _ in decoded.channels[Z].flags}
    assert truncated == (cut % 512 != 0)


def test_a_drifting_clock_never_leaves_the_grid_by_more_than_a_sample() -> None:
    """Records of 100 samples stamped 0.3 ms late each: a new chain for each sample of drift."""
    samples = noise(50_000)
    body = b"".join(
        miniseed(samples[i : i + 100], ORIGIN * STEP + i * STEP + (i // 100) * 300_000)
        for i in range(0, len(samples), 100)
    )
    fragments = fragments_of(body)
    assert 15 <= len(fragments) <= 16  # 15 samples of drift in all
    for fragment in fragments:
        assert np.abs(fragment.offsets[:, 1]).max() <= STEP
    assert sum(len(fragment.samples) for fragment in fragments) == len(samples)


@pytest.mark.parametrize("little", [False, True])
def test_header_times_rates_and_corrections_are_those_of_libmseed(little: bool) -> None:
    """The vectorised scan against libmseed, over blockettes 100 and 1001 and corrections."""
    order = "<" if little else ">"
    body = bytearray()
    for i in range(20):
        record = bytearray(miniseed(noise(50, i), (ORIGIN + 100 * i) * STEP + 1234_000)[:512])
        head = bytearray(record[:64])
        struct.pack_into(
            order + "HHBBBBHHhh", head, 20, 2022, 35 + i, 3, i, 59, 0, 17 * i, 50, 100, 1
        )
        struct.pack_into(order + "BBBBiHH", head, 36, 2 * (i % 2), 0, 0, 1, 100 * i - 900, 128, 48)
        blockettes = struct.pack(order + "HHBBBB", 1000, 56, 11, 1, 9, 0)
        blockettes += struct.pack(order + "HHBbBB", 1001, 64 if i % 3 else 0, 0, -3 * i, 0, 7)
        blockettes += struct.pack(order + "HHfBB2x", 100, 0, 99.5 + i, 0, 0)
        body += head[:48] + blockettes.ljust(80, b"\x00") + record[64:448]
    uniform = scanning.scan(Held(bytes(body)))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scanning, "equal_records", lambda *_: None)
        walked = scanning.scan(Held(bytes(body)))
    assert uniform.channels == walked.channels == [Z]
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(uniform, name), getattr(walked, name), name)


def test_miniseed_3_and_its_checksum() -> None:
    samples = noise(3000)
    record = MS3Record(reclen=512, encoding=DataEncoding.STEIM2)
    record.sourceid = "FDSN:XX_SYN__H_H_Z"
    record.starttime = ORIGIN * STEP + 1_500_001
    record.samprate = 100.0
    record.formatversion = 3
    records = [bytes(part) for part in record.generate(data_samples=samples, sample_type="i")]
    (fragment,) = fragments_of(b"".join(records))
    np.testing.assert_array_equal(fragment.samples, samples)
    assert fragment.offsets[0].tolist() == [ORIGIN, 1_500_001]

    damaged = bytearray(b"".join(records))
    damaged[len(records[0]) + 100] ^= 16
    waveform = assemble(fragments_of(bytes(damaged)), 100, ORIGIN, ORIGIN + 3000)
    counts = scanning.scan(Held(b"".join(records))).count
    assert np.flatnonzero(~waveform.mask[0]).tolist() == [*range(counts[0], counts[0] + counts[1])]


def test_float64_miniseed_becomes_float32() -> None:
    values = np.random.default_rng(3).normal(size=900)
    (fragment,) = fragments_of(miniseed(values, ORIGIN * STEP, encoding="FLOAT64"))
    assert fragment.samples.dtype == np.float32
    np.testing.assert_array_equal(fragment.samples, values.astype(np.float32))
