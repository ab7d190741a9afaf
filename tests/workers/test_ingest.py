"""Zarr is the miniSEED that it was made from: same samples, masks, conflicts, offsets, any span."""

from __future__ import annotations

import io
import json
import re
import resource
import shutil
import signal
import tempfile
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import xarray
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from obspy import Stream, Trace, UTCDateTime

from catalog.schema import DAY_NS, Flag, Outcome, TraceId, day_of, day_start_ns
from catalog.store import LocalStore, StoreUnavailable, open_store
from workers.archives import Archive, ArchiveConfig, TooMuch, open_archive
from workers.archives import objects as gathering
from workers.archives.zarr import FORMAT, group_path
from workers.ingest import Ingested, ingest
from workers.waveform import Reading, Waveform, assemble, grid_index

HH = TraceId("XX", "SYN", "", "HH")
DAY = date(2022, 2, 5)
END = DAY + timedelta(days=3)
SECOND = 1_000_000_000


def miniseed(samples: NDArray[np.generic], start_ns: int, component: str, rate: float) -> bytes:
    header = {
        "network": "XX",
        "station": "SYN",
        "channel": "HH" + component,
        "sampling_rate": rate,
        "starttime": UTCDateTime(ns=start_ns),
    }
    out = io.BytesIO()
    encoding = "FLOAT32" if samples.dtype == np.float32 else "STEIM2"
    Stream([Trace(samples, header)]).write(out, "MSEED", encoding=encoding, reclen=512)
    return out.getvalue()


def put_day(root: str, day: date, component: str, body: bytes) -> None:
    name = f"XX.SYN..HH{component}.D.{day:%Y.%j}"
    open_store(root).create(f"{day.year}/XX/SYN/HH{component}.D/{name}", body)


def opened(kind: str, root: str) -> Archive:
    return open_archive(ArchiveConfig.model_validate({"kind": kind, "root": root}))


def done(source: str, destination: str) -> list[Ingested]:
    return list(ingest(opened("sds", source), open_store(destination), DAY, END))


def origins(waveform: Waveform) -> NDArray[np.int64]:
    """Offset of every sample that there is, by component."""
    index = np.arange(waveform.start, waveform.stop)
    found = np.zeros(waveform.mask.shape, np.int64)
    for row, table in enumerate(waveform.offsets):
        if len(table):
            place = np.maximum(np.searchsorted(table[:, 0], index, side="right") - 1, 0)
            found[row] = table[place, 1]
    return np.where(waveform.mask, found, 0)


def assert_same(a: Archive, b: Archive, rate: float, start_ns: int, end_ns: int) -> Waveform:
    one, two = (archive.read(HH, start_ns, end_ns) for archive in (a, b))
    return assert_equal(one, two, rate, start_ns, end_ns)


def assert_equal(a: Reading, b: Reading, rate: float, start_ns: int, end_ns: int) -> Waveform:
    low, high = grid_index(start_ns, rate), grid_index(end_ns, rate)
    one, two = (assemble(reading.fragments, rate, low, high) for reading in (a, b))
    assert one.data.dtype == two.data.dtype
    np.testing.assert_array_equal(one.data, two.data)
    np.testing.assert_array_equal(one.mask, two.mask)
    np.testing.assert_array_equal(origins(one), origins(two))
    nothing = np.zeros(high - low, bool)
    np.testing.assert_array_equal(
        nothing if one.conflict is None else one.conflict,
        nothing if two.conflict is None else two.conflict,
    )
    return one


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
    said = "XX.SYN..HH/2022-02-05/0000.samples.json"
    assert list(two.inputs) == [open_store(destination).url_of(said)]

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


