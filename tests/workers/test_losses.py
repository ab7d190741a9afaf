"""What an object costs that is refused, missing, unreadable or throttled, seen by a real shard."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from obspy import UTCDateTime, read

from catalog import requests
from catalog.schema import Flag, Outcome, Shard, TraceId, day_start_ns
from catalog.store import Throttled, open_store
from tests.faults import Answer, Delay, FaultyS3
from tests.spans import pick_span
from workers.archives import Archive, ArchiveConfig, open_archive
from workers.archives.objects import NamedObject, Objects
from workers.candidate import Candidate
from workers.engines import open_engine
from workers.ingest import ingest
from workers.miniseed.body import Held
from workers.miniseed.scanning import scan
from workers.picked import Picked
from workers.pipeline import pick_shard
from workers.span import margin_ns
from workers.synthetic import network_days, sds_path, write_sds
from workers.waveform import NS
from workers.weights import resolve

TRACE = TraceId("XX", "LOS", "", "HH")
DAYS = [date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 3)]
REACH_NS = margin_ns(100)
REFUSED = Flag.HALO_LOST | Flag.HALO_REFUSED
UNREADABLE = Flag.HALO_LOST | Flag.INCOMPLETE
BEGIN, MIDDLE, END = (day_start_ns(day) for day in DAYS)
SHARD = Shard((TRACE,), DAYS[0], date(2024, 3, 4))


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    weights = resolve("builtin:synthetic")
    return Candidate.of("c", [weights], open_engine("fast"), {"P": 0.1, "S": 0.1})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten minutes around each of the two midnights of three days."""
    root = tmp_path_factory.mktemp("recorded")
    rng = np.random.default_rng(5)
    recordings = [
        network_days([TRACE], midnight - 300 * NS, 600.0, 360.0, rng) for midnight in (MIDDLE, END)
    ]
    write_sds(root, chain.from_iterable(recordings))
    return root


@pytest.fixture
def sds(recorded: Path, tmp_path: Path) -> Path:
    """The same, to be damaged."""
    return Path(shutil.copytree(recorded, tmp_path / "sds"))


@pytest.fixture(scope="module")
def undisturbed(recorded: Path, candidate: Candidate) -> dict[date, Picked]:
    return picked(local(recorded), candidate)


def local(root: Path) -> Archive:
    return open_archive(ArchiveConfig(kind="sds", root=str(root)))


def picked(archive: Archive, candidate: Candidate) -> dict[date, Picked]:
    return {
        done.station_day.day: done.picked["c"] for done in pick_shard(archive, SHARD, [candidate])
    }


@pytest.fixture
def stored(
    recorded: Path, s3: Any, faulty_s3: FaultyS3, monkeypatch: pytest.MonkeyPatch
) -> ArchiveConfig:
    """The same archive on S3, asked through the proxy."""
    monkeypatch.setattr(requests, "FIRST_WAIT_S", 0.001)
    store = open_store(s3.url("sds"))
    for path in sorted(recorded.rglob("*.*.D.*")):
        store.create(str(path.relative_to(recorded)), path.read_bytes())
    faulty_s3.heal()
    return ArchiveConfig(kind="sds", root=s3.url("sds"))


def rows(picks: pa.Table, low: int, high: int) -> list[dict[str, Any]]:
    return [row for row in picks.to_pylist() if low <= row["time"].value < high]


def check_beside_the_first_day(
    found: Mapping[date, Picked],
    undisturbed: Mapping[date, Picked],
    flags: int,
) -> None:
    """The second day is whole but for its first minute and a half; the third knows of nothing."""
    first, second, third = (found[day] for day in DAYS)
    assert first.picks.num_rows == 0
    assert (second.outcome, second.flags) == (Outcome.PICKED, flags)
    assert "beside this span" in second.detail and "LOS..HHZ.D.2024.061" in second.detail
    near = rows(second.picks, MIDDLE, MIDDLE + REACH_NS)
    assert near and all(row["flags"] & Flag.HALO_LOST for row in near)
    far = rows(second.picks, MIDDLE + REACH_NS, END)
    assert len(far) > 5 and far == rows(undisturbed[DAYS[1]].picks, MIDDLE + REACH_NS, END)
    assert third.picks.equals(undisturbed[DAYS[2]].picks)
    assert (third.outcome, third.flags, third.detail) == (Outcome.PICKED, 0, "")


