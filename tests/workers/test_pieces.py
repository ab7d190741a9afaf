"""Objects read in pieces: the same samples as whole, each byte about once, one version only."""

from __future__ import annotations

import os
import random
from collections import Counter
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from catalog.schema import DAY_NS, TraceId, day_start_ns
from catalog.store import LocalStore, StoreUnavailable, open_store
from catalog.store import Part as Bytes
from catalog.verbs import Room
from tests.workers.records import ORIGIN, STEP, Z, in_pieces, miniseed, noise
from workers import decode as decoding
from workers.archives import TooMuch
from workers.archives import objects as gathering
from workers.archives.objects import NamedObject, Objects
from workers.contents import select, unpack_selected
from workers.decode import ALWAYS, BadFormat, Contents, Decoded, look_into
from workers.miniseed import scanning
from workers.miniseed.body import Held
from workers.miniseed.records import COLUMNS, ChannelId
from workers.waveform import Waveform, assemble, grid_index

TRACE = TraceId("XX", "SYN", "", "HH")
N = ChannelId("XX", "SYN", "", "HHN")
LENGTH = 6000  # samples of each component
WHOLE = NamedObject("object", ORIGIN * STEP, (ORIGIN + LENGTH) * STEP)


DAMAGE = ("bit", "header", "extra", "missing", "end")