def test_days_that_cannot_be_read_are_told_until_they_can(tmp_path: Path) -> None:
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    put_day(source, DAY, "Z", b"<html>maintenance</html>")
    (one,) = done(source, destination)
    assert one.state == "unreadable" and "HTML" in one.detail
    archive = opened("zarr", destination)
    assert [(one.trace, one.day) for one in archive.holdings(DAY, END)] == [(HH, DAY)]
    start = day_start_ns(DAY)
    reading = archive.read(HH, start, start + DAY_NS)
    (lost,) = reading.lost
    assert (lost.outcome, lost.start_ns, lost.end_ns) == (Outcome.BAD_FORMAT, start, start + DAY_NS)
    assert "could not be read when it was ingested" in lost.why and "HTML" in lost.why
    assert not reading.fragments

    assert [one.state for one in done(source, destination)] == ["unreadable"], "and again"
    next(Path(source).rglob("*.D.*.*")).unlink()
    put_day(source, DAY, "Z", miniseed(np.arange(6000, dtype=np.int32), start, "Z", 100.0))
    assert [one.state for one in done(source, destination)] == ["written"]
    reading = opened("zarr", destination).read(HH, start, start + DAY_NS)
    assert not reading.lost and len(reading.fragments) == 1


def test_the_last_that_was_found_of_a_day_without_samples_holds(tmp_path: Path) -> None:
    """Unreadable, unusable, gone, in any order and again; then it can be read."""
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    start, archive = day_start_ns(DAY), opened("zarr", destination)
    sound = miniseed(np.arange(6000, dtype=np.int32), start, "Z", 100.0)
    put_day(source, DAY, "Z", b"")
    (name,) = Path(source).rglob("*.D.*.*")
    later = DAY + timedelta(days=1)  # the days beside one that is listed are looked into, too
    put_day(source, later, "Z", miniseed(np.arange(99, dtype=np.int32), start + DAY_NS, "Z", 100.0))
    page, other = b"<html>maintenance</html>", sound.replace(b"SYN", b"OTH")
    for turn, body in enumerate([page, b"<html>again</html>", other, page, other, None, page]):
        name.unlink(missing_ok=True)
        name.parent.mkdir(exist_ok=True)
        if body is not None:
            name.write_bytes(body)
        for _ in range(2):
            _ = done(source, destination)
            held = [one.day for one in archive.holdings(DAY, later)]
            reading = archive.read(HH, start, start + DAY_NS)
            told = [text for text, _, _ in reading.detail]
            assert (bool(held), bool(reading.lost), bool(told)) == (
                body is not None,
                body not in (None, other),
                body == other,
            ), turn
    folder = Path(destination) / group_path(HH, DAY)
    assert len(list(folder.iterdir())) == 7, "what is found again is not said again"
    name.write_bytes(sound)
    assert [one.state for one in done(source, destination)] == ["written", "written"]
    assert [one.state for one in done(source, destination)] == ["kept", "kept"]
    reading = archive.read(HH, start, start + DAY_NS)
    assert len(reading.fragments) == 1 and not (reading.lost or reading.detail)


NOISE = np.random.default_rng(5).integers(-999, 999, 2 * 864_000).astype(np.int32)
NOISE_DAY = 864_000

Put = Callable[[date, str, bytes], None]


def _late_day(put: Put) -> None:
    """A sample of the second day stands in the first one's object; its own comes later."""
    put(DAY, "Z", miniseed(NOISE[: NOISE_DAY + 1], day_start_ns(DAY), "Z", 10.0))


def _late_component(put: Put) -> None:
    for component in "ZN":
        put(DAY, component, miniseed(NOISE, day_start_ns(DAY), component, 10.0))


def _mended_record(put: Put) -> None:
    """All objects have as many bytes as later."""
    for component in "ZN":
        for k in range(2):
            part = NOISE[k * NOISE_DAY : (k + 1) * NOISE_DAY]
            body = bytearray(miniseed(part, day_start_ns(DAY) + k * DAY_NS, component, 10.0))
            body[5 * 512 + 100 : 5 * 512 + 200] = bytes(100)
            put(DAY + timedelta(days=k), component, bytes(body))


def _web_page(put: Put) -> None:
    """Of the second day there is a spill that can be read."""
    put(DAY, "Z", miniseed(NOISE[: NOISE_DAY + 30], day_start_ns(DAY), "Z", 10.0))
    put(DAY + timedelta(days=1), "Z", b"<html>maintenance</html>")


