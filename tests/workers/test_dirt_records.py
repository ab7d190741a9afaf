"""Bad records: what a damaged one costs, which rates and clocks are believed, and what is said."""

from __future__ import annotations

import bz2
import gzip
import io
import random
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from obspy import Trace, UTCDateTime
from pymseed import DataEncoding, MS3Record

from catalog.codes import safe_code
from catalog.schema import DAY_NS, Flag, TraceId
from catalog.store import LocalStore
from tests.workers.test_decode import ORIGIN, STEP, Z, miniseed, noise
from tests.workers.test_pieces import in_pieces
from workers.archives.objects import Candidate, Objects
from workers.contents import select, unpack_selected
from workers.decode import ALWAYS, BadFormat, Contents, Decoded, decode, extents, look_into
from workers.foreign import PLAIN, read_here
from workers.miniseed import scanning
from workers.miniseed.body import Held
from workers.miniseed.records import COLUMNS, ChannelId, Records
from workers.waveform import Waveform, assemble

RECORD = 512
TRACE = TraceId("XX", "SYN", "", "HH")
START = ORIGIN * STEP


def signal(n: int, seed: int = 0) -> NDArray[np.int32]:
    """Loud and quiet, so that records hold different numbers of samples."""
    loud = 10 ** (1.5 + np.sin(np.arange(n) / 300 + seed))
    return np.cumsum(np.random.default_rng(seed).normal(size=n) * loud).astype(np.int32)


def records_of(body: bytes, length: int = RECORD) -> list[bytearray]:
    return [bytearray(body[at : at + length]) for at in range(0, len(body), length)]


def table(body: bytes) -> Records:
    return scanning.scan(Held(body))


def waveform_of(decoded: Decoded, count: int, rate: float = 100.0) -> Waveform:
    fragments = [f for channel in decoded.channels.values() for f in channel.fragments]
    low = START * int(rate) // 10**9
    return assemble(fragments, rate, low, low + count)


def flagged(decoded: Decoded, bit: int, count: int) -> NDArray[np.bool_]:
    """Samples at 100 Hz over which a flag holds."""
    times = START + np.arange(count) * STEP
    found = np.zeros(count, bool)
    for channel in decoded.channels.values():
        for flag, low, high in channel.flags:
            if flag & bit:
                found |= (times >= low) & (times < high)
    return found


def spans(decoded: Decoded, bit: int, codes: ChannelId = Z) -> list[tuple[int, int]]:
    return sorted((a, b) for flag, a, b in decoded.channels[codes].flags if flag == bit)