def test_a_refused_object_costs_its_own_day_alone(
    stored: ArchiveConfig,
    faulty_s3: FaultyS3,
    candidate: Candidate,
    undisturbed: dict[date, Picked],
) -> None:
    faulty_s3.fail(Answer(403, "AccessDenied"), r"HHZ\.D\.2024\.061")
    found = picked(open_archive(stored), candidate)
    assert found[DAYS[0]].outcome is Outcome.ACCESS_DENIED and "HHZ" in found[DAYS[0]].detail
    check_beside_the_first_day(found, undisturbed, REFUSED)
    (refused,) = [n for name, n in faulty_s3.asked.items() if name.endswith("HHZ.D.2024.061")]
    assert refused == 1, "for two days, and asked once"


@pytest.mark.parametrize("kind", ["sds", "earthscope"])
def test_a_refused_listing_of_another_year_costs_that_year_alone(
    kind: Literal["sds", "earthscope"],
    tmp_path: Path,
    s3: Any,
    faulty_s3: FaultyS3,
    candidate: Candidate,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """New Year's Day is picked, and marked where the halo is not to be had."""
    monkeypatch.setattr(requests, "FIRST_WAIT_S", 0.001)
    new_year = day_start_ns(date(2024, 1, 1))
    rng = np.random.default_rng(5)
    write_sds(tmp_path, network_days([TRACE], new_year - 300 * NS, 600.0, 360.0, rng))
    store = open_store(s3.url(kind))
    bodies: dict[str, bytes] = {}
    for path in sorted(tmp_path.rglob("*.*.D.*")):
        key = str(path.relative_to(tmp_path))
        if kind == "earthscope":
            year, doy = key.split(".")[-2:]
            key = f"XX/{year}/{doy}/LOS.XX.{year}.{doy}"
        bodies[key] = bodies.get(key, b"") + path.read_bytes()
    for key, body in bodies.items():
        store.create(key, body)
    faulty_s3.heal()
    archive = ArchiveConfig(kind=kind, root=s3.url(kind))
    shard = Shard((TRACE,), date(2024, 1, 1), date(2024, 1, 2))
    (whole,) = pick_shard(open_archive(archive), shard, [candidate])
    faulty_s3.fail(Answer(403, "AccessDenied"), r"LIST .*2023")
    (day,) = pick_shard(open_archive(archive), shard, [candidate])
    found = day.picked["c"]
    assert (found.outcome, found.flags) == (Outcome.PICKED, REFUSED | Flag.BREAKS_OFF)
    assert "beside this span access denied" in found.detail
    low, high = new_year + REACH_NS, new_year + 300 * NS
    far = rows(found.picks, low, high)
    assert len(far) > 5 and far == rows(whole.picked["c"].picks, low, high)
    near = rows(found.picks, new_year, low)
    assert near and all(row["flags"] & Flag.HALO_LOST for row in near)
    faulty_s3.fail(Answer(403, "AccessDenied"), r"LIST .*2024")
    (day,) = pick_shard(open_archive(archive), shard, [candidate])
    assert day.picked["c"].outcome is Outcome.ACCESS_DENIED


def test_an_unreadable_object_costs_its_own_day_alone(
    sds: Path,
    stored_as: Callable[[Path], Archive],
    candidate: Candidate,
    undisturbed: dict[date, Picked],
) -> None:
    for component in "ZNE":
        path = sds_path(sds, TRACE, component, BEGIN)
        path.write_bytes(b"<html>maintenance</html>")
    found = picked(stored_as(sds), candidate)
    assert found[DAYS[0]].outcome is Outcome.BAD_FORMAT and "<html>" in found[DAYS[0]].detail
    check_beside_the_first_day(found, undisturbed, UNREADABLE | Flag.BREAKS_OFF)


def of_another_station(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"LOS  ", b"OTHER"))


