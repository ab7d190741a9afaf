"""Some of a source goes while other parts of it come or change, and it is ingested again."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from obspy import Trace, UTCDateTime

from catalog.schema import DAY_NS, Flag, day_start_ns
from catalog.store import open_store
from tests.workers.ingested import (
    DAY,
    END,
    HH,
    NOISE,
    NOISE_DAY,
    SECOND,
    assert_same,
    done,
    miniseed,
    opened,
    put_day,
    span_of,
)
from workers.archives import Holding, verdicts
from workers.ingest import Ingested, ingest
from workers.waveform import Waveform, assemble

START = day_start_ns(DAY)
LATER = DAY + timedelta(days=1)
HOUR = 36_000


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(tmp_path / "sds")


@pytest.fixture
def destination(tmp_path: Path) -> str:
    return str(tmp_path / "zarr")


def object_of(source: str, component: str, day: date) -> Path:
    (path,) = Path(source).rglob(f"*HH{component}.D.{day:%Y.%j}")
    return path


def held(destination: str, day: int = 0) -> Waveform:
    start = START + day * DAY_NS
    reading = opened("zarr", destination).read(HH, start, start + DAY_NS)
    return assemble(reading.fragments, 10.0, *span_of(start, 10.0))


def states(source: str, destination: str) -> list[str]:
    return [one.state for one in done(source, destination)]


def damaged(body: bytes, record: int) -> bytes:
    """The same but for a record that is zeros."""
    return body[: record * 512] + bytes(512) + body[(record + 1) * 512 :]


def test_pieces_that_come_and_go_leave_all_that_was_there(tmp_path: Path, destination: str) -> None:
    """Hourly objects, of which the last three are kept."""
    folder = tmp_path / "files"
    folder.mkdir()
    for hour in range(9):
        samples = NOISE[hour * HOUR : (hour + 1) * HOUR]
        body = miniseed(samples, START + hour * 3600 * SECOND, "Z", 10.0)
        (folder / f"{hour}.mseed").write_bytes(body)
        if hour > 2:
            (folder / f"{hour - 3}.mseed").unlink()
        (one,) = ingest(opened("files", str(folder)), open_store(destination), DAY, LATER)
        assert one.state == "written" and ("is gone" in one.detail) == (hour > 2)
        now = held(destination)
        np.testing.assert_array_equal(now.data[0, : (hour + 1) * HOUR], NOISE[: (hour + 1) * HOUR])
        assert now.mask.sum() == (hour + 1) * HOUR


@pytest.mark.parametrize("coming", ["Z", "E"])
def test_a_component_comes_when_another_has_gone(
    source: str, destination: str, coming: str
) -> None:
    """A larger object of a component that was there, or one that was not."""
    for component in "ZN":
        put_day(source, DAY, component, miniseed(NOISE[:HOUR], START, component, 10.0))
    assert states(source, destination) == ["written"]
    object_of(source, "N", DAY).unlink()
    if coming == "Z":
        object_of(source, "Z", DAY).unlink()
    put_day(source, DAY, coming, miniseed(NOISE[: 2 * HOUR], START, coming, 10.0))
    (one,) = done(source, destination)
    assert one.state == "written" and "HHN.D" in one.detail and "is gone" in one.detail
    counts = {"Z": [2 * HOUR, HOUR, 0], "E": [HOUR, HOUR, 2 * HOUR]}[coming]
    assert held(destination).mask.sum(axis=1).tolist() == counts
    assert states(source, destination) == ["kept"]
    put_day(source, LATER, "Z", miniseed(NOISE[:99], START + DAY_NS, "Z", 10.0))
    done(source, destination)
    assert held(destination).mask.sum(axis=1).tolist() == counts, "whatever comes beside it"


def test_a_day_is_mended_though_the_one_before_has_gone(source: str, destination: str) -> None:
    """Three seconds of it lay in that one's object, and stay."""
    spill = 30
    put_day(source, DAY, "Z", miniseed(NOISE[: NOISE_DAY + spill], START, "Z", 10.0))
    begin = START + DAY_NS + 3 * SECOND
    sound = miniseed(NOISE[NOISE_DAY + spill :][:HOUR], begin, "Z", 10.0)
    put_day(source, LATER, "Z", damaged(sound, 5))
    assert states(source, destination) == ["written", "written"]
    assert held(destination, 1).mask.sum() < HOUR + spill
    object_of(source, "Z", DAY).unlink()
    object_of(source, "Z", LATER).write_bytes(sound)
    assert states(source, destination) == ["kept", "written"]
    now = held(destination, 1)
    np.testing.assert_array_equal(now.data[0, : HOUR + spill], NOISE[NOISE_DAY:][: HOUR + spill])
    reading = opened("zarr", destination).read(HH, START + DAY_NS, START + 2 * DAY_NS)
    assert now.mask.sum() == HOUR + spill and not reading.flags
    assert held(destination).mask[0].all()
    later = miniseed(NOISE[:HOUR], START + DAY_NS + 7200 * SECOND, "Z", 10.0)
    object_of(source, "Z", LATER).write_bytes(later)
    assert states(source, destination) == ["kept", "written"]
    assert held(destination, 1).mask.sum() == HOUR + spill, "and nothing of what was replaced"