def stamped(record: bytearray, ns: int) -> None:
    """Another start time for a miniSEED 2 record, to 100 microseconds."""
    days, rest = divmod(ns, DAY_NS)
    year, day = 1970, days
    while day >= (length := 366 if year % 4 == 0 and (year % 100 or not year % 400) else 365):
        day, year = day - length, year + 1
    seconds, ticks = divmod(rest // 100_000, 10_000)
    struct.pack_into(">HHBBB", record, 20, year, day + 1, seconds // 3600, seconds // 60 % 60, 0)
    struct.pack_into(">BxH", record, 26, seconds % 60, ticks)


def rated(record: bytearray, rate: float) -> None:
    """Another sampling rate for a miniSEED 2 record, as factor and multiplier."""
    if float(rate).is_integer():
        struct.pack_into(">hh", record, 32, int(rate), 1)
    else:
        divisor = 1000 if rate < 32 else 100
        struct.pack_into(">hh", record, 32, round(rate * divisor), -divisor)


# One damaged record


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


def test_records_of_other_lengths_swallow_nothing_and_are_read() -> None:
    parts = [noise(3000, seed, 200) for seed in range(4)]
    body = b"".join(
        miniseed(part, START + 3000 * k * STEP, reclen=length)
        for k, (part, length) in enumerate(zip(parts, (512, 4096, 256, 8192), strict=True))
    )
    decoded = decode(body, "object")
    (fragment,) = decoded.channels[Z].fragments
    np.testing.assert_array_equal(fragment.samples, np.concatenate(parts))
    assert not decoded.detail and not decoded.channels[Z].flags


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
    candidates = []
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
        candidates.append(Candidate(str(k), begin, begin + DAY_NS))
    reading = Objects(LocalStore(str(tmp_path))).gather(
        TRACE, candidates, START, START + 3 * DAY_NS
    )
    waveform = assemble(reading.fragments, 2, low, low + 3 * day)
    has = waveform.mask[0]
    np.testing.assert_array_equal(waveform.data[0, has], samples[has])
    assert has[:day].all() and has[2 * day :].all() and not has[day : 2 * day].all()
    assert waveform.conflict is None
    assert len(reading.repairs) == 5
    assert {flag for flag, _, _ in reading.flags} == {Flag.SALVAGED, Flag.TRUNCATED}
    for _, low_ns, high_ns in reading.flags:
        assert START + DAY_NS <= low_ns < high_ns <= START + 2 * DAY_NS


# Rates


def chain_at(header: float, true: float, n: int = 60_000, jitter: int = 0) -> bytes:
    """A file timed for one rate whose headers say another."""
    parts = records_of(miniseed(signal(n), START))
    counts = table(b"".join(parts)).count
    before = np.cumsum(counts) - counts
    rng = random.Random(1)
    for part, at in zip(parts, before.tolist(), strict=True):
        stamped(part, START + round(at * 1e9 / true) + rng.randint(-jitter, jitter))
        rated(part, header)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("header", "true", "rate"),
    [
        (100.0, 100.0, 100.0),
        (99.99, 100.0, 100.0),
        (100.02, 100.0, 100.0),
        (100.02, 100.0004, 100.0),  # a clock that drifts
        (99.99, 99.99, 99.99),  # the times confirm it
        (100.02, 100.02, 100.02),
        (100.0, 99.97, 100.0),  # a drifting clock, no other rate
        (50.0, 100.0, 100.0),
        (200.0, 100.0, 100.0),
        (100.0, 50.0, 50.0),
        (100.0, 102.0, 102.0),
        (19.999, 19.999, 19.999),
        (19.999, 19.9985, 19.999),  # nearer to its header than to 20
        (62.5, 62.5, 62.5),
        (20.0, 20.0, 20.0),
    ],
)
def test_the_times_of_records_tell_the_rate(header: float, true: float, rate: float) -> None:
    body = chain_at(header, true, jitter=200_000)
    decoded = decode(body, "object")
    fragments = decoded.channels[Z].fragments
    assert {f.rate for f in fragments} == {rate}
    samples = signal(60_000)
    np.testing.assert_array_equal(np.concatenate([f.samples for f in fragments]), samples)
    if rate in (20.0, 50.0, 100.0) and true == rate:
        assert len(fragments) == 1
    bits = {flag for flag, _, _ in decoded.channels[Z].flags}
    assert bits == ({Flag.RATE_CORRECTED} if rate != header else set())
    assert bool(decoded.detail) == (rate != header)


@pytest.mark.parametrize(
    ("held", "lost", "header", "true"),
    [
        (99, 1, 100, 100),  # as long as 99 Hz would be
        (49, 1, 100, 100),
        (95, 5, 100, 100),
        (95, 5, 20, 20),
        (100, 25, 100, 80),  # a quarter of a record is no loss
        (100, 100, 100, 50),
        (99, 1, 100.5, 99),  # nobody means such a rate
    ],
)
def test_a_loss_after_every_record_is_no_other_rate(
    held: int, lost: int, header: float, true: float
) -> None:
    """Nor is an outage among them."""
    rate = round(header)
    first = [k * (held + lost) + (k >= 20) * 600 * rate for k in range(40)]
    parts = []
    for k, at in enumerate(first):
        body = miniseed(noise(held, k), START + at * 10**9 // rate, encoding="INT32")
        (record,) = records_of(body, len(body))
        rated(record, header)
        parts.append(bytes(record))
    decoded = decode(b"".join(parts), "object")
    fragments = decoded.channels[Z].fragments
    assert {f.rate for f in fragments} == {true}
    if header == true:
        assert [len(f.samples) for f in fragments] == [held] * 40
        assert not decoded.channels[Z].flags and not decoded.detail
        low = START * int(true) // 10**9
        starts = [f.start - low for f in fragments]
        assert starts == first
    else:
        assert {bit for bit, _, _ in decoded.channels[Z].flags} == {Flag.RATE_CORRECTED}


def test_a_rate_that_flutters_is_one_chain() -> None:
    parts = records_of(chain_at(100.0, 100.0))
    for k, part in enumerate(parts):
        rated(part, (99.99, 100.0, 100.01, 99.97 + 0.02 * (k % 5))[k % 4])
    for few in (len(parts), 20):
        decoded = decode(b"".join(parts[:few]), "object")
        (fragment,) = decoded.channels[Z].fragments
        assert fragment.rate == 100.0
        np.testing.assert_array_equal(fragment.samples, signal(60_000)[: len(fragment.samples)])
        low = min(a for _, a, _ in decoded.channels[Z].flags)
        assert low == START and {f for f, _, _ in decoded.channels[Z].flags} == {
            Flag.RATE_CORRECTED
        }


def test_a_day_that_changes_its_rate_is_not_corrected() -> None:
    first = miniseed(signal(20_000), START, rate=50.0)
    second = miniseed(signal(30_000, 1), START + 400 * 10**9, rate=100.0)
    decoded = decode(first + second, "object")
    assert [(f.rate, len(f.samples)) for f in decoded.channels[Z].fragments] == [
        *[(50.0, 20_000), (100.0, 30_000)]
    ]
    assert not decoded.detail and not decoded.channels[Z].flags


def test_a_recorder_that_sleeps_between_records_is_believed() -> None:
    """A second of 100 samples in every ten, and two streams of other rates in turn."""
    body = b"".join(
        miniseed(noise(100, k), START + 10 * k * 10**9, encoding="INT32") for k in range(40)
    )
    assert {f.rate for f in decode(body, "object").channels[Z].fragments} == {100.0}
    both = b"".join(
        miniseed(noise(100, k), START + k * 10**9, encoding="INT32")
        + miniseed(noise(50, k), START + k * 10**9 + 5 * 10**8, rate=50.0, encoding="INT32")
        for k in range(40)
    )
    fragments = decode(both, "object").channels[Z].fragments
    assert sorted((f.rate, len(f.samples)) for f in fragments) == [(50.0, 2000), (100.0, 4000)]


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([(99.99, 100.0), (50.0, 100.0), (200.0, 100.0), (100.0, 100.0)]),
    st.integers(0, 2**32),
    st.integers(-10, 11_000),
    st.integers(1, 12_000),
)
def test_corrections_do_not_depend_on_the_span_or_the_order(
    rates: tuple[float, float], seed: int, begin: int, count: int
) -> None:
    parts = records_of(chain_at(*rates, n=12_000))
    rng = random.Random(seed)
    for _ in range(2):
        parts[rng.randrange(len(parts))][rng.randrange(20, 64)] = rng.randrange(256)
    body = Held(b"".join(parts))
    found = look_into(body, "object")
    assert isinstance(found, Contents)
    whole = unpack_selected(body, found, None, select(body, found, None, *ALWAYS))
    low, high = START + begin * STEP, START + (begin + count) * STEP
    part = unpack_selected(body, found, None, select(body, found, None, low, high))
    for rate in (50, 100, 200):
        a, b = (START + k * STEP for k in (begin, begin + count))
        first, last = a * rate // 10**9, b * rate // 10**9
        one, other = (
            assemble([f for c in d.channels.values() for f in c.fragments], rate, first, last)
            for d in (whole, part)
        )
        np.testing.assert_array_equal(one.data, other.data)
        np.testing.assert_array_equal(one.mask, other.mask)

    def holding(decoded: Decoded) -> set[tuple[int, int, int]]:
        return {
            flag
            for channel in decoded.channels.values()
            for flag in channel.flags
            if flag[1] < high and flag[2] > low
        }

    assert holding(part) <= holding(whole)


# What records say of themselves


def test_what_a_record_says_of_itself_is_flagged_over_its_span() -> None:
    parts = records_of(miniseed(signal(8000), START))
    records = table(b"".join(parts))
    says = {
        2: (36, 0x01, Flag.CALIBRATION),
        4: (36, 0x10, Flag.CLOCK),  # a leap second in it
        5: (38, 0x80, Flag.CLOCK),  # questionable
        7: (38, 0x01, Flag.CLIPPED),
        8: (38, 0x02, Flag.CLIPPED),
        10: (38, 0x04, Flag.SPIKE),
        11: (38, 0x08, Flag.SPIKE),
        13: (38, 0x10, Flag.FILLED),
    }
    for k, (at, bits, _) in says.items():
        parts[k][at] |= bits
    decoded = decode(b"".join(parts), "object")
    for flag in {flag for _, _, flag in says.values()}:
        expected = np.zeros(8000, bool)
        for k, (_, _, own) in says.items():
            begin = int(records.count[:k].sum())
            expected[begin : begin + int(records.count[k])] |= own == flag
        np.testing.assert_array_equal(flagged(decoded, flag, 8000), expected)
    assert not decoded.detail
    np.testing.assert_array_equal(decoded.channels[Z].fragments[0].samples, signal(8000))


def test_a_lost_lock_counts_only_where_the_digitiser_tells_it() -> None:
    parts = records_of(miniseed(signal(60_000), START))
    assert not decode(b"".join(parts), "object").channels[Z].flags
    for part in parts:
        part[37] |= 0x20
    assert not decode(b"".join(parts), "object").channels[Z].flags
    records = table(b"".join(parts))
    for part in parts[20:23]:
        part[37] &= ~0x20 & 0xFF
    decoded = decode(b"".join(parts), "object")
    assert spans(decoded, Flag.CLOCK) == [(int(records.start[20]), int(records.start[23]))]
    parts[24][37] &= ~0x20 & 0xFF  # within a minute: one doubt, not two
    decoded = decode(b"".join(parts), "object")
    assert spans(decoded, Flag.CLOCK) == [(int(records.start[20]), int(records.start[25]))]


@pytest.mark.parametrize("kind", [300, 310, 320, 390])
@pytest.mark.parametrize("walked", [False, True])
def test_blockettes_of_a_calibration(
    kind: int, walked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = []
    for k in range(12):
        record = records_of(miniseed(noise(40, k), START + 40 * k * STEP, encoding="INT32"))[0]
        (data,) = struct.unpack_from(">H", record, 44)
        payload = record[data : data + 160]
        head = record[:64]
        struct.pack_into(">BBBBiHH", head, 36, 0, 0, 0, 2, 0, 128, 48)
        if k in (5, 6):
            struct.pack_into(">HH", head, 48, 1000, 56)
            head[56:64] = struct.pack(">HH4x", kind, 0)
        parts.append((head.ljust(128, b"\0") + payload).ljust(RECORD, b"\0"))
    if walked:
        monkeypatch.setattr(scanning, "equal_records", lambda *_: None)
    decoded = decode(b"".join(parts), "object")
    np.testing.assert_array_equal(
        decoded.channels[Z].fragments[0].samples, np.concatenate([noise(40, k) for k in range(12)])
    )
    assert spans(decoded, Flag.CALIBRATION) == [(START + 200 * STEP, START + 280 * STEP)]


def test_marks_are_the_same_record_by_record() -> None:
    rng = random.Random(3)
    parts = records_of(miniseed(signal(20_000), START))
    for part in parts:
        part[36:39] = bytes(rng.randrange(256) & ~2 for _ in range(3))
        part[26] = rng.choice([10, 60])
    body = b"".join(parts)
    uniform = table(body)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scanning, "equal_records", lambda *_: None)
        walked = table(body)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(uniform, name), getattr(walked, name), name)
    assert len(set(uniform.marks.tolist())) > 10


