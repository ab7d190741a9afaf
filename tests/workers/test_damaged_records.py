"""What a damaged record costs: itself, flagged, wherever it stands and however it is read."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.schema import DAY_NS, Flag
from catalog.store import LocalStore
from tests.workers.records import (
    ORIGIN,
    RECORD,
    START,
    STEP,
    TRACE,
    Z,
    flagged,
    in_pieces,
    miniseed,
    noise,
    rated,
    records_of,
    signal,
    spans,
    table,
    waveform_of,
)
from workers.archives.objects import NamedObject, Objects
from workers.decode import ALWAYS, decode, extents, look_into
from workers.miniseed import scanning
from workers.miniseed.body import Held
from workers.miniseed.records import COLUMNS
from workers.waveform import assemble


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_one_damaged_record_costs_itself_and_is_flagged(data: st.DataObject) -> None:
    """A header byte of any value, a whole header, any payload bit, a few bytes too few or more."""
    samples = signal(5000, data.draw(st.integers(0, 20)))
    parts = records_of(miniseed(samples, START))
    counts = table(b"".join(parts)).count
    k = data.draw(st.integers(1, len(parts) - 2))
    kind = data.draw(st.sampled_from(["byte", "header", "zero", "payload", "cut", "longer"]))
    shifted = False
    match kind:
        case "byte":
            at = data.draw(st.integers(8, 63))
            parts[k][at] = data.draw(st.integers(0, 255))
            shifted = at in (28, 29, 40, 41, 42, 43, 53)  # may move it by less than ten samples
        case "header":
            parts[k][:48] = data.draw(st.binary(min_size=48, max_size=48))
        case "zero":
            parts[k][: data.draw(st.sampled_from([8, 48, 64, RECORD]))] = b""
            parts[k] = parts[k].rjust(RECORD, b"\0")
        case "payload":
            parts[k][data.draw(st.integers(64, RECORD - 1))] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del parts[k][data.draw(st.integers(1, RECORD - 1)) :]
        case "longer":
            parts[k] += data.draw(st.binary(max_size=300))
    decoded = decode(b"".join(parts), "object")
    waveform = waveform_of(decoded, len(samples))
    begin = int(counts[:k].sum())
    own = slice(begin, begin + int(counts[k]))
    others = np.ones(len(samples), bool)
    others[own] = False
    has = waveform.mask[0]
    if shifted and waveform.conflict is not None:
        assert others[~has & ~waveform.conflict].sum() == 0
    else:
        assert has[others].all()
        assert waveform.conflict is None
    np.testing.assert_array_equal(waveform.data[0, has & others], samples[has & others])
    salvaged = flagged(decoded, Flag.SALVAGED, len(samples))
    lost = ~has & (waveform.conflict is None if shifted else True)
    if not shifted:
        assert salvaged[lost].all()
        np.testing.assert_array_equal(waveform.data[0, has], samples[has])
    assert {codes for codes, channel in decoded.channels.items() if channel.fragments} == {Z}
    extents(look_into(Held(b"".join(parts)), "object"))


@pytest.mark.parametrize("count", [0, 1, 50, 300, 60_000])
def test_a_damaged_count_is_flagged_as_far_as_the_record_may_reach(count: int) -> None:
    samples = signal(5000)
    parts = records_of(miniseed(samples, START))
    starts = table(b"".join(parts)).start
    struct.pack_into(">H", parts[4], 30, count)
    decoded = decode(b"".join(parts), "object")
    ((low, high),) = spans(decoded, Flag.SALVAGED)
    assert low == starts[4] and starts[5] <= high <= low + RECORD * 7 // 4 * STEP
    assert count > 300 or high == starts[5]
    waveform = waveform_of(decoded, len(samples))
    assert (~waveform.mask[0]).sum() == (starts[5] - starts[4]) // STEP
    assert waveform.conflict is None


@pytest.mark.parametrize(("encoding", "claimed"), [("INT32", 1), ("INT32", 4), ("FLOAT32", 3)])
def test_a_record_of_another_encoding_between_its_like_is_damaged(
    encoding: str, claimed: int
) -> None:
    samples = signal(3000).astype(np.float32 if encoding == "FLOAT32" else np.int32)
    parts = records_of(miniseed(samples, START, encoding=encoding))
    starts = table(b"".join(parts)).start
    parts[4][52] = claimed
    decoded = decode(b"".join(parts), "object")
    assert spans(decoded, Flag.SALVAGED) == [(starts[4], starts[5])]
    waveform = waveform_of(decoded, len(samples))
    has = waveform.mask[0]
    assert (~has).sum() == (starts[5] - starts[4]) // STEP
    np.testing.assert_array_equal(waveform.data[0, has], samples[has])


@pytest.mark.parametrize("rate", [0.0, 1.0, 99.0, 250.0, 30_000.0])
def test_a_damaged_rate_costs_nothing(rate: float) -> None:
    parts = records_of(miniseed(signal(5000), START))
    starts = table(b"".join(parts)).start
    rated(parts[4], rate)
    decoded = decode(b"".join(parts), "object")
    (fragment,) = decoded.channels[Z].fragments
    np.testing.assert_array_equal(fragment.samples, signal(5000))
    assert decoded.channels[Z].flags == [(Flag.RATE_CORRECTED, starts[4], starts[5])]


@pytest.mark.parametrize("size", [700, 2100, 5000, 20_000])
@pytest.mark.parametrize("exponent", [7, 8, 10, 11, 14])
def test_what_is_damaged_does_not_depend_on_where_pieces_begin(size: int, exponent: int) -> None:
    parts = records_of(miniseed(signal(9000), START))
    for victim in range(0, len(parts), 5):
        damaged = [bytearray(part) for part in parts]
        damaged[victim][54] = exponent
        del damaged[victim - 3][400:]
        body = Held(b"".join(damaged))
        whole = table(b"".join(damaged))
        with pytest.MonkeyPatch.context() as patched:
            in_pieces(patched, size)
            pieced = scanning.scan(body)
        for name in COLUMNS:
            np.testing.assert_array_equal(getattr(whole, name), getattr(pieced, name), name)
        assert (whole.junk, whole.truncated) == (pieced.junk, pieced.truncated)


@pytest.mark.parametrize("victim", [0, 1, 5, -2, -1])
@pytest.mark.parametrize("exponent", [0, 7, 8, 10, 11, 12, 16, 20, 255])
@pytest.mark.parametrize("encoding", ["STEIM2", "INT32"])
def test_a_damaged_length_swallows_no_good_record(
    victim: int, exponent: int, encoding: str
) -> None:
    samples = signal(4000)
    parts = records_of(miniseed(samples, START, encoding=encoding))
    counts = table(b"".join(parts)).count
    assert parts[victim][48:50] == struct.pack(">H", 1000)
    parts[victim][54] = exponent
    decoded = decode(b"".join(parts), "object")
    waveform = waveform_of(decoded, len(samples))
    expected = np.ones(len(samples), bool)
    k = victim % len(parts)
    expected[int(counts[:k].sum()) : int(counts[: k + 1].sum())] = False
    has = waveform.mask[0]
    assert has[expected].all()
    np.testing.assert_array_equal(waveform.data[0, has], samples[has])
    salvaged = flagged(decoded, Flag.SALVAGED, len(samples))
    if victim in (0, -1):  # nothing says how long it was
        assert {f for f, _, _ in decoded.channels[Z].flags} & {Flag.SALVAGED, Flag.TRUNCATED}
    else:
        np.testing.assert_array_equal(has, expected)
        np.testing.assert_array_equal(salvaged, ~expected)
        assert len(decoded.channels[Z].repairs) == 1


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


@pytest.mark.parametrize("multiplier", [0x3E, 0x7F])
def test_a_record_of_an_absurd_rate_ends_somewhere(multiplier: int) -> None:
    """A megahertz: the grid's own rounding then passes a sample, at some start times."""
    for step in range(200):
        body = miniseed(noise(400), ORIGIN * STEP + step * 7_654_321_000, reclen=512)
        damaged = bytearray(body[:512])
        damaged[34] = multiplier
        decode(bytes(damaged), "damaged")