def without_w(path: Path) -> None:
    """Z as V, the others as U: what cannot be turned."""
    channel = path.parent.name.removesuffix(".D")
    body = path.read_bytes().replace(channel.encode(), b"HHV" if channel == "HHZ" else b"HHU")
    path.write_bytes(body)


def not_a_number(path: Path) -> None:
    stream = read(str(path))
    for trace in stream:
        trace.data = np.full(len(trace.data), np.nan, np.float32)
    stream.write(str(path), "MSEED", encoding="FLOAT32")


@pytest.mark.parametrize("spoil", [of_another_station, without_w, not_a_number])
def test_a_day_of_no_use_is_from_zarr_what_it_is_from_the_source(
    sds: Path, tmp_path: Path, candidate: Candidate, spoil: Callable[[Path], None]
) -> None:
    """Its own outcome and flags, and nothing that its neighbours would not have either."""
    for component in "ZNE":
        spoil(sds_path(sds, TRACE, component, MIDDLE))
    direct = picked(local(sds), candidate)
    assert direct[DAYS[1]].outcome is Outcome.BAD_FORMAT
    zarr = ArchiveConfig(kind="zarr", root=str(tmp_path / "zarr"))
    states = [one.state for one in ingest(local(sds), zarr.store(), DAYS[0], date(2024, 3, 4))]
    assert states == ["written", "unreadable", "written"]
    found = picked(open_archive(zarr), candidate)
    for day in DAYS:
        assert found[day].picks.equals(direct[day].picks)
        for fact in ("outcome", "flags", "detail", "seconds", "repaired"):
            assert getattr(found[day], fact) == getattr(direct[day], fact), (day, fact)


def damaged(root: Path, before_ns: int, how: str) -> None:
    """The record of the first day's Z that holds the sample so long before midnight: a bit of its
    payload, or all of its header."""
    path = sds_path(root, TRACE, "Z", BEGIN)
    body = bytearray(path.read_bytes())
    records = scan(Held(bytes(body)))
    at = int(records.at[np.searchsorted(records.start, MIDDLE - before_ns, side="right") - 1])
    if how == "payload":
        body[at + 200] ^= 4
    else:
        body[at : at + 48] = bytes(48)
    path.write_bytes(body)


@pytest.fixture(params=["sds", "zarr"])
def stored_as(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], Archive]:
    """A folder of SDS as it is, or as it is ingested."""

    def opened(root: Path) -> Archive:
        if request.param == "sds":
            return local(root)
        config = ArchiveConfig(kind="zarr", root=str(tmp_path / "zarr"))
        list(ingest(local(root), config.store(), DAYS[0], date(2024, 3, 4)))
        return open_archive(config)

    return opened


@pytest.mark.parametrize("how", ["payload", "header"])
def test_a_damaged_record_is_told_by_its_own_day_alone(
    sds: Path,
    stored_as: Callable[[Path], Archive],
    candidate: Candidate,
    undisturbed: dict[date, Picked],
    how: str,
) -> None:
    """Out of reach of the next day its object is read for that day's halo, and nothing is said."""
    damaged(sds, REACH_NS + 20 * NS, how)
    found = picked(stored_as(sds), candidate)
    first, second, third = (found[day] for day in DAYS)
    assert (first.flags, first.repaired) == (Flag.SALVAGED, 1)
    assert re.search("records of XX.LOS..HHZ|bytes are no record", first.detail)
    for day, one in zip(DAYS[1:], (second, third), strict=True):
        assert (one.flags, one.detail, one.repaired) == (0, "", 0)
        assert one.picks.equals(undisturbed[day].picks)