def version_3(samples: NDArray[np.int32], start_ns: int, flags: int) -> bytes:
    record = MS3Record(reclen=RECORD, encoding=DataEncoding.STEIM2)
    record.sourceid = "FDSN:XX_SYN__H_H_Z"
    record.starttime = start_ns
    record.samprate = 100.0
    record.formatversion = 3
    record.flags = flags
    return b"".join(bytes(part) for part in record.generate(data_samples=samples, sample_type="i"))


def test_flags_of_miniseed_3() -> None:
    """Calibration, a questionable time tag, and a lock that is lost in the last part."""
    body = b"".join(
        version_3(noise(1000, k), START + k * 1000 * STEP, flags)
        for k, flags in enumerate([0b100, 0b101, 0b100, 0b110, 0b100, 0b000])
    )
    decoded = decode(body, "object")
    part = 1000 * STEP
    assert spans(decoded, Flag.CALIBRATION) == [(START + part, START + 2 * part)]
    assert spans(decoded, Flag.CLOCK) == [(START + 3 * part, START + 6 * part)]  # within a minute


# Overlaps


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 4000), st.sampled_from([0, 4_000_000, -3_000_000]))
def test_a_conflict_does_not_depend_on_the_order_of_records(
    seed: int, begin: int, phase: int
) -> None:
    first = records_of(miniseed(signal(5000), START))
    second = records_of(miniseed(signal(3000, 1), START + begin * STEP + phase))
    third = records_of(miniseed(signal(2000, 2), START + (begin + 500) * STEP))
    everything = [*first, *second, *third]
    orders = [
        everything,
        [*everything[::-1]],
        random.Random(seed).sample(everything, k=len(everything)),
    ]
    found = [waveform_of(decode(b"".join(order), "object"), 7500) for order in orders]
    assert found[0].conflict is not None and found[0].conflict.any()
    for other in found[1:]:
        assert other.conflict is not None
        np.testing.assert_array_equal(found[0].data, other.data)
        np.testing.assert_array_equal(found[0].mask, other.mask)
        np.testing.assert_array_equal(found[0].conflict, other.conflict)