def damaged(seed: int, length: int, kinds: tuple[str, str], twice: bool, damage: list[str]) -> Held:
    """Two components of a minute in one object; some records sent twice, in any order; damage."""
    rng = random.Random(seed)
    records: list[bytes] = []
    for number, (codes, kind) in enumerate(zip((Z, N), kinds, strict=True)):
        samples: NDArray[np.generic] = noise(LENGTH, number)
        if kind == "FLOAT32":
            samples = samples.astype(np.float32)
            samples[rng.randrange(LENGTH)] = np.nan
        start = ORIGIN * STEP + number * 3_000_000
        written = miniseed(samples, start, codes, 100.0, kind, length)
        records += [written[at : at + length] for at in range(0, len(written), length)]
    if twice:
        records += rng.sample(records, len(records) // 3)
        rng.shuffle(records)
    found = bytearray(b"".join(records))
    for each in damage:
        at = rng.randrange(len(found))
        match each:
            case "bit":
                found[at] ^= 1 << rng.randrange(8)
            case "header":
                found[at // length * length + rng.randrange(64)] = rng.randrange(256)
            case "extra":
                found[at:at] = bytes(rng.randrange(900))
            case "missing":
                del found[at : at + rng.randrange(900)]
            case "end":
                del found[max(at, 4 * length) :]
    return Held(bytes(found))


def read(found: Contents | Decoded, whole: Held, start_ns: int, end_ns: int) -> Decoded:
    if isinstance(found, Decoded):
        return found
    return unpack_selected(whole, found, None, select(whole, found, None, start_ns, end_ns))


def samples_of(decoded: Decoded, low: int, high: int) -> tuple[Waveform, list[list[int]]]:
    """The waveform of grid samples [low, high), and at every tenth which flags hold, by channel."""
    fragments = [f for channel in decoded.channels.values() for f in channel.fragments]
    flags = [
        sorted({bit for bit, a, b in channel.flags if a <= index * STEP < b})
        for _, channel in sorted(decoded.channels.items())
        for index in range(low, high, 10)
    ]
    return assemble(fragments, 100, low, high), flags


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.integers(0, 2**32),
    st.sampled_from([256, 512]),
    st.tuples(*[st.sampled_from(["STEIM2", "STEIM1", "INT32", "FLOAT32"])] * 2),
    st.booleans(),
    st.lists(st.sampled_from(DAMAGE), max_size=4),
    st.sampled_from([300, 512, 700, 2048, 5000, 20_000]),
    st.integers(-10, LENGTH),
    st.integers(1, LENGTH),
)
def test_in_pieces_and_in_spans_the_samples_are_those_of_the_whole(
    seed: int,
    length: int,
    kinds: tuple[str, str],
    twice: bool,
    damage: list[str],
    size: int,
    begin: int,
    count: int,
) -> None:
    whole = damaged(seed, length, kinds, twice, damage)
    low, high = ORIGIN + begin, ORIGIN + begin + count
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(scanning, "LOOKAHEAD", 2048)
        one = look_into(whole, "object")
        in_pieces(patched, size)
        other = look_into(whole, "object")
        assert isinstance(one, Contents) and isinstance(other, Contents)
        for name in COLUMNS:
            np.testing.assert_array_equal(
                getattr(one.records, name), getattr(other.records, name), name
            )
        assert one.records.channels == other.records.channels
        assert (one.flags, one.detail) == (other.flags, other.detail)

        parts = read(other, whole, low * STEP, high * STEP)
        patched.undo()
        everything = read(one, whole, *ALWAYS)
    expected, flags = samples_of(everything, low, high)
    found, found_flags = samples_of(parts, low, high)
    assert found.data.shape == expected.data.shape
    np.testing.assert_array_equal(found.mask, expected.mask)
    np.testing.assert_array_equal(found.data.astype(float), expected.data.astype(float))
    assert found_flags == flags
    index = low + np.flatnonzero(expected.mask.any(axis=0))
    np.testing.assert_array_equal(found.offsets_ns(index), expected.offsets_ns(index))


class Counting(LocalStore):
    """A folder that notes what is fetched of it, and can be made to change under its reader."""

    def __init__(self, root: Path, changes: int = 0) -> None:
        super().__init__(str(root))
        self.fetched: Counter[str] = Counter()
        self.longest = 0
        self._changes = changes

    def fetch_part(
        self, key: str, start: int, stop: int, etag: str | None = None, room: Room = bytearray
    ) -> Bytes:
        if etag is not None and self._changes:
            self._changes -= 1
            path = self.root / key
            path.write_bytes(path.read_bytes()[::-1][::-1])
            os.utime(path, ns=(0, 10**9 * (self._changes + 1)))
        part = super().fetch_part(key, start, stop, etag, room)
        self.fetched[key] += len(part.body)
        self.longest = max(self.longest, len(part.body))
        return part


def test_a_large_object_is_never_in_memory_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twenty stations in one object, those of the trace and the span alone are fetched again."""
    stations = [ChannelId("XX", f"S{k}", "", "HHZ") for k in range(19)]
    parts = [miniseed(noise(LENGTH, k), ORIGIN * STEP, one) for k, one in enumerate([*stations, Z])]
    (tmp_path / "object").write_bytes(b"".join(parts))
    size, own = sum(map(len, parts)), len(parts[-1])
    in_pieces(monkeypatch, 4096)
    store = Counting(tmp_path)
    objects = Objects(store)
    reading = objects.gather(TRACE, [WHOLE], ORIGIN * STEP, (ORIGIN + 1000) * STEP)
    waveform = assemble(reading.fragments, 100, ORIGIN, ORIGIN + 1000)
    np.testing.assert_array_equal(waveform.data[0], noise(LENGTH, 19)[:1000])
    assert store.longest <= 4096
    assert store.fetched["object"] < 1.6 * size + own / 3  # the looks ahead, then the span
    before = store.fetched["object"]
    objects.gather(TRACE, [WHOLE], (ORIGIN + 1000) * STEP, (ORIGIN + LENGTH) * STEP)
    assert store.fetched["object"] - before < own + 2048  # what the object holds is remembered


def test_an_object_that_changes_is_begun_again_and_given_up_in_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "object").write_bytes(miniseed(noise(LENGTH), ORIGIN * STEP))
    in_pieces(monkeypatch, 4096)
    reading = Objects(Counting(tmp_path, changes=2)).gather(TRACE, [WHOLE], *ALWAYS)
    np.testing.assert_array_equal(reading.fragments[0].samples, noise(LENGTH))
    assert reading.inputs == {
        str(tmp_path / "object"): open_store(str(tmp_path)).fetch("object")[1]
    }
    with pytest.raises(StoreUnavailable, match="changed 3 times"):
        Objects(Counting(tmp_path, changes=9)).gather(TRACE, [WHOLE], *ALWAYS)


@pytest.mark.parametrize("roomy", [True, False])
def test_days_in_a_row_fetch_every_object_about_once(tmp_path: Path, roomy: bool) -> None:
    first = date(2022, 2, 4)
    rate, count = 2, 2 * 86_400
    days = [first + timedelta(days=k) for k in range(6)]
    for k, day in enumerate(days):
        body_ = miniseed(noise(count, k), day_start_ns(day), Z, float(rate))
        (tmp_path / str(day)).write_bytes(body_)
    named = [NamedObject(str(d), day_start_ns(d), day_start_ns(d) + DAY_NS) for d in days]
    size = (tmp_path / str(first)).stat().st_size
    store = Counting(tmp_path)
    objects = Objects(store, bodies=3 * size if roomy else 0)
    halo = 90 * 10**9
    for k, day in enumerate(days):
        start, end = day_start_ns(day), day_start_ns(day) + DAY_NS
        reading = objects.gather(TRACE, named, start - halo, end + halo)
        low = grid_index(start, rate)
        waveform = assemble(reading.fragments, rate, low, low + count)
        np.testing.assert_array_equal(waveform.data[0], noise(count, k))
    most = 1.05 if roomy else 2.1  # without room for bodies, once for the headers and once more
    assert max(store.fetched.values()) < most * size
    assert set(store.fetched) == {str(day) for day in days}


def test_what_is_known_of_objects_is_kept_up_to_a_limit(tmp_path: Path) -> None:
    for k in range(4):
        (tmp_path / str(k)).write_bytes(miniseed(noise(LENGTH, k), ORIGIN * STEP))
    store = Counting(tmp_path)
    objects = Objects(store, bodies=0, contents=1)
    for k in (0, 1, 2, 3, 0):
        objects.gather(TRACE, [NamedObject(str(k), *ALWAYS)], *ALWAYS)
    size = (tmp_path / "0").stat().st_size
    assert store.fetched["0"] == 2 * size and store.fetched["1"] == size
    assert len(objects._known) == 1


def test_more_samples_than_one_reading_may_have_are_refused_before_they_are_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "object").write_bytes(miniseed(noise(LENGTH), ORIGIN * STEP))
    objects = Objects(LocalStore(str(tmp_path)))
    monkeypatch.setattr(gathering, "MOST_SAMPLES", LENGTH - 1)
    with monkeypatch.context() as patched:
        patched.setattr(gathering, "unpack_selected", None)
        with pytest.raises(TooMuch, match=f"object: {LENGTH} samples"):
            objects.gather(TRACE, [WHOLE], *ALWAYS)
    half = objects.gather(TRACE, [WHOLE], ORIGIN * STEP, (ORIGIN + LENGTH // 2) * STEP)
    assert sum(len(f.samples) for f in half.fragments) < LENGTH


def test_a_large_object_that_is_no_miniseed_is_refused_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decoding, "FOREIGN_BYTES", 10_000)
    with pytest.raises(BadFormat, match=r"10001 bytes that are not miniSEED.*split it"):
        look_into(Held(b"x" * 10_001), "object")