@pytest.mark.parametrize("how", ["payload", "header"])
def test_a_damaged_record_in_the_halo_is_marked_as_far_as_it_reaches(
    sds: Path,
    stored_as: Callable[[Path], Archive],
    candidate: Candidate,
    undisturbed: dict[date, Picked],
    how: str,
) -> None:
    before = 12 * NS
    damaged(sds, before, how)
    found = picked(stored_as(sds), candidate)
    first, second, third = (found[day] for day in DAYS)
    assert first.flags == Flag.SALVAGED
    assert (second.flags, second.repaired) == (Flag.HALO_LOST, 0)
    assert second.detail == "beside this span records are damaged"
    assert (third.flags, third.detail) == (0, "")
    flagged = [row["time"].value for row in second.picks.to_pylist() if row["flags"]]
    assert flagged and REACH_NS - before - 5 * NS < max(flagged) - MIDDLE < REACH_NS - before + NS
    low = max(flagged) + 1
    assert rows(second.picks, low, END) == rows(undisturbed[DAYS[1]].picks, low, END)
    assert rows(second.picks, MIDDLE, low) != rows(undisturbed[DAYS[1]].picks, MIDDLE, low)


def test_how_far_a_loss_reaches_is_a_matter_of_the_candidates_rate(
    sds: Path, candidate: Candidate
) -> None:
    """A slower model's windows are longer; and its company changes nothing for a faster one."""
    damaged(sds, REACH_NS + 10 * NS, "payload")
    slow = replace(
        candidate, name="slow", preparation=replace(candidate.preparation, sampling_rate=50)
    )
    assert margin_ns(50) > REACH_NS + 20 * NS
    (_, alone, _) = pick_shard(local(sds), SHARD, [candidate])
    (_, both, _) = pick_shard(local(sds), SHARD, [candidate, slow])
    assert both.picked["c"].picks.equals(alone.picked["c"].picks)
    assert (both.picked["c"].flags, both.picked["c"].detail) == (0, "")
    assert both.picked["slow"].flags & Flag.HALO_LOST


def test_what_a_cut_off_object_lacks_is_marked_on_the_day_after(
    sds: Path,
    stored_as: Callable[[Path], Archive],
    candidate: Candidate,
) -> None:
    path = sds_path(sds, TRACE, "Z", MIDDLE)
    path.write_bytes(path.read_bytes()[:-700])
    found = picked(stored_as(sds), candidate)
    assert [found[day].flags for day in DAYS] == [0, Flag.TRUNCATED, Flag.HALO_LOST]
    assert [bool(found[day].detail) for day in DAYS] == [False, True, True]


@pytest.mark.parametrize("cut_s", [[200], [60, 100, 250], [1, 299]])
@pytest.mark.parametrize("where_s", [5, 100])
def test_beside_a_damaged_record_rows_do_not_depend_on_cuts(
    sds: Path, candidate: Candidate, cut_s: list[int], where_s: int
) -> None:
    damaged(sds, where_s * NS, "payload")
    archive, begin = local(sds), MIDDLE - 150 * NS
    whole = pick_span(archive, TRACE, begin, begin + 400 * NS, [candidate])["c"].picks
    edges = [begin, *(begin + second * NS for second in cut_s), begin + 400 * NS]
    parts = [
        pick_span(archive, TRACE, low, high, [candidate])["c"].picks
        for low, high in pairwise(edges)
    ]
    assert pa.concat_tables(parts).equals(whole)
    marked = {row["time"].value for row in whole.to_pylist() if row["flags"] & Flag.HALO_LOST}
    assert marked and min(marked) >= MIDDLE


@pytest.mark.parametrize("cut_s", [[200], [60, 100, 250], [1, 299]])
def test_beside_a_lost_object_rows_do_not_depend_on_cuts(
    sds: Path, candidate: Candidate, cut_s: list[int]
) -> None:
    sds_path(sds, TRACE, "Z", BEGIN).write_bytes(b"<html>")
    archive = local(sds)
    whole = pick_span(archive, TRACE, MIDDLE, MIDDLE + 400 * NS, [candidate])["c"].picks
    edges = [MIDDLE, *(MIDDLE + second * NS for second in cut_s), MIDDLE + 400 * NS]
    parts = [
        pick_span(archive, TRACE, low, high, [candidate])["c"].picks
        for low, high in pairwise(edges)
    ]
    assert whole.num_rows > 5 and pa.concat_tables(parts).equals(whole)
    longer = pick_span(archive, TRACE, MIDDLE - 300 * NS, MIDDLE + 400 * NS, [candidate])["c"]
    assert rows(longer.picks, MIDDLE, END) == whole.to_pylist()
    assert longer.flags == Flag.SALVAGED | UNREADABLE


