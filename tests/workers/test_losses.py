"""What an object costs that is refused, missing, unreadable or throttled, seen by a real shard."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from catalog import requests
from catalog.schema import Flag, Outcome, Shard, TraceId, day_start_ns
from catalog.store import Throttled, open_store
from tests.faults import Answer, Delay, FaultyS3
from workers.archives import Archive, ArchiveConfig, open_archive
from workers.archives.objects import Candidate as Named
from workers.archives.objects import Objects
from workers.engines import open_engine
from workers.losses import REACH_NS
from workers.pipeline import pick_shard, pick_span
from workers.span import Candidate, Picked
from workers.synthetic import network_days, sds_path, write_sds
from workers.waveform import NS
from workers.weights import resolve

TRACE = TraceId("XX", "LOS", "", "HH")
DAYS = [date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 3)]
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
    found: Mapping[date, Picked], undisturbed: Mapping[date, Picked]
) -> None:
    """The second day is whole but for its first minute and a half; the third knows of nothing."""
    first, second, third = (found[day] for day in DAYS)
    assert first.picks.num_rows == 0
    assert (second.outcome, second.flags) == (Outcome.PICKED, Flag.HALO_LOST)
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
    check_beside_the_first_day(found, undisturbed)
    (refused,) = [n for name, n in faulty_s3.asked.items() if name.endswith("HHZ.D.2024.061")]
    assert refused == 1, "for two days, and asked once"


def test_an_unreadable_object_costs_its_own_day_alone(
    recorded: Path, tmp_path: Path, candidate: Candidate, undisturbed: dict[date, Picked]
) -> None:
    shutil.copytree(recorded, tmp_path / "sds")
    for component in "ZNE":
        path = sds_path(tmp_path / "sds", TRACE, component, BEGIN)
        path.write_bytes(b"<html>maintenance</html>")
    found = picked(local(tmp_path / "sds"), candidate)
    assert found[DAYS[0]].outcome is Outcome.BAD_FORMAT and "<html>" in found[DAYS[0]].detail
    check_beside_the_first_day(found, undisturbed)


@pytest.mark.parametrize("cut_s", [[200], [60, 100, 250], [1, 299]])
def test_beside_a_lost_object_rows_do_not_depend_on_cuts(
    recorded: Path, tmp_path: Path, candidate: Candidate, cut_s: list[int]
) -> None:
    shutil.copytree(recorded, tmp_path / "sds")
    sds_path(tmp_path / "sds", TRACE, "Z", BEGIN).write_bytes(b"<html>")
    archive = local(tmp_path / "sds")
    whole = pick_span(archive, TRACE, MIDDLE, MIDDLE + 400 * NS, [candidate])["c"].picks
    edges = [MIDDLE, *(MIDDLE + second * NS for second in cut_s), MIDDLE + 400 * NS]
    parts = [
        pick_span(archive, TRACE, low, high, [candidate])["c"].picks
        for low, high in pairwise(edges)
    ]
    assert whole.num_rows > 5 and pa.concat_tables(parts).equals(whole)
    longer = pick_span(archive, TRACE, MIDDLE - 300 * NS, MIDDLE + 400 * NS, [candidate])["c"]
    assert rows(longer.picks, MIDDLE, END) == whole.to_pylist()
    assert longer.flags == Flag.SALVAGED | Flag.HALO_LOST


def test_a_missing_object_is_no_data_and_no_flag(
    stored: ArchiveConfig, faulty_s3: FaultyS3, candidate: Candidate
) -> None:
    faulty_s3.fail(Answer(404, "NoSuchKey"), r"2024\.061$")
    found = picked(open_archive(stored), candidate)
    assert (found[DAYS[0]].outcome, found[DAYS[0]].flags) == (Outcome.NO_DATA, 0)
    assert (found[DAYS[1]].outcome, found[DAYS[1]].flags) == (Outcome.PICKED, 0)


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
        objects._coming([Named(f"{k:02d}", 0, 1) for k in range(30)])
    ):
        assert body is not None and body.result().size == 100
        assert named.key == f"{taken:02d}" and len(begun) <= taken + 6
    assert len(begun) == 30


def test_one_of_many_candidates_is_not_judged_by_another(
    recorded: Path, tmp_path: Path, candidate: Candidate
) -> None:
    """All candidates of a station-day share its losses."""
    shutil.copytree(recorded, tmp_path / "sds")
    sds_path(tmp_path / "sds", TRACE, "N", BEGIN).write_bytes(b"")
    pair = [candidate, replace(candidate, name="d", floors={"P": 0.5, "S": 0.5})]
    (_, second, _) = pick_shard(local(tmp_path / "sds"), SHARD, pair)
    assert {name: one.flags for name, one in second.picked.items()} == {
        "c": Flag.HALO_LOST,
        "d": Flag.HALO_LOST,
    }
