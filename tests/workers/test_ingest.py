"""Zarr is the miniSEED that it was made from: same samples, masks, conflicts, offsets, any span."""

from __future__ import annotations

import json
import re
import resource
import shutil
import signal
import tempfile
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.schema import DAY_NS, Flag, Outcome, day_of, day_start_ns
from catalog.store import LocalStore, StoreUnavailable, open_store
from tests.workers.ingested import (
    DAY,
    END,
    HH,
    NOISE,
    NOISE_DAY,
    SECOND,
    assert_equal,
    assert_same,
    done,
    miniseed,
    opened,
    put_day,
)
from workers.archives import TooMuch
from workers.archives import objects as gathering
from workers.archives.zarr import FORMAT, group_path
from workers.ingest import ingest


@st.composite
def stretches(draw: st.DrawFn) -> list[tuple[str, int, int, int, int]]:
    """(component, start in ms from the first day, samples, rate index, seed), in three days."""
    midnight = st.sampled_from([0, 1, 2, 3]).map(lambda day: day * 86_400_000)
    near = st.tuples(midnight, st.integers(-300_000, 300_000)).map(sum)
    anywhere = st.integers(0, 3 * 86_400_000 - 1)
    return draw(
        st.lists(
            st.tuples(
                st.sampled_from("ZNE12"),
                st.one_of(near, anywhere),
                st.integers(1, 1500),
                st.sampled_from([0, 0, 0, 1]),
                st.integers(0, 99),
            ),
            min_size=1,
            max_size=8,
        )
    )


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    stretches(),
    st.sampled_from([(1.0, 2.5), (4.0, 0.8)]),
    st.lists(st.tuples(st.integers(0, 2 * 86_400), st.integers(1, 86_400)), min_size=1, max_size=2),
)
def test_zarr_reads_as_the_miniseed_does(
    written: list[tuple[str, int, int, int, int]],
    rates: tuple[float, float],
    spans: list[tuple[int, int]],
) -> None:
    """Gaps, overlaps that agree or not, half samples, two rates, records over midnight."""
    begin = day_start_ns(DAY)
    with tempfile.TemporaryDirectory() as folder:
        source, destination = f"{folder}/sds", f"{folder}/zarr"
        days: dict[tuple[date, str], bytes] = {}
        for component, ms, count, which, seed in written:
            start = begin + ms * 1_000_000
            samples = np.random.default_rng(seed).integers(-99, 99, count).astype(np.int32)
            day = min(max(day_of(start), DAY), END - timedelta(days=1))
            body = miniseed(samples, start, component, rates[which])
            days[day, component] = days.get((day, component), b"") + body
        for (day, component), body in days.items():
            put_day(source, day, component, body)
        states = {one.state for one in done(source, destination)}
        assert states <= {"written", "empty"}
        miniseed_archive, zarr_archive = opened("sds", source), opened("zarr", destination)
        whole = (0, 3 * 86_400)
        around = [(day * 86_400 - 60, 120) for day in (1, 2)]
        for low, seconds in [whole, *around, *spans]:
            high = min(low + seconds, 3 * 86_400)
            span = begin + low * SECOND, begin + high * SECOND
            one, two = (archive.read(HH, *span) for archive in (miniseed_archive, zarr_archive))
            for rate in rates:
                assert_equal(one, two, rate, *span)