def test_a_missing_object_is_no_data_and_no_fault_of_the_next_day(
    stored: ArchiveConfig, faulty_s3: FaultyS3, candidate: Candidate
) -> None:
    faulty_s3.fail(Answer(404, "NoSuchKey"), r"2024\.061$")
    found = picked(open_archive(stored), candidate)
    assert (found[DAYS[0]].outcome, found[DAYS[0]].flags) == (Outcome.NO_DATA, 0)
    assert (found[DAYS[1]].outcome, found[DAYS[1]].flags) == (Outcome.PICKED, Flag.BREAKS_OFF)
    assert not any(row["flags"] for row in found[DAYS[1]].picks.to_pylist())
    gone = "LOS..HHZ.D.2024.061: was listed, and is gone"
    assert gone in found[DAYS[0]].detail and found[DAYS[1]].detail == ""


@pytest.mark.parametrize(("spill_s", "gap_s"), [(0, 0), (12, 0), (60, 0), (140, 0), (0, 20)])
def test_a_day_whose_data_break_off_at_midnight_says_so(
    sds: Path, candidate: Candidate, spill_s: int, gap_s: int
) -> None:
    """Also where the last record reaches over it, or ends before it: the day beside as well, which
    has no more than that. Without a gap, and far from midnight, nothing does."""
    for component in "ZNE":
        stream = read(str(sds_path(sds, TRACE, component, BEGIN)))
        stream += read(str(sds_path(sds, TRACE, component, MIDDLE)))
        stream = stream.merge(method=1).split()
        end = MIDDLE + (spill_s - gap_s) * NS - NS // 100
        stream.trim(endtime=UTCDateTime(ns=end))
        stream.write(str(sds_path(sds, TRACE, component, BEGIN)), "MSEED", reclen=512)
        sds_path(sds, TRACE, component, MIDDLE).unlink()
    found = picked(local(sds), candidate)
    outcomes = [Outcome.PICKED, Outcome.PICKED if spill_s else Outcome.NO_DATA, Outcome.PICKED]
    assert [found[day].outcome for day in DAYS] == outcomes
    off = Flag.BREAKS_OFF
    assert [found[day].flags for day in DAYS] == [off, off if spill_s else 0, off]


@pytest.mark.parametrize(
    ("error", "outcome", "flag"),
    [
        (Answer(404, "NoSuchKey"), Outcome.NO_DATA, Flag.BREAKS_OFF),
        (Answer(403, "AccessDenied"), Outcome.ACCESS_DENIED, Flag.HALO_LOST | Flag.HALO_REFUSED),
    ],
)
def test_a_day_of_nothing_says_what_the_day_beside_it_may_bring(
    stored: ArchiveConfig,
    faulty_s3: FaultyS3,
    candidate: Candidate,
    error: Answer,
    outcome: Outcome,
    flag: int,
) -> None:
    """Whose records may reach over midnight."""
    faulty_s3.fail(error, r"2024\.061$")
    faulty_s3.fail(Answer(403, "AccessDenied"), r"HH[ZN]\.D\.2024\.062$")
    found = picked(open_archive(stored), candidate)
    assert [found[day].outcome for day in DAYS[:2]] == [outcome, Outcome.ACCESS_DENIED]
    assert found[DAYS[1]].flags == flag