def test_a_conflict_does_not_depend_on_the_order_of_objects(tmp_path: Path) -> None:
    for k, (count, begin) in enumerate([(5000, 0), (3000, 1000), (2000, 1500)]):
        (tmp_path / str(k)).write_bytes(miniseed(signal(count, k), START + begin * STEP))
    found = []
    for order in ("012", "210", "120"):
        candidates = [Candidate(key, START, START + 5000 * STEP) for key in order]
        reading = Objects(LocalStore(str(tmp_path))).gather(TRACE, candidates, *ALWAYS)
        found.append(assemble(reading.fragments, 100, ORIGIN, ORIGIN + 5000))
    for other in found[1:]:
        np.testing.assert_array_equal(found[0].data, other.data)
        np.testing.assert_array_equal(found[0].mask, other.mask)


def test_identical_overlaps_are_one_and_what_was_sent_again_is_counted(tmp_path: Path) -> None:
    samples = signal(6000)
    parts = records_of(miniseed(samples, START))
    again = [bytearray(part) for part in parts[3:6]]
    for part in again:
        part[:6] = b"000999"
    repacked = miniseed(samples[1234:3210], START + 1234 * STEP)
    (tmp_path / "a").write_bytes(b"".join([*parts[:7], *again, *parts[7:]]) + repacked)
    (tmp_path / "b").write_bytes(b"".join(parts[2:4]))  # and once more, beside it
    starts = table(b"".join(parts)).start
    objects = Objects(LocalStore(str(tmp_path)))
    candidates = [Candidate(key, START, START + 6000 * STEP) for key in ("a", "b")]
    reading = objects.gather(TRACE, candidates, *ALWAYS)
    waveform = assemble(reading.fragments, 100, ORIGIN, ORIGIN + 6000)
    np.testing.assert_array_equal(waveform.data[0], samples)
    assert waveform.conflict is None and not reading.flags
    assert len(reading.repairs) == 3
    twins = [int(starts[k]) for k in (3, 4, 5)]
    assert sorted(reading.repairs) == twins
    inner = objects.gather(TRACE, candidates, int(starts[4]), int(starts[5]))
    assert twins[1] in inner.repairs