def test_a_damaged_real_day_is_the_day_without_one_record(data: Path) -> None:
    path = sorted((data / "continuous").rglob("*.ms*"))[0]
    body = bytearray(path.read_bytes())
    whole = table(bytes(body))
    rng = random.Random(4)
    truth = decode(bytes(body), path.name)
    for _ in range(12):
        row = rng.randrange(1, len(whole) - 1)
        if not whole.channel[row - 1] == whole.channel[row] == whole.channel[row + 1]:
            continue
        damaged = bytearray(body)
        at = int(whole.at[row])
        for _ in range(3):
            damaged[at + rng.randrange(20, 64)] = rng.randrange(256)
        decoded = decode(bytes(damaged), path.name)
        codes = whole.channels[whole.channel[row]]
        low = int(truth.channels[codes].fragments[0].start)
        high = int(truth.channels[codes].fragments[-1].stop)
        one, other = (
            assemble(d.channels[codes].fragments, 100, low, high) for d in (truth, decoded)
        )
        component = "ZNE".index(codes.component if codes.component in "ZNE" else "Z")
        lost = one.mask[component] & ~other.mask[component]
        assert lost.sum() <= whole.count[row] + 20
        has = other.mask[component]
        np.testing.assert_array_equal(other.data[component, has], one.data[component, has])
        for codes_, channel in decoded.channels.items():
            if codes_ != codes:
                for f, g in zip(channel.fragments, truth.channels[codes_].fragments, strict=True):
                    np.testing.assert_array_equal(f.samples, g.samples)


