"""Records and objects that overlap: equal ones are one, others a conflict, in any order."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.schema import DAY_NS
from catalog.store import LocalStore
from tests.workers.records import (
    ORIGIN,
    START,
    STEP,
    TRACE,
    fragments_of,
    miniseed,
    noise,
    records_of,
    signal,
    table,
    waveform_of,
)
from workers.archives.objects import NamedObject, Objects
from workers.decode import ALWAYS, decode
from workers.waveform import assemble


def test_conflicting_records_give_overlapping_fragments() -> None:
    a, b = noise(3000, 1), noise(1000, 2)
    body = miniseed(a, ORIGIN * STEP) + miniseed(b, (ORIGIN + 1000) * STEP)
    waveform = assemble(fragments_of(body), 100, ORIGIN, ORIGIN + 3000)
    assert waveform.conflict is not None
    np.testing.assert_array_equal(
        np.flatnonzero(waveform.conflict), 1000 + np.flatnonzero(a[1000:2000] != b)
    )


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
        named = [NamedObject(key, START, START + 5000 * STEP) for key in order]
        reading = Objects(LocalStore(str(tmp_path))).gather(TRACE, named, *ALWAYS)
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
    named = [NamedObject(key, START, START + 6000 * STEP) for key in ("a", "b")]
    reading = objects.gather(TRACE, named, *ALWAYS)
    waveform = assemble(reading.fragments, 100, ORIGIN, ORIGIN + 6000)
    np.testing.assert_array_equal(waveform.data[0], samples)
    assert waveform.conflict is None and not reading.flags
    assert len(reading.repairs) == 3
    twins = [int(starts[k]) for k in (3, 4, 5)]
    assert sorted(reading.repairs) == twins
    inner = objects.gather(TRACE, named, int(starts[4]), int(starts[5]))
    assert twins[1] in inner.repairs


def test_days_in_one_file_are_cut_at_its_own_with_an_hour_to_spill(tmp_path: Path) -> None:
    samples = noise(2 * 86_400 * 2, 1)
    (tmp_path / "a").write_bytes(miniseed(samples, START, rate=2.0, reclen=4096))
    (tmp_path / "b").write_bytes(miniseed(samples[2 * 86_400 :], START + DAY_NS, rate=2.0))
    named = [
        NamedObject(key, START + k * DAY_NS, START + (k + 1) * DAY_NS)
        for k, key in enumerate(("a", "b"))
    ]
    objects = Objects(LocalStore(str(tmp_path)))
    reading = objects.gather(TRACE, named, START, START + 2 * DAY_NS)
    low = START * 2 // 10**9
    waveform = assemble(reading.fragments, 2, low, low + len(samples))
    np.testing.assert_array_equal(waveform.data[0], samples)
    assert waveform.conflict is None
    assert "more than an hour outside of its day" in reading.detail[0][0]
    alone = objects.gather(TRACE, named[:1], START, START + 2 * DAY_NS)
    waveform = assemble(alone.fragments, 2, low, low + len(samples))
    assert waveform.mask[0].sum() == 2 * (86_400 + 3600)