def test_skipped_records_are_counted_where_they_stood(tmp_path: Path) -> None:
    parts = records_of(miniseed(signal(9000), START))
    starts = table(b"".join(parts)).start
    parts[3][100] ^= 4  # does not unpack
    parts[6][:48] = bytes(48)  # no header
    parts[9][22:24] = b"\0\1"  # another day
    (tmp_path / "a").write_bytes(b"".join(parts))
    objects = Objects(LocalStore(str(tmp_path)))
    candidates = [Candidate("a", START, START + 9000 * STEP)]
    reading = objects.gather(TRACE, candidates, *ALWAYS)
    assert len(reading.repairs) == 3
    assert [(bit, low) for bit, low, _ in reading.flags] == [
        (Flag.SALVAGED, int(starts[k])) for k in (3, 6, 9)
    ]
    for k in range(12):
        one = objects.gather(TRACE, candidates, int(starts[k]), int(starts[k + 1]))
        inside = [ns for ns in one.repairs if starts[k] <= ns < starts[k + 1]]
        assert len(inside) == (k in (3, 6, 9))


# Times


def test_days_in_one_file_are_cut_at_its_own_with_an_hour_to_spill(tmp_path: Path) -> None:
    samples = noise(2 * 86_400 * 2, 1)
    (tmp_path / "a").write_bytes(miniseed(samples, START, rate=2.0, reclen=4096))
    (tmp_path / "b").write_bytes(miniseed(samples[2 * 86_400 :], START + DAY_NS, rate=2.0))
    candidates = [
        Candidate(key, START + k * DAY_NS, START + (k + 1) * DAY_NS)
        for k, key in enumerate(("a", "b"))
    ]
    objects = Objects(LocalStore(str(tmp_path)))
    reading = objects.gather(TRACE, candidates, START, START + 2 * DAY_NS)
    low = START * 2 // 10**9
    waveform = assemble(reading.fragments, 2, low, low + len(samples))
    np.testing.assert_array_equal(waveform.data[0], samples)
    assert waveform.conflict is None
    assert "more than an hour outside of its day" in reading.detail[0][0]
    alone = objects.gather(TRACE, candidates[:1], START, START + 2 * DAY_NS)
    waveform = assemble(alone.fragments, 2, low, low + len(samples))
    assert waveform.mask[0].sum() == 2 * (86_400 + 3600)