def test_the_days_beside_a_damaged_one_are_untouched(tmp_path: Path) -> None:
    """The middle one of three days: records damaged, of other days, of other codes; then cut."""
    day = 86_400 * 2
    samples = signal(3 * day, 2)
    low = START * 2 // 10**9
    named = []
    for k in range(3):
        begin = START + k * DAY_NS
        parts = records_of(miniseed(samples[k * day : (k + 1) * day], begin, rate=2.0))
        if k == 1:
            for row, (at, value) in {
                10: (70, 0xFF),
                20: (23, 1),
                30: (9, 0x41),
                40: (54, 14),
                50: (24, 0),
            }.items():
                parts[row][at] = value
            del parts[-40:], parts[-1][300:]
        (tmp_path / str(k)).write_bytes(b"".join(parts))
        named.append(NamedObject(str(k), begin, begin + DAY_NS))
    reading = Objects(LocalStore(str(tmp_path))).gather(TRACE, named, START, START + 3 * DAY_NS)
    waveform = assemble(reading.fragments, 2, low, low + 3 * day)
    has = waveform.mask[0]
    np.testing.assert_array_equal(waveform.data[0, has], samples[has])
    assert has[:day].all() and has[2 * day :].all() and not has[day : 2 * day].all()
    assert waveform.conflict is None
    assert len(reading.repairs) == 5
    assert {flag for flag, _, _ in reading.flags} == {Flag.SALVAGED, Flag.TRUNCATED}
    for _, low_ns, high_ns in reading.flags:
        assert START + DAY_NS <= low_ns < high_ns <= START + 2 * DAY_NS


def test_skipped_records_are_counted_where_they_stood(tmp_path: Path) -> None:
    parts = records_of(miniseed(signal(9000), START))
    starts = table(b"".join(parts)).start
    parts[3][100] ^= 4  # does not unpack
    parts[6][:48] = bytes(48)  # no header
    parts[9][22:24] = b"\0\1"  # another day
    (tmp_path / "a").write_bytes(b"".join(parts))
    objects = Objects(LocalStore(str(tmp_path)))
    named = [NamedObject("a", START, START + 9000 * STEP)]
    reading = objects.gather(TRACE, named, *ALWAYS)
    assert len(reading.repairs) == 3
    assert [(bit, low) for bit, low, _ in reading.flags] == [
        (Flag.SALVAGED, int(starts[k])) for k in (3, 6, 9)
    ]
    for k in range(12):
        one = objects.gather(TRACE, named, int(starts[k]), int(starts[k + 1]))
        inside = [ns for ns in one.repairs if starts[k] <= ns < starts[k + 1]]
        assert len(inside) == (k in (3, 6, 9))
