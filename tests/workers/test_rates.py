"""Which sampling rate is believed: the header, or the times of the records."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.schema import Flag
from tests.workers.records import (
    ORIGIN,
    START,
    STEP,
    Z,
    fragments_of,
    miniseed,
    noise,
    rated,
    records_of,
    signal,
    stamped,
    table,
)
from workers.contents import select, unpack_selected
from workers.decode import ALWAYS, Contents, Decoded, decode, look_into
from workers.miniseed.body import Held
from workers.waveform import assemble, grid_index


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


def test_rates_near_a_whole_number_are_that_number() -> None:
    (fragment,) = fragments_of(miniseed(noise(100), ORIGIN * STEP, rate=100.00001))
    assert fragment.rate == 100.0
    assert fragment.start == grid_index(ORIGIN * STEP, 100.0)