def test_a_leap_second_is_flagged_and_loses_only_what_it_covers() -> None:
    """Records of two seconds over the end of 2016: 23:59:60 is the next day's first second."""
    midnight = 1_483_228_800 * 10**9
    seconds = [
        -6,
        -4,
        -2,
        0,
        1,
        3,
        5,
    ]  # POSIX; the third lasts to 23:59:60, the fourth starts there
    parts = []
    for k, second in enumerate(seconds):
        record = records_of(
            miniseed(noise(200, k), midnight + second * 10**9, encoding="INT32", reclen=1024), 1024
        )[0]
        if k == 3:
            struct.pack_into(">HHBBB", record, 20, 2016, 366, 23, 59, 60)
        parts.append(record)
    decoded = decode(b"".join(parts), "object")
    assert spans(decoded, Flag.CLOCK) == [(midnight, midnight + 2 * 10**9)]
    fragments = decoded.channels[Z].fragments
    low = midnight // STEP - 600
    waveform = assemble(fragments, 100, low, low + 1300)
    assert waveform.conflict is not None
    doubtful = np.flatnonzero(~waveform.mask[0])
    assert doubtful.min() >= 700 and doubtful.max() < 800  # one second is there twice


@pytest.mark.parametrize("year", [1900, 1969, 2100, 2222])
def test_years_without_digital_records_are_skipped_with_a_flag(year: int) -> None:
    samples = signal(5000)
    parts = records_of(miniseed(samples, START))
    records = table(b"".join(parts))
    struct.pack_into(">H", parts[4], 20, year)
    decoded = decode(b"".join(parts), "object")
    hole = (int(records.start[4]), int(records.start[5]))
    assert spans(decoded, Flag.SALVAGED) == [hole]
    assert sum(len(f.samples) for f in decoded.channels[Z].fragments) == 5000 - records.count[4]
    for k, part in enumerate(parts):
        struct.pack_into(">H", part, 20, 1950 + k % 2)
    with pytest.raises(BadFormat, match="damaged headers"):
        decode(b"".join(parts), "object")