@pytest.mark.parametrize("place", ["local", "s3"])
def test_a_day_and_its_spill(place: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """On a path and on S3: a conflict, NaN, a spill into a day without objects, a rerun."""
    root = str(tmp_path) if place == "local" else request.getfixturevalue("s3").url("waves")
    source, destination = f"{root}/sds", f"{root}/zarr"
    begin, rate = day_start_ns(DAY), 10.0
    values = np.random.default_rng(1).normal(size=86_400 * 10 + 35).astype(np.float32)
    values[5000:5010] = np.nan
    put_day(source, DAY, "Z", miniseed(values, begin + 40_000_000, "Z", rate))
    other = np.ones(100, np.float32)
    body = miniseed(values[:9000], begin, "N", rate)
    put_day(source, DAY, "N", body + miniseed(other, begin + 500 * SECOND, "N", rate)[:900])

    first = done(source, destination)
    assert [(one.station_day.day, one.state) for one in first] == [
        (DAY, "written"),
        (DAY + timedelta(days=1), "written"),
    ]
    assert first[1].samples == 35
    assert [one.state for one in done(source, destination)] == ["kept", "kept"]

    miniseed_archive, zarr_archive = opened("sds", source), opened("zarr", destination)
    whole = assert_same(miniseed_archive, zarr_archive, rate, begin, begin + 2 * DAY_NS)
    assert whole.data.dtype == np.float32 and whole.conflict is not None
    assert whole.mask[0, 864_034] and not whole.mask[0, 864_035:].any()
    one, two = (a.read(HH, begin, begin + DAY_NS) for a in (miniseed_archive, zarr_archive))
    assert sorted(one.flags)[0][0] == sorted(two.flags)[0][0] == Flag.NOT_FINITE
    assert {flag[0] for flag in one.flags} == {flag[0] for flag in two.flags}
    assert list(two.inputs) == [open_store(destination).url_of(group_path(HH, DAY))]

    held = list(zarr_archive.holdings(DAY, END))
    assert [(h.trace, h.day) for h in held] == [(HH, DAY), (HH, DAY + timedelta(days=1))]
    entries = list(open_store(destination).list())
    assert sum(h.size for h in held) == sum(entry.size for entry in entries)
    data = [e.key for e in entries if re.search("2022-02-05/[^/]+/10Hz/data/c/", e.key)]
    assert len(data) == 1  # a station-day is one shard object


def test_xarray_opens_a_day_lazily_with_dask_when_asked(tmp_path: Path) -> None:
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    samples = np.arange(36_000, dtype=np.int32)
    put_day(source, DAY, "Z", miniseed(samples, day_start_ns(DAY) + 3600 * SECOND, "Z", 10.0))
    done(source, destination)
    (path,) = Path(destination).glob("XX.SYN..HH/2022-02-05/*/10Hz")
    plain = xarray.open_zarr(path, chunks=None)
    assert plain.data_vars.keys() == {"data", "mask", "offsets"}
    assert plain["data"].dims == plain["mask"].dims == ("component", "time")
    assert (plain["data"].dtype, plain["mask"].dtype) == (np.int32, bool)
    assert plain.attrs["rate"] == 10 and plain.attrs["start_time"].startswith("2022-02-05T00:00:00")
    inside = plain["data"].where(plain["mask"], drop=True)
    np.testing.assert_array_equal(inside.values[0], samples)
    lazy = xarray.open_zarr(path, chunks={})
    assert lazy["data"].chunks is not None
    assert int(lazy["data"].sum().compute()) == samples.sum(dtype=np.int64)


class DiesBeforeTheMarker(LocalStore):
    def create(self, key: str, body: bytes) -> bool:
        raise KeyboardInterrupt(key)


def test_an_interrupted_day_is_not_there_and_is_done_again(tmp_path: Path) -> None:
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    samples = np.arange(36_000, dtype=np.int32)
    put_day(source, DAY, "Z", miniseed(samples, day_start_ns(DAY), "Z", 10.0))
    with pytest.raises(KeyboardInterrupt):
        list(ingest(opened("sds", source), DiesBeforeTheMarker(destination), DAY, END))
    assert any("data/c/" in entry.key for entry in open_store(destination).list())
    archive = opened("zarr", destination)
    span = day_start_ns(DAY), day_start_ns(DAY) + DAY_NS
    assert not list(archive.holdings(DAY, END)) and not archive.read(HH, *span).fragments
    assert [one.state for one in done(source, destination)] == ["written"]
    assert_same(opened("sds", source), archive, 10.0, *span)


@pytest.mark.parametrize("lost", ["data", "mask"])
def test_a_lost_shard_is_told_and_never_read_as_filling(tmp_path: Path, lost: str) -> None:
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    put_day(source, DAY, "Z", miniseed(np.ones(9000, np.int32), day_start_ns(DAY), "Z", 10.0))
    done(source, destination)
    (shard,) = [e.key for e in open_store(destination).list() if f"{lost}/c/" in e.key]
    (Path(destination) / shard).unlink()
    reading = opened("zarr", destination).read(HH, day_start_ns(DAY), day_start_ns(DAY) + DAY_NS)
    (told,) = reading.lost
    assert told.outcome is Outcome.BAD_FORMAT and "ingest it again" in told.why
    assert (told.start_ns, told.end_ns) == (day_start_ns(DAY), day_start_ns(DAY) + DAY_NS)
    assert not reading.fragments
    shutil.rmtree(Path(destination) / group_path(HH, DAY))
    assert [one.state for one in done(source, destination)] == ["written"]
    assert_same(
        opened("sds", source), opened("zarr", destination), 10.0, day_start_ns(DAY), told.end_ns
    )


def test_a_day_of_many_samples_is_read_in_halves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    start, samples = day_start_ns(DAY), NOISE[:NOISE_DAY].copy()
    body = bytearray(miniseed(samples, start + 40_000_000, "Z", 10.0))
    middle = len(body) // 1024
    body[middle * 512 + 100 : middle * 512 + 200] = bytes(100)  # and one is damaged
    put_day(source, DAY, "Z", bytes(body))
    put_day(source, DAY, "N", miniseed(samples[::2].copy(), start, "N", 5.0))
    whole = opened("sds", source).read(HH, start, start + DAY_NS)
    monkeypatch.setattr(gathering, "MOST_SAMPLES", 400_000)
    with pytest.raises(TooMuch):
        opened("sds", source).read(HH, start, start + DAY_NS)
    assert {one.state for one in done(source, destination)} == {"written"}
    found = opened("zarr", destination).read(HH, start, start + DAY_NS)
    for rate in (5.0, 10.0):
        assert_equal(whole, found, rate, start, start + DAY_NS)
    assert (found.flags, found.repairs) == (whole.flags, whole.repairs)
    assert [text for text, _, _ in found.detail] == [text for text, _, _ in whole.detail]


def test_what_cannot_be_written_says_where(tmp_path: Path) -> None:
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    put_day(source, DAY, "Z", miniseed(NOISE[:9000], day_start_ns(DAY), "Z", 10.0))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # as a disk that is full
    try:
        with pytest.raises(StoreUnavailable, match=r"cannot write .*2022-02-05: .*too large"):
            done(source, destination)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert [one.state for one in done(source, destination)] == ["written"]


def _swollen(folder: Path, name: str, how: str) -> None:
    """Metadata of an array, there and consolidated, that announce far more than there is."""
    for path in (folder / name / "zarr.json", folder / "zarr.json"):
        document = json.loads(path.read_text())
        metadata = document
        if path.parent == folder:
            metadata = document["consolidated_metadata"]["metadata"][name]
        if how == "shape":
            metadata["shape"][0] = 2**40
        elif how == "shard":
            metadata["chunk_grid"]["configuration"]["chunk_shape"][-1] *= 2**40
        else:
            codec = metadata["codecs"][0]["configuration"]
            for grid in (codec, metadata["chunk_grid"]["configuration"]):
                grid["chunk_shape"][-1] *= 2**30
        path.write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("name", "how"), [("offsets", "shape"), ("data", "shape"), ("data", "shard"), ("data", "chunk")]
)
def test_metadata_cannot_ask_for_memory(tmp_path: Path, name: str, how: str) -> None:
    source, destination = (str(tmp_path / part) for part in ("sds", "zarr"))
    start = day_start_ns(DAY)
    put_day(source, DAY, "Z", miniseed(np.arange(6000, dtype=np.int32), start, "Z", 100.0))
    done(source, destination)
    (folder,) = Path(destination).glob("*/*/*/100Hz")
    _swollen(folder, name, how)
    (lost,) = opened("zarr", destination).read(HH, start, start + 60 * SECOND).lost
    assert lost.outcome == Outcome.BAD_FORMAT and re.search(f"{name}: (shape|chunks of)", lost.why)


