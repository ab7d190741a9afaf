"""Bytes to fragments: what is written comes back on the grid, whatever the object looks like."""

from __future__ import annotations

import io
import pickle
import random
import struct
from pathlib import Path

import numpy as np
import obspy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from obspy import Stream, Trace, UTCDateTime
from pymseed import DataEncoding, MS3Record

from catalog.schema import Flag, TraceId
from workers.decode import BadFormat, decode, extents, look_into
from workers.miniseed import scanning
from workers.miniseed.body import Held
from workers.miniseed.records import COLUMNS, ChannelId
from workers.waveform import Fragment, assemble, grid_index, grid_time

ORIGIN = 1_643_932_800 * 100  # grid index of 2022-02-04 at 100 Hz
STEP = 10_000_000
Z = ChannelId("XX", "SYN", "", "HHZ")

Recording = tuple[bytes, NDArray[np.int32], NDArray[np.bool_], NDArray[np.int64]]


def miniseed(
    samples: NDArray[np.generic],
    start_ns: int,
    codes: ChannelId = Z,
    rate: float = 100.0,
    encoding: str = "STEIM2",
    reclen: int = 512,
) -> bytes:
    header = {
        "network": codes.network,
        "station": codes.station,
        "location": codes.location,
        "channel": codes.code,
        "sampling_rate": rate,
        "starttime": UTCDateTime(ns=start_ns),
    }
    out = io.BytesIO()
    Stream([Trace(samples, header)]).write(out, "MSEED", encoding=encoding, reclen=reclen)
    return out.getvalue()


def noise(n: int, seed: int = 0, amplitude: int = 5000) -> NDArray[np.int32]:
    return np.random.default_rng(seed).integers(-amplitude, amplitude, n).astype(np.int32)


def fragments_of(body: bytes, codes: ChannelId = Z) -> list[Fragment]:
    return list(decode(body, "object").channels[codes].fragments)


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
    for index in np.flatnonzero(mask[part])[:: max(1, len(truth) // 20)]:
        assert waveform.offset_ns(ORIGIN + part.start + int(index)) == offset[part][index]


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


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.integers(64, 511), st.integers(0, 7), st.booleans())
def test_a_flipped_bit_loses_no_more_than_its_record(
    record: int, byte: int, bit: int, walking: bool
) -> None:
    samples = noise(4000, amplitude=300)
    body = bytearray(miniseed(samples, ORIGIN * STEP))
    assert len(body) >= 10 * 512
    records = scanning.scan(Held(bytes(body)))
    begin = int(records.count[:record].sum())
    lost = slice(begin, begin + int(records.count[record]))
    body[record * 512 + byte] ^= 1 << bit
    if walking:
        body += b"junk that is no record"
    decoded = decode(bytes(body), "object")
    waveform = assemble(decoded.channels[Z].fragments, 100, ORIGIN, ORIGIN + len(samples))
    expected = np.ones(len(samples), bool)
    if not waveform.mask[0].all():
        expected[lost] = False
        start = (ORIGIN + lost.start) * STEP
        assert (Flag.SALVAGED, start, start + (lost.stop - lost.start) * STEP) in [
            *decoded.channels[Z].flags
        ]
        assert "damaged records" in " ".join(decoded.said)
    np.testing.assert_array_equal(waveform.mask[0], expected)
    np.testing.assert_array_equal(waveform.data[0], np.where(expected, samples, 0))


def test_a_damaged_header_loses_one_record() -> None:
    samples = noise(4000)
    body = bytearray(miniseed(samples, ORIGIN * STEP))
    counts = scanning.scan(Held(bytes(body))).count
    body[3 * 512 : 3 * 512 + 48] = bytes(48)
    waveform = assemble(fragments_of(bytes(body)), 100, ORIGIN, ORIGIN + len(samples))
    gone = slice(int(counts[:3].sum()), int(counts[:4].sum()))
    assert not waveform.mask[0, gone].any()
    assert waveform.mask[0].sum() == len(samples) - counts[3]


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


def test_records_sent_twice_are_unpacked_once() -> None:
    body = miniseed(noise(3000), ORIGIN * STEP)
    again = bytearray(body)
    for at in range(0, len(again), 512):
        again[at : at + 6] = b"777777"  # the sequence number says nothing
    (fragment,) = fragments_of(body + bytes(again))
    np.testing.assert_array_equal(fragment.samples, noise(3000))


def test_conflicting_records_give_overlapping_fragments() -> None:
    a, b = noise(3000, 1), noise(1000, 2)
    body = miniseed(a, ORIGIN * STEP) + miniseed(b, (ORIGIN + 1000) * STEP)
    waveform = assemble(fragments_of(body), 100, ORIGIN, ORIGIN + 3000)
    assert waveform.conflict is not None
    np.testing.assert_array_equal(
        np.flatnonzero(waveform.conflict), 1000 + np.flatnonzero(a[1000:2000] != b)
    )


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


def test_float64_miniseed_becomes_float32() -> None:
    values = np.random.default_rng(3).normal(size=900)
    (fragment,) = fragments_of(miniseed(values, ORIGIN * STEP, encoding="FLOAT64"))
    assert fragment.samples.dtype == np.float32
    np.testing.assert_array_equal(fragment.samples, values.astype(np.float32))


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("exploded"),))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Sign in</html>", "HTML"),
        (b"not a waveform at all, only words", "no known waveform format"),
        (miniseed(noise(100), ORIGIN * STEP)[:300], "end inside the first record"),
        (pickle.dumps(Bomb()), "no known waveform format"),
    ],
)
def test_what_is_no_waveform_is_named(
    body: bytes, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadFormat, match=word) as caught:
        decode(body, "s3://bucket/object")
    assert "s3://bucket/object" in str(caught.value)
    assert not list(tmp_path.iterdir())  # no pickle was opened


def test_rates_near_a_whole_number_are_that_number() -> None:
    (fragment,) = fragments_of(miniseed(noise(100), ORIGIN * STEP, rate=100.00001))
    assert fragment.rate == 100.0
    assert fragment.start == grid_index(ORIGIN * STEP, 100.0)


@pytest.mark.parametrize("value", [0x00, 0x3E, 0x7F, 0x80, 0xFF])
def test_any_damaged_header_byte_costs_its_record_at_most(value: int) -> None:
    """Every byte of the third header in turn: decoding ends, and the other records are there."""
    samples = noise(4_000, 5)
    body = miniseed(samples, ORIGIN * STEP, encoding="STEIM2", reclen=512)
    assert len(body) >= 512 * 6
    for position in range(64):
        damaged = bytearray(body)
        damaged[512 * 2 + position] = value
        decoded = decode(bytes(damaged), "damaged")
        kept = sum(len(f.samples) for c in decoded.channels.values() for f in c.fragments)
        assert kept > 0.6 * len(samples), position
        extents(look_into(Held(bytes(damaged)), "damaged"))


@pytest.mark.parametrize("multiplier", [0x3E, 0x7F])
def test_a_record_of_an_absurd_rate_ends_somewhere(multiplier: int) -> None:
    """A megahertz: the grid's own rounding then passes a sample, at some start times."""
    for step in range(200):
        body = miniseed(noise(400), ORIGIN * STEP + step * 7_654_321_000, reclen=512)
        damaged = bytearray(body[:512])
        damaged[34] = multiplier
        decode(bytes(damaged), "damaged")