def test_a_day_of_another_station_counts_as_not_there(sds: Path, candidate: Candidate) -> None:
    """What comes in its place may reach far over midnight."""
    for component in "ZNE":
        path = sds_path(sds, TRACE, component, MIDDLE)
        late = read(str(path)).trim(starttime=UTCDateTime(ns=MIDDLE + 150 * NS))
        late.write(str(path), "MSEED", reclen=512)
        path = sds_path(sds, TRACE, component, BEGIN)
        early = read(str(path))
        for trace in early:
            trace.stats.starttime -= 20_000
        early.write(str(path), "MSEED", reclen=512)
    assert picked(local(sds), candidate)[DAYS[1]].flags & Flag.BREAKS_OFF == 0
    for component in "ZNE":
        path = sds_path(sds, TRACE, component, BEGIN)
        path.write_bytes(path.read_bytes().replace(TRACE.station.encode(), b"OTH"))
    found = picked(local(sds), candidate)
    assert found[DAYS[0]].outcome is Outcome.BAD_FORMAT
    assert found[DAYS[1]].flags & Flag.BREAKS_OFF


def test_a_store_that_does_not_answer_ends_the_shard_even_for_a_halo(
    stored: ArchiveConfig, faulty_s3: FaultyS3, candidate: Candidate
) -> None:
    faulty_s3.fail(Answer(429, "TooManyRequests"), r"HHZ\.D\.2024\.063")
    archive = open_archive(stored)
    with pytest.raises(Throttled, match=r"throttled \(429 TooManyRequests\): s3://.*063"):
        list(pick_shard(archive, SHARD, [candidate]))
    faulty_s3.heal()
    assert [each.station_day.day for each in pick_shard(archive, SHARD, [candidate])] == DAYS


def test_objects_come_together_and_the_order_of_arrival_changes_nothing(
    stored: ArchiveConfig,
    faulty_s3: FaultyS3,
    candidate: Candidate,
    undisturbed: dict[date, Picked],
) -> None:
    for nth, delay in (("HHE.D.2024.06[13]", 0.3), ("HHN.D.2024.062", 0.2)):
        faulty_s3.fail(Delay(delay), f"GET .*{nth}")
    found = picked(open_archive(stored), candidate)
    for day in DAYS:
        assert found[day].picks.equals(undisturbed[day].picks)
    assert 2 < faulty_s3.most_at_once <= 6


def test_no_more_objects_wait_in_memory_than_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many a span has, and however slowly they are taken."""
    for k in range(30):
        (tmp_path / f"{k:02d}").write_bytes(b"x" * 100)
    objects = Objects(open_store(str(tmp_path)))
    begun: list[str] = []
    part = objects.store.fetch_part

    def fetch_part(key: str, *rest: Any, **more: Any) -> Any:
        begun.append(key)
        return part(key, *rest, **more)

    monkeypatch.setattr(objects.store, "fetch_part", fetch_part)
    for taken, (named, body) in enumerate(
        objects._coming([NamedObject(f"{k:02d}", 0, 1) for k in range(30)])
    ):
        assert body is not None and body.result().size == 100
        assert named.key == f"{taken:02d}" and len(begun) <= taken + 6
    assert len(begun) == 30


def test_one_of_many_candidates_is_not_judged_by_another(sds: Path, candidate: Candidate) -> None:
    """All candidates of a station-day share its losses."""
    sds_path(sds, TRACE, "N", BEGIN).write_bytes(b"")
    pair = [candidate, replace(candidate, name="d", floors={"P": 0.5, "S": 0.5})]
    (_, second, _) = pick_shard(local(sds), SHARD, pair)
    assert {name: one.flags for name, one in second.picked.items()} == {
        "c": UNREADABLE,
        "d": UNREADABLE,
    }


def test_a_day_of_no_use_tells_what_was_read_in_vain(sds: Path, candidate: Candidate) -> None:
    """The objects of the days beside it, and its own, which nobody can read."""
    objects = {str(path) for path in sds.rglob("*.D.*.*")}
    for path in sds.rglob(f"*.{DAYS[1]:%Y.%j}"):
        path.write_bytes(b"<html>maintenance</html>")
    _, second, _ = pick_shard(local(sds), SHARD, [candidate])
    assert second.picked["c"].outcome == Outcome.BAD_FORMAT
    assert objects and second.inputs.keys() == objects