def test_a_channel_without_a_time_is_flagged_beside_a_good_one() -> None:
    lost = ChannelId("XX", "SYN", "", "HHN")
    parts = records_of(miniseed(signal(3000), START, lost))
    for part in parts:
        struct.pack_into(">H", part, 20, 1950)
    decoded = decode(b"".join(parts) + miniseed(signal(3000), START), "object")
    assert not decoded.channels[lost].fragments
    assert spans(decoded, Flag.SALVAGED, lost) == [(START, START + 3000 * STEP)]
    assert not decoded.channels[Z].flags
    assert f"all {len(parts)} records of XX.SYN..HHN have damaged headers" in decoded.said[0]
    with pytest.raises(BadFormat, match="damaged headers") as told:
        decode(b"".join(map(bytes, parts)), "object")
    assert str(told.value).count("object") == 1, "the object is named once"


# Codes


@pytest.mark.parametrize(
    ("network", "station", "location", "code", "trace"),
    [
        (b"XX", b"S\xe9N  ", b"  ", b"HHZ", "XX.S_xE9_N..HH"),
        (b"  ", b"     ", b"  ", b"HHZ", "_._..HH"),
        (b"\0\0", b"AB\0\0\0", b"00", b"bhz", "_.AB.00.BH"),
        (b"..", b"../..", b"..", b"HHZ", "_x2E__x2E_._x2E__x2E__x2F__x2E__x2E_._x2E__x2E_.HH"),
        (b"X/", b"A\0B\n\x7f", b"10", b"H/Z", "X_x2F_.A_x00_B_x0A__x7F_.10.H_x2F_"),
        (b"XX", b"_    ", b"__", b"HHZ", "XX._x5F_.__.HH"),
    ],
)
def test_any_codes_name_a_trace_that_is_safe_in_a_path(
    network: bytes, station: bytes, location: bytes, code: bytes, trace: str
) -> None:
    body = bytearray(miniseed(noise(100), START))
    body[8:20] = station + location + code + network
    decoded = decode(bytes(body), "object")
    ((codes, channel),) = decoded.channels.items()
    assert str(codes.trace) == trace and codes.component == "Z"
    np.testing.assert_array_equal(channel.fragments[0].samples, noise(100))
    assert not decoded.detail
    assert TraceId.parse(trace) == codes.trace


@given(st.text(max_size=8), st.text(max_size=8))
def test_different_codes_stay_different_and_safe(one: str, other: str) -> None:
    assert (safe_code(one) == safe_code(other)) == (one == other)
    assert set(safe_code(one)) <= set(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
    )
    assert safe_code(safe_code(one)) == safe_code(one) or "_" in safe_code(one)
    assert safe_code(one) != "_"


@pytest.mark.parametrize(
    ("code", "component"),
    [(b"bhz", "Z"), (b"bh1", "1"), (b"HHu", "U"), (b"HHV", "V"), (b"HH3", "3")],
)
def test_components_are_in_upper_case_and_none_is_dropped(code: bytes, component: str) -> None:
    body = bytearray(miniseed(noise(100), START))
    body[15:18] = code
    ((codes, channel),) = decode(bytes(body), "object").channels.items()
    assert (channel.fragments[0].component, codes.trace.band) == (
        component,
        code[:2].decode().upper(),
    )


# Objects


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "the object is empty"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "HTML or XML"),
        (b'{"error": "expired token"}', "JSON"),
        (gzip.compress(miniseed(noise(1000), START)), "a gzip file: unpack it"),
        (bz2.compress(miniseed(noise(1000), START)), "a bzip2 file"),
        (bytes(4096), "no known waveform format"),
        (b"000001V 0100", "no known waveform format|inside"),
    ],
)
def test_an_object_that_is_no_waveform_is_named(body: bytes, word: str) -> None:
    with pytest.raises(BadFormat, match=word):
        decode(body, "object")


