"""What records say of themselves, and which of their times are believed."""

from __future__ import annotations

import random
import struct

import numpy as np
import pytest

from catalog.schema import Flag
from tests.workers.records import (
    RECORD,
    START,
    STEP,
    Z,
    flagged,
    miniseed,
    noise,
    records_of,
    signal,
    spans,
    table,
    version_3,
)
from workers.decode import BadFormat, decode
from workers.miniseed import scanning
from workers.miniseed.records import COLUMNS, ChannelId
from workers.waveform import assemble


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