@pytest.mark.parametrize("early", [_late_day, _late_component, _mended_record, _web_page])
def test_what_comes_to_the_source_later_is_ingested(
    early: Callable[[Put], None], tmp_path: Path
) -> None:
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    early(partial(put_day, source))
    for state in ("written", "kept"):
        assert {one.state for one in done(source, destination)} == {state}
    shutil.rmtree(source)
    for component in "ZN":
        for k in range(2):
            body = miniseed(
                NOISE[k * NOISE_DAY : (k + 1) * NOISE_DAY],
                day_start_ns(DAY) + k * DAY_NS,
                component,
                10.0,
            )
            put_day(source, DAY + timedelta(days=k), component, body)
    assert {one.state for one in done(source, destination)} == {"written"}
    span = day_start_ns(DAY), day_start_ns(DAY) + 2 * DAY_NS
    archive = opened("zarr", destination)
    whole = assert_same(opened("sds", source), archive, 10.0, *span)
    assert whole.mask[:2].all() and not archive.read(HH, *span).flags
    assert {one.state for one in done(source, destination)} == {"kept"}


@pytest.mark.parametrize("body", [None, b"<html>maintenance</html>", b"OTHER"])
def test_samples_are_kept_when_their_source_goes(tmp_path: Path, body: bytes | None) -> None:
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    start = day_start_ns(DAY)
    sound = miniseed(np.arange(6000, dtype=np.int32), start, "Z", 100.0)
    for k in range(2):
        day = miniseed(np.arange(6000, dtype=np.int32), start + k * DAY_NS, "Z", 100.0)
        put_day(source, DAY + timedelta(days=k), "Z", day)
    assert [one.state for one in done(source, destination)] == ["written", "written"]
    (name,) = Path(source).rglob("*.D.*.036")
    name.unlink()
    if body is not None:
        name.write_bytes(2 * sound.replace(b"SYN", b"OTH") if body == b"OTHER" else body)
    first = done(source, destination)[0]
    if body is not None:
        assert first.state == "unreadable" and "before is kept" in first.detail
    reading = opened("zarr", destination).read(HH, start, start + DAY_NS)
    assert len(reading.fragments) == 1 and not (reading.lost or reading.detail)


@pytest.mark.parametrize("components", ["ZN", "N"])
def test_what_is_left_of_a_day_in_other_objects_does_not_take_its_place(
    tmp_path: Path, components: str
) -> None:
    """The next day's first record begins before midnight; the day's own objects are purged."""
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    start, early = day_start_ns(DAY), 30
    for component in "ZN":
        put_day(
            source, DAY, component, miniseed(NOISE[: NOISE_DAY - early], start, component, 10.0)
        )
        later = miniseed(NOISE[NOISE_DAY - early :], start + DAY_NS - 3 * SECOND, component, 10.0)
        put_day(source, DAY + timedelta(days=1), component, later)
    assert {one.state for one in done(source, destination)} == {"written"}
    for component in components:
        next(Path(source).rglob(f"*HH{component}*.036")).unlink()
    first = done(source, destination)[0]
    assert first.state == "kept" and "is gone; what was ingested before is kept" in first.detail
    reading = opened("zarr", destination).read(HH, start, start + DAY_NS)
    assert assemble(reading.fragments, 10.0, *span_of(start, 10.0)).mask[:2].all()


def span_of(start_ns: int, rate: float) -> tuple[int, int]:
    return grid_index(start_ns, rate), grid_index(start_ns + DAY_NS, rate)


def test_a_day_is_whole_once_the_one_beside_it_is_mended(tmp_path: Path) -> None:
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    start, early = day_start_ns(DAY), 30
    put_day(source, DAY, "Z", miniseed(NOISE[: NOISE_DAY - early], start, "Z", 10.0))
    later = miniseed(NOISE[NOISE_DAY - early :], start + DAY_NS - 3 * SECOND, "Z", 10.0)
    put_day(source, DAY + timedelta(days=1), "Z", bytes(len(later)))
    assert [one.state for one in done(source, destination)] == ["written", "unreadable"]
    next(Path(source).rglob("*.037")).write_bytes(later)
    assert [one.state for one in done(source, destination)] == ["written", "written"]
    reading = opened("zarr", destination).read(HH, start, start + DAY_NS)
    assert assemble(reading.fragments, 10.0, *span_of(start, 10.0)).mask[0].all()
    assert [one.state for one in done(source, destination)] == ["kept", "kept"]


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
        with pytest.raises(StoreUnavailable, match=r"cannot write .*10Hz.*too large"):
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