def test_a_full_seed_volume_loses_nothing_and_flags_nothing() -> None:
    samples = signal(3000)
    control = [
        f"{number:06d}{kind}".encode().ljust(4096, b" ")
        for number, kind in enumerate(["V ", "A ", "A*", "S ", "S*", "T "], 1)
    ]
    data = miniseed(samples, START, reclen=4096)
    decoded = decode(b"".join(control) + data + control[-1], "object")
    (fragment,) = decoded.channels[Z].fragments
    np.testing.assert_array_equal(fragment.samples, samples)
    assert not decoded.channels[Z].flags and not decoded.detail
    with pytest.raises(BadFormat):
        decode(b"".join(control), "dataless")


def test_encodings_lengths_byte_orders_and_versions_in_one_file() -> None:
    parts = [signal(900, k) for k in range(6)]
    codes = {"network": "XX", "station": "SYN", "channel": "HHZ", "sampling_rate": 100.0}
    little = io.BytesIO()
    Trace(parts[5], {**codes, "starttime": UTCDateTime(ns=START + 4500 * STEP)}).write(
        little, "MSEED", encoding="INT32", reclen=RECORD, byteorder="<"
    )
    body = b"".join(
        [
            miniseed(parts[0], START, encoding="STEIM1"),
            miniseed(parts[1], START + 900 * STEP, encoding="INT32", reclen=4096),
            miniseed(parts[2], START + 1800 * STEP, encoding="STEIM2", reclen=256),
            version_3(parts[3], START + 2700 * STEP, 0),
            miniseed(parts[4], START + 3600 * STEP, reclen=1024),
            little.getvalue(),
        ]
    )
    decoded = decode(body, "object")
    (fragment,) = decoded.channels[Z].fragments
    np.testing.assert_array_equal(fragment.samples, np.concatenate(parts))
    assert not decoded.detail and not decoded.channels[Z].flags


def test_logs_and_records_without_samples_are_no_damage() -> None:
    parts = records_of(miniseed(signal(5000), START))
    log = bytearray(parts[3])
    log[8:18] = b"SYN    LOG"
    log[30:36] = bytes(6)
    log[52] = 0
    empty = bytearray(parts[4])
    empty[30:32] = bytes(2)
    decoded = decode(b"".join([*parts[:4], log, empty, *parts[4:]]), "object")
    (fragment,) = decoded.channels[Z].fragments
    np.testing.assert_array_equal(fragment.samples, signal(5000))
    assert not decoded.detail and not decoded.channels[Z].flags
    later = miniseed(signal(5000), START + 3600 * 10**9)  # and none where data pause
    decoded = decode(b"".join([*parts, empty]) + later, "object")
    assert not decoded.detail and not decoded.channels[Z].flags


def test_an_object_of_an_encoding_that_nothing_reads_is_bad() -> None:
    parts = records_of(miniseed(signal(3000), START))
    for part in parts:
        part[52] = 2  # 24-bit integers
    with pytest.raises(BadFormat, match="encoding 2") as told:
        decode(b"".join(parts), "object")
    assert str(told.value).count("object") == 1


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_whatever_is_flipped_decoding_ends_with_samples_or_bad_format(
    seed: int, flips: int
) -> None:
    rng = random.Random(seed)
    body = bytearray(miniseed(signal(2000), START) + version_3(noise(500), START + 2000 * STEP, 1))
    for _ in range(flips):
        body[rng.randrange(len(body))] = rng.randrange(256)
    del body[rng.randrange(len(body)) :]
    try:
        decoded = decode(bytes(body), "object")
    except BadFormat:
        return
    assert sum(len(f.samples) for c in decoded.channels.values() for f in c.fragments) <= 4000


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


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), st.integers(1, 20))
def test_garbage_in_sac_is_bounded(seed: int, flips: int) -> None:
    body = bytearray(garbled("SAC", seed, flips))
    said = read_here(bytes(body), PLAIN)
    assert sum(len(trace.samples) for trace in said[0]) <= 2 * 3000


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
