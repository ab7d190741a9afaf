"""A source changes, and is ingested again: what comes is taken, and nothing is lost by it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from catalog.schema import DAY_NS, Outcome, day_start_ns
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
from workers.archives.zarr import group_path
from workers.waveform import assemble


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
    assert [one.state for one in done(source, destination)] == ["written", "kept"]
    assert [one.state for one in done(source, destination)] == ["kept", "kept"]
    reading = archive.read(HH, start, start + DAY_NS)
    assert len(reading.fragments) == 1 and not (reading.lost or reading.detail)


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
    assert "written" in {one.state for one in done(source, destination)} <= {"written", "kept"}
    span = day_start_ns(DAY), day_start_ns(DAY) + 2 * DAY_NS
    archive = opened("zarr", destination)
    whole = assert_same(opened("sds", source), archive, 10.0, *span)
    assert whole.mask[:2].all() and not archive.read(HH, *span).flags
    assert {one.state for one in done(source, destination)} == {"kept"}


@pytest.mark.parametrize("spill", [0, 300])
@pytest.mark.parametrize("body", [None, b"<html>maintenance</html>", b"OTHER"])
def test_samples_are_kept_when_their_source_goes(
    tmp_path: Path, body: bytes | None, spill: int
) -> None:
    """Also where some of the day lie in the next one's object."""
    source, destination = str(tmp_path / "sds"), str(tmp_path / "zarr")
    start = day_start_ns(DAY)
    sound = miniseed(np.arange(6000, dtype=np.int32), start, "Z", 100.0)
    put_day(source, DAY, "Z", sound)
    later = start + DAY_NS - spill * SECOND // 100
    put_day(
        source,
        DAY + timedelta(days=1),
        "Z",
        miniseed(np.arange(6000, dtype=np.int32), later, "Z", 100.0),
    )
    assert [one.state for one in done(source, destination)] == ["written", "written"]
    (name,) = Path(source).rglob("*.D.*.036")
    name.unlink()
    if body is not None:
        name.write_bytes(2 * sound.replace(b"SYN", b"OTH") if body == b"OTHER" else body)
    for _ in range(2):
        first = done(source, destination)[0]
        if body is not None:
            assert first.state == "unreadable" and "before is kept" in first.detail
        reading = opened("zarr", destination).read(HH, start, start + DAY_NS)
        whole = assemble(reading.fragments, 100.0, *span_of(start, 100.0))
        assert whole.mask.sum() == 6000 + spill and not (reading.lost or reading.detail)


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