@pytest.mark.parametrize("rate", ["../../elsewhere", "/etc", "..", "100Hz/../../x", "Hz", "1\0Hz"])
def test_a_day_names_no_folder_but_its_own(tmp_path: Path, rate: str) -> None:
    store = open_store(str(tmp_path / "zarr"))
    attributes = {"format": FORMAT, "rates": [rate], "flags": [], "detail": []}
    marker = json.dumps({"attributes": attributes}).encode()
    store.create(f"{group_path(HH, DAY)}/zarr.json", marker)
    reading = opened("zarr", store.url).read(HH, day_start_ns(DAY), day_start_ns(DAY) + SECOND)
    (lost,) = reading.lost
    assert lost.outcome == Outcome.BAD_FORMAT and "not the name of a group" in lost.why


def test_a_day_of_which_no_record_says_when_it_was_is_as_unreadable(tmp_path: Path) -> None:
    """Beside another channel in its object: never as if there were nothing."""
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    start = day_start_ns(DAY)
    damaged = bytearray(miniseed(np.arange(6000, dtype=np.int32), start, "Z", 100.0))
    for at in range(0, len(damaged), 512):
        damaged[at + 20 : at + 22] = (1950).to_bytes(2, "big")
    store = open_store(source)
    name = f"{DAY.year}/XX/SYN/HHZ.D/XX.SYN..HHZ.D.{DAY:%Y.%j}"
    other = miniseed(np.arange(6000, dtype=np.int32), start, "Z", 100.0).replace(b"HHZ", b"BHZ")
    store.create(name, bytes(damaged) + other)
    assert [one.state for one in done(source, destination)] == ["unreadable"]
    reading = opened("zarr", destination).read(HH, start, start + DAY_NS)
    assert not (reading.fragments or reading.lost)
    assert any("HHZ" in text for text, _, _ in reading.detail)