def test_what_is_said_of_samples_that_stay_stays(source: str, destination: str) -> None:
    sound = miniseed(NOISE[:HOUR], START, "Z", 10.0)
    put_day(source, DAY, "Z", damaged(sound, 5))
    assert states(source, destination) == ["written"]
    before = opened("zarr", destination).read(HH, START, START + DAY_NS)
    object_of(source, "Z", DAY).unlink()
    later = START + 7200 * SECOND
    put_day(source, DAY, "N", miniseed(NOISE[:HOUR], later, "N", 10.0))
    assert states(source, destination) == ["written"]
    reading = opened("zarr", destination).read(HH, START, START + DAY_NS)
    assert before.flags and before.repairs and before.detail
    assert (reading.flags, reading.repairs) == (before.flags, before.repairs)
    assert list(reading.detail) == list(before.detail)


@pytest.mark.parametrize("mended", [False, True])
def test_a_newer_version_takes_the_place_of_the_old_one(
    tmp_path: Path, destination: str, mended: bool
) -> None:
    """Smaller, or as large and whole, and whether the old one is still there or not."""
    root = tmp_path / "earthscope"
    name = f"XX/{DAY:%Y}/{DAY:%j}/SYN.XX.{DAY:%Y.%j}#"
    sound = miniseed(NOISE[:HOUR], START, "Z", 10.0)
    store = open_store(str(root))

    def states() -> list[str]:
        archive = opened("earthscope", str(root))
        return [one.state for one in ingest(archive, open_store(destination), DAY, END)]

    store.create(f"{name}1", damaged(sound, 5) if mended else sound)
    assert states() == ["written"]
    newer = sound if mended else miniseed(NOISE[: HOUR // 2], START, "Z", 10.0)
    store.create(f"{name}2", newer)
    for _ in range(2):
        assert states()[0] in ("written", "kept")
        archives = opened("earthscope", str(root)), opened("zarr", destination)
        assert_same(*archives, 10.0, START, START + DAY_NS)
        assert not archives[1].read(HH, START, START + DAY_NS).flags
        (root / f"{name}1").unlink(missing_ok=True)


@pytest.mark.parametrize("edge", ["first", "last"])
def test_a_record_across_midnight_is_mended_for_both_days(
    source: str, destination: str, edge: str
) -> None:
    """It belongs to the object of one of them, which has as many bytes as before."""
    early = {"first": 30, "last": -30}[edge]
    cut = NOISE_DAY - early
    bodies = [
        miniseed(NOISE[:cut], START, "Z", 10.0),
        miniseed(NOISE[cut:], START + cut * SECOND // 10, "Z", 10.0),
    ]
    spoilt = {"first": (1, 0), "last": (0, len(bodies[0]) // 512 - 1)}[edge]
    for k, body in enumerate(bodies):
        now = damaged(body, spoilt[1]) if spoilt[0] == k else body
        put_day(source, DAY + timedelta(days=k), "Z", now)
    assert states(source, destination) == ["written", "written"]
    assert not (held(destination, 0).mask[0].all() and held(destination, 1).mask[0].all())
    object_of(source, "Z", DAY + timedelta(days=spoilt[0])).write_bytes(bodies[spoilt[0]])
    assert "written" in states(source, destination)
    archives = opened("sds", source), opened("zarr", destination)
    whole = assert_same(*archives, 10.0, START, START + 2 * DAY_NS)
    assert whole.mask[0].all() and not archives[1].read(HH, START, START + 2 * DAY_NS).flags


def test_what_is_as_it_was_is_not_written_again(source: str, destination: str) -> None:
    """A copy with other times, and a day that comes beside it."""
    put_day(source, DAY, "Z", miniseed(NOISE[:HOUR], START, "Z", 10.0))
    assert states(source, destination) == ["written"]
    arrays = {path for path in Path(destination).rglob("*") if "Hz" in str(path)}
    assert arrays
    os.utime(object_of(source, "Z", DAY), (1, 1))
    assert states(source, destination) == ["kept"]
    put_day(source, LATER, "Z", miniseed(NOISE[:HOUR], START + DAY_NS, "Z", 10.0))
    assert states(source, destination) == ["kept", "written"]
    assert {p for p in Path(destination).rglob("*") if "Hz" in str(p) and str(DAY) in str(p)} == (
        arrays
    )
    assert states(source, destination) == ["kept", "kept"]


def test_arrays_that_are_damaged_are_written_anew_when_the_source_is_read(
    source: str, destination: str
) -> None:
    put_day(source, DAY, "Z", miniseed(NOISE[:HOUR], START, "Z", 10.0))
    assert states(source, destination) == ["written"]
    (shard,) = Path(destination).rglob("data/c/0/0")
    shard.write_bytes(shard.read_bytes()[:-9])
    os.utime(object_of(source, "Z", DAY), (1, 1))
    assert states(source, destination) == ["written"]
    assert held(destination).mask.sum() == HOUR


def test_an_object_that_is_away_while_it_is_to_be_read_is_looked_for_again(
    source: str, destination: str
) -> None:
    put_day(source, DAY, "Z", miniseed(NOISE[:NOISE_DAY], START, "Z", 10.0))
    later = miniseed(NOISE[NOISE_DAY - 30 :], START + DAY_NS - 3 * SECOND, "Z", 10.0)
    put_day(source, LATER, "Z", later)
    archive, path = opened("sds", source), object_of(source, "Z", DAY)
    away = path.with_suffix(".away")

    class Leaving:
        def holdings(self, *of: object) -> Iterator[Holding]:
            yield from [*archive.holdings(DAY - timedelta(days=1), END)]
            path.rename(away)

        read = staticmethod(archive.read)

    list(ingest(Leaving(), open_store(destination), DAY, END))
    assert held(destination).mask.sum() == 30
    away.rename(path)
    assert states(source, destination) == ["written", "kept"]
    assert held(destination).mask[0].all()


def test_of_a_day_that_is_cut_off_before_it_began_the_loss_is_known(
    source: str, destination: str
) -> None:
    body = miniseed(NOISE[:HOUR], START - 60 * SECOND, "Z", 10.0)
    put_day(source, DAY, "Z", body[:600])
    put_day(source, LATER, "Z", miniseed(NOISE[:HOUR], START + DAY_NS, "Z", 10.0))
    assert states(source, destination) == ["empty", "written"]
    source_archive, archive = opened("sds", source), opened("zarr", destination)
    assert [one.day for one in archive.holdings(DAY, END)] == [DAY, LATER]
    flags = [a.read(HH, START, START + DAY_NS).flags for a in (source_archive, archive)]
    assert flags[0] == flags[1] and flags[0][0][0] & (Flag.TRUNCATED | Flag.SALVAGED)


def test_a_day_that_could_not_be_read_and_is_gone_is_no_more(source: str, destination: str) -> None:
    """Whether or not there is a day beside it."""
    alone = LATER + timedelta(days=1)
    put_day(source, DAY, "Z", miniseed(NOISE[:HOUR], START, "Z", 10.0))
    put_day(source, alone, "Z", b"<html>maintenance</html>")
    assert states(source, destination) == ["written", "unreadable"]
    object_of(source, "Z", alone).unlink()
    assert states(source, destination) == ["kept"]
    assert [one.day for one in opened("zarr", destination).holdings(DAY, END)] == [DAY]


def test_a_rate_stays_whose_object_has_gone_and_not_one_that_was_replaced(
    source: str, destination: str
) -> None:
    """Z is sampled at 10 Hz, N at 20."""

    def rates() -> list[float]:
        reading = opened("zarr", destination).read(HH, START, START + DAY_NS)
        return sorted(fragment.rate for fragment in reading.fragments)

    put_day(source, DAY, "Z", miniseed(NOISE[:HOUR], START, "Z", 10.0))
    put_day(source, DAY, "N", miniseed(NOISE[:HOUR], START, "N", 20.0))
    assert states(source, destination) == ["written"] and rates() == [10.0, 20.0]
    object_of(source, "Z", DAY).unlink()
    put_day(source, DAY, "E", miniseed(NOISE[:HOUR], START, "E", 20.0))
    assert states(source, destination) == ["written"] and rates() == [10.0, 20.0, 20.0]
    for component in "NE":  # its samples turn out to be another day's
        later = miniseed(NOISE[:HOUR], START - 3600 * SECOND, component, 20.0)
        object_of(source, component, DAY).write_bytes(later)
    put_day(source, DAY, "Z", miniseed(NOISE[:HOUR], START, "Z", 10.0))
    assert states(source, destination) == ["written"] and rates() == [10.0]


def test_a_day_of_its_own_objects_is_not_absent_once_they_have_gone(
    source: str, destination: str
) -> None:
    put_day(source, DAY, "Z", miniseed(NOISE[: NOISE_DAY - 30], START, "Z", 10.0))
    put_day(source, LATER, "Z", miniseed(NOISE[:HOUR], START + DAY_NS, "Z", 10.0))
    assert states(source, destination) == ["written", "written"]
    object_of(source, "Z", DAY).unlink()
    spilling = miniseed(NOISE[NOISE_DAY - 30 :][:HOUR], START + DAY_NS - 3 * SECOND, "Z", 10.0)
    object_of(source, "Z", LATER).write_bytes(spilling)
    assert states(source, destination) == ["written", "written"]
    assert held(destination).mask[0].all()
    reading = opened("zarr", destination).read(HH, START, START + DAY_NS)
    assert (START, START + DAY_NS) not in reading.absent


def as_floats(samples: NDArray[np.int32]) -> NDArray[np.float32]:
    return samples.astype(np.float32)


def test_floats_come_over_integers_that_stay(source: str, destination: str) -> None:
    put_day(source, DAY, "Z", miniseed(NOISE[:HOUR], START, "Z", 10.0))
    assert states(source, destination) == ["written"]
    object_of(source, "Z", DAY).unlink()
    put_day(source, DAY, "N", miniseed(as_floats(NOISE[:HOUR]) / 3, START, "N", 10.0))
    assert states(source, destination) == ["written"]
    now = held(destination)
    np.testing.assert_array_equal(now.data[0, :HOUR], as_floats(NOISE[:HOUR]))
    np.testing.assert_array_equal(now.data[1, :HOUR], as_floats(NOISE[:HOUR]) / 3)


PAGE = b"<html>maintenance</html>"


def put_neighbours(source: str) -> None:
    """Two days of Z and N, an hour each."""
    for k, day in enumerate((DAY, LATER)):
        for component in "ZN":
            body = miniseed(NOISE[:HOUR], START + k * DAY_NS, component, 10.0)
            put_day(source, day, component, body)


def test_what_was_never_of_use_does_not_keep_the_rest_from_coming(
    source: str, destination: str
) -> None:
    """A web page in place of Z; N grows when the day before is purged."""
    put_day(source, DAY, "N", miniseed(NOISE[:NOISE_DAY], START, "N", 10.0))
    put_day(source, LATER, "Z", PAGE)
    put_day(source, LATER, "N", miniseed(NOISE[:HOUR], START + DAY_NS, "N", 10.0))
    assert states(source, destination) == ["written", "written"]
    object_of(source, "N", DAY).unlink()
    grown = miniseed(NOISE[: 2 * HOUR], START + DAY_NS, "N", 10.0)
    object_of(source, "N", LATER).write_bytes(grown)
    assert states(source, destination) == ["kept", "written"]
    assert held(destination, 1).mask.sum() == 2 * HOUR


@pytest.mark.parametrize("strange", [PAGE, b"OTHER"])
def test_each_object_that_is_of_no_use_any_more_keeps_its_day(
    source: str, destination: str, strange: bytes
) -> None:
    """One after the other; the day beside it is what the source says."""
    put_neighbours(source)
    assert states(source, destination) == ["written", "written"]
    for component in "ZN":
        path = object_of(source, component, DAY)
        other = path.read_bytes().replace(b"SYN", b"OTH")
        path.write_bytes(other if strange == b"OTHER" else strange)
        later = miniseed(NOISE[:HOUR], START + DAY_NS + 7200 * SECOND, component, 10.0)
        object_of(source, component, LATER).write_bytes(later)
        for again in ("written", "kept"):
            first, second = done(source, destination)
            assert first.state == "unreadable" and "before is kept" in first.detail
            assert second.state == again
            assert held(destination).mask.sum() == 2 * HOUR
            assert held(destination, 1).mask.sum() == 2 * HOUR


def test_samples_that_their_objects_have_no_more_are_none(source: str, destination: str) -> None:
    """A spill over midnight, by an object that is replaced by one without; and a whole day."""
    spill = miniseed(NOISE[:HOUR], START + DAY_NS - 600 * SECOND, "Z", 10.0)
    put_day(source, LATER, "Z", spill)
    assert states(source, destination) == ["written", "written"]
    path = object_of(source, "Z", LATER)
    path.write_bytes(miniseed(NOISE[:HOUR], START + DAY_NS, "Z", 10.0))
    first, second = done(source, destination)
    assert (first.state, first.samples, second.state) == ("written", 0, "written")
    assert "nothing of it any more" in first.detail
    archive = opened("zarr", destination)
    assert [one.day for one in archive.holdings(DAY, END)] == [LATER]
    assert_same(opened("sds", source), archive, 10.0, START, START + 2 * DAY_NS)
    assert (START, START + DAY_NS) in archive.read(HH, START, START + DAY_NS).absent
    path.write_bytes(spill)
    assert states(source, destination) == ["written", "written"], "and there again"
    assert_same(opened("sds", source), archive, 10.0, START, START + 2 * DAY_NS)
    path.write_bytes(miniseed(NOISE[:HOUR], START + 2 * DAY_NS, "Z", 10.0))
    done(source, destination)
    assert [one.day for one in archive.holdings(DAY, LATER + timedelta(days=1))] == []


@pytest.mark.parametrize("names", ["{}.mseed", "p#{}"])
def test_samples_of_any_value_can_stay(tmp_path: Path, destination: str, names: str) -> None:
    """The least integer, which zarr would fill in for an object that is not there."""
    folder = tmp_path / "files"
    folder.mkdir()
    least = np.full(3000, -(2**31), np.int32)

    def come(number: int, samples: NDArray[np.int32]) -> str:
        out = io.BytesIO()
        header = {
            "network": "XX",
            "station": "SYN",
            "channel": "HHZ",
            "sampling_rate": 10.0,
            "starttime": UTCDateTime(ns=START + number * 10_800 * SECOND),
        }
        Trace(samples, header).write(out, "MSEED", encoding="INT32")
        (folder / names.format(number)).write_bytes(out.getvalue())
        (one,) = ingest(opened("files", str(folder)), open_store(destination), DAY, LATER)
        return one.state

    assert come(0, NOISE[:3000]) == "written"
    assert come(1, least) == "written"
    (folder / names.format(0)).unlink()
    assert come(2, NOISE[:3000]) == "written"
    (folder / names.format(1)).unlink()
    assert come(3, NOISE[:3000]) == "written"
    now = held(destination)
    assert now.mask.sum() == 12_000 and (now.data[0, 108_000:111_000] == least).all()


def test_a_damaged_store_is_not_written_over_where_something_has_gone(
    source: str, destination: str
) -> None:
    put_neighbours(source)
    assert states(source, destination) == ["written", "written"]
    (shard,) = Path(destination).rglob(f"{DAY}/**/data/c/0/0")
    shard.write_bytes(shard.read_bytes()[:-9])
    object_of(source, "N", DAY).unlink()
    for _ in range(2):
        first, _ = done(source, destination)
        assert first.state == "unreadable" and "ingest it again" in first.detail


def test_a_zarr_of_a_zarr_follows_it(source: str, destination: str, tmp_path: Path) -> None:
    put_day(source, DAY, "Z", miniseed(NOISE[:HOUR], START, "Z", 10.0))
    second = str(tmp_path / "second")
    for samples in (NOISE[:HOUR], NOISE[: HOUR // 2]):
        object_of(source, "Z", DAY).write_bytes(miniseed(samples, START, "Z", 10.0))
        assert states(source, destination) == ["written"]
        archive = opened("zarr", destination)
        (one,) = ingest(archive, open_store(second), DAY, END)
        assert one.state == "written" and not one.detail
        assert_same(archive, opened("zarr", second), 10.0, START, START + DAY_NS)


@pytest.mark.parametrize("after", ["page", "cut off"])
def test_what_becomes_of_a_day_that_was_emptied_is_told(
    source: str, destination: str, after: str
) -> None:
    """It reads as the source does, and each ingest that finds the same says the same."""
    whole = miniseed(NOISE[:HOUR], START + DAY_NS - 1800 * SECOND, "Z", 10.0)
    put_day(source, DAY, "Z", whole)
    put_day(source, LATER, "N", miniseed(NOISE[:HOUR], START + DAY_NS, "N", 10.0))
    done(source, destination)
    path = object_of(source, "Z", DAY)
    path.write_bytes(miniseed(NOISE[:HOUR], START + DAY_NS, "Z", 10.0))
    assert done(source, destination)[0].samples == 0
    span = START, START + DAY_NS
    for body in [PAGE, PAGE + b"again"] if after == "page" else [b"", b"\0" * 700]:
        path.write_bytes(body)
        for _ in range(2):
            assert done(source, destination)[0].state == "unreadable"
            one, two = opened("sds", source), opened("zarr", destination)
            assert len(one.read(HH, *span).lost) == len(two.read(HH, *span).lost) == 1
            assert [each.day for each in two.holdings(DAY, LATER)] == [DAY]
    path.write_bytes(whole)
    done(source, destination)
    assert_same(opened("sds", source), opened("zarr", destination), 10.0, START, START + 2 * DAY_NS)


def test_what_another_component_has_no_more_does_not_stay(source: str, destination: str) -> None:
    """Z goes, and N is another hour's."""
    for component in "ZN":
        put_day(source, DAY, component, miniseed(NOISE[:HOUR], START, component, 10.0))
    assert states(source, destination) == ["written"]
    object_of(source, "Z", DAY).unlink()
    later = miniseed(NOISE[:HOUR], START + 7200 * SECOND, "N", 10.0)
    object_of(source, "N", DAY).write_bytes(later)
    assert states(source, destination) == ["written"]
    now = held(destination)
    assert now.mask.sum(axis=1).tolist() == [HOUR, HOUR, 0] and not now.mask[1, :HOUR].any()


def test_an_object_of_any_name_that_is_of_other_days_now_has_not_gone(
    tmp_path: Path, destination: str
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    for k in range(2):
        body = miniseed(NOISE[:HOUR], START + k * DAY_NS, "Z", 10.0)
        (folder / f"{k}.mseed").write_bytes(body)

    def come() -> list[Ingested]:
        return list(ingest(opened("files", str(folder)), open_store(destination), DAY, END))

    assert [one.state for one in come()] == ["written", "written"]
    later = miniseed(NOISE[:HOUR], START + 2 * DAY_NS, "Z", 10.0)
    (folder / "0.mseed").write_bytes(later)
    first, *others = come()
    assert (first.state, first.samples, len(others)) == ("written", 0, 2)
    archive = opened("zarr", destination)
    assert [one.day for one in archive.holdings(DAY, END)] == [LATER, LATER + timedelta(days=1)]


def test_who_looked_before_another_wrote_looks_again(
    source: str, destination: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the other one found and nobody can read any more is not lost by it."""
    put_day(source, DAY, "Z", miniseed(NOISE[:HOUR], START, "Z", 10.0))
    assert states(source, destination) == ["written"]
    passing = verdicts.pass_verdict

    def after_another(*of: Any) -> bool:
        monkeypatch.setattr("workers.ingest.pass_verdict", passing)
        put_day(source, DAY, "N", miniseed(NOISE[:HOUR], START, "N", 10.0))
        assert states(source, destination) == ["written"]
        object_of(source, "N", DAY).unlink()
        return passing(*of)

    object_of(source, "Z", DAY).write_bytes(miniseed(NOISE[: 2 * HOUR], START, "Z", 10.0))
    monkeypatch.setattr("workers.ingest.pass_verdict", after_another)
    (one,) = done(source, destination)
    assert one.state in ("kept", "written")
    assert held(destination).mask.sum(axis=1).tolist() == [2 * HOUR, HOUR, 0]


def test_a_verdict_is_passed_once_after_another(destination: str) -> None:
    """Whatever it says."""
    store = open_store(destination)
    assert verdicts.pass_verdict(store, "day", None, verdicts.UNREADABLE, b"why")
    assert not verdicts.pass_verdict(store, "day", None, verdicts.SAMPLES, b"{}")
    last = verdicts.last_verdict(store, "day")
    assert last is not None and last.what == verdicts.UNREADABLE
    assert verdicts.pass_verdict(store, "day", last, verdicts.SAMPLES, b"{}")
    assert not verdicts.pass_verdict(store, "day", last, verdicts.SAMPLES, b"[]")
    assert [one.key for one in store.list()] == ["day/0000.unreadable.txt", "day/0001.samples.json"]


@pytest.mark.parametrize(
    "field", [{"flags": [1]}, {"repairs": [None]}, {"given": {"a": [["Q", 0, 1]]}}]
)
def test_a_verdict_that_makes_no_sense_is_bad_format(
    source: str, destination: str, field: dict[str, Any]
) -> None:
    put_day(source, DAY, "Z", miniseed(NOISE[:HOUR], START, "Z", 10.0))
    assert states(source, destination) == ["written"]
    (path,) = Path(destination).rglob("0000.samples.json")
    said = json.loads(path.read_text())["attributes"]
    path.write_text(json.dumps({"attributes": {**said, **field}}))
    (lost,) = opened("zarr", destination).read(HH, START, START + DAY_NS).lost
    assert "not a station-day written" in lost.why
    assert states(source, destination) == ["written"]
