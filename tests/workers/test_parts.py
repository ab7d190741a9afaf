"""A day with too many samples for one reading is picked in parts, and nobody can tell."""

import gc
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.schema import Flag, Outcome, Shard, StationDay, TraceId
from workers import parts as parting
from workers import pipeline
from workers.archives import Archive, ArchiveConfig, TooMuch, open_archive
from workers.archives import objects as gathering
from workers.archives import zarr as stored
from workers.candidate import Candidate
from workers.engines import open_engine
from workers.ingest import ingest
from workers.parts import Gathered, Part, Ungathered, ahead, in_parts
from workers.picked import PRECEDENCE, Counted, Picked, joined
from workers.pipeline import StationDayPicked, pick_shard
from workers.synthetic import network_days, sds_path, station_day, write_sds
from workers.tensors import Eager, TensorEngine
from workers.waveform import Samples
from workers.weights import resolve

TRACE = TraceId("XX", "PART", "", "HH")
DAY = StationDay(TRACE, date(2024, 3, 1))
NEXT = date(2024, 3, 2)
MINUTE = 60 * 10**9
NOON = DAY.start_ns + 12 * 60 * MINUTE
GAPS_S = ((500.0, 504.0), (1100.0, 1130.0))


@pytest.fixture(scope="module")
def sds(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Forty minutes around noon, with gaps and a component that is dead before it."""
    root = tmp_path_factory.mktemp("parts")
    rng = np.random.default_rng(4)
    begin = NOON - 20 * MINUTE
    (recording,) = network_days([TRACE], begin, 2400.0, 100.0, rng, gaps={TRACE: GAPS_S})
    recording.data[2, : 20 * 60 * 100] = 7
    write_sds(root, [recording])
    return str(root)


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    weights = resolve("builtin:synthetic")
    return Candidate.of("c", [weights], open_engine("fast"), {"P": 0.05, "S": 0.05})


def picked(archive: Archive, candidate: Candidate) -> StationDayPicked:
    (done,) = pick_shard(archive, Shard((TRACE,), DAY.day, NEXT), [candidate])
    return done


@pytest.mark.parametrize("kind", ["sds", "zarr"])
def test_a_day_in_parts_is_the_day(
    kind: str, sds: str, candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = open_archive(ArchiveConfig(kind="sds", root=sds))
    if kind == "zarr":
        zarr = ArchiveConfig(kind="zarr", root=str(tmp_path))
        assert [w.state for w in ingest(archive, zarr.store(), DAY.day, NEXT)] == ["written"]
        archive = open_archive(zarr)
    whole = picked(archive, candidate)
    for module in (gathering, stored):
        monkeypatch.setattr(module, "MOST_SAMPLES", 900 * 100 * 3)
    with pytest.raises(TooMuch):
        archive.read(TRACE, DAY.start_ns, DAY.end_ns)
    parts = picked(archive, candidate)
    one, other = whole.picked["c"], parts.picked["c"]
    assert other.picks.equals(one.picks) and one.picks.num_rows > 50
    assert parts.inputs == whole.inputs
    for name in (
        *("outcome", "segments", "fragments", "n_components", "sampling_rate", "saturated"),
        *("flags", "detail", "resampled_from", "repaired"),
    ):
        assert getattr(other, name) == getattr(one, name), name
    assert other.seconds == pytest.approx(one.seconds)
    assert one.segments == 3 and not one.flags & Flag.DEAD_COMPONENT


def test_what_never_fits_fails_and_says_how_much_there_was() -> None:
    def read(start_ns: int, end_ns: int) -> Gathered | Ungathered:
        raise TooMuch("object", 10**9)

    parts = list(in_parts(read, DAY.start_ns, DAY.end_ns))
    assert all(a.end_ns == b.start_ns for a, b in pairwise(parts))
    assert (parts[0].start_ns, parts[-1].end_ns) == (DAY.start_ns, DAY.end_ns)
    assert {part.end_ns - part.start_ns <= parting.SHORTEST_NS for part in parts} == {True}
    reasons = [part.read.picked for part in parts if isinstance(part.read, Ungathered)]
    whole = joined(reasons)
    assert whole.outcome == Outcome.FAILED
    assert whole.detail.startswith("object: 1000000000 samples in one span")


def test_a_part_that_is_refused_refuses_the_day() -> None:
    outcomes = (Outcome.PICKED, Outcome.ACCESS_DENIED, Outcome.NO_DATA)
    assert joined([Picked(o) for o in outcomes]).outcome == Outcome.ACCESS_DENIED
    assert joined([Picked(o) for o in outcomes[::2]]).outcome == Outcome.PICKED


def test_a_day_is_said_of_its_parts_what_is_true_of_it() -> None:
    """Each component lives in one part only; a reason is given for the outcome that stands."""
    parts = [
        Picked(Outcome.PICKED, "", ("one",), short=Counted(60), living=0b001, present=0b111),
        Picked(Outcome.DEAD, "flat", ("two", "one"), present=0b111),
        Picked(Outcome.PICKED, "", ("one",), short=Counted(60), living=0b010, present=0b111),
    ]
    day = joined(parts)
    assert day.n_components == 2
    assert day.flags == Flag.DEAD_COMPONENT | Flag.FRAGMENTED
    assert not any(part.flags & Flag.FRAGMENTED for part in parts)
    assert day.detail == "120 stretches are shorter than a window, and not picked; one; two"
    assert joined(parts[1:2] * 2).detail == "flat; two; one"


@given(st.lists(st.integers(0, 40), unique=True), st.lists(st.integers(1, 39), unique=True))
def test_stretches_of_parts_add_up_to_those_of_the_whole(edges: list[int], cuts: list[int]) -> None:
    stretches = np.array(sorted(edges)[: len(edges) // 2 * 2], np.int64).reshape(-1, 2)
    parts = [Counted.of(stretches, slice(a, b)) for a, b in pairwise([0, *sorted(cuts), 40])]
    whole = Counted.of(stretches, slice(0, 40))
    assert sum(parts[1:], parts[0]) == whole
    assert whole.number == ((stretches[:, 0] < 40) & (stretches[:, 1] > 0)).sum()


APART_S = {
    "Z": [(60.0 + 60 * k, 70.0 + 60 * k) for k in range(7)],
    "N": [(1300.0 + 100 * k, 1310.0 + 100 * k) for k in range(5)],
    "E": [(515.0, 525.0), (1190.0, 1210.0)],
}
"""Gaps of one component, before noon or after it, up to where a part begins and across."""

TOGETHER_S = [(1100.0, 1130.0), (1850.0, 1870.0), (1880.0, 1900.0)]
"""Of all: what is left between the last two is shorter than a window, and two parts share it."""


def test_what_goes_on_over_a_cut_is_counted_once(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts begin 525, 1200 and 1875 s after the first sample."""
    begin, rng = NOON - 20 * MINUTE, np.random.default_rng(6)
    (recording,) = network_days([TRACE], begin, 2400.0, 100.0, rng)
    for component, own in APART_S.items():
        gaps = [(round(a * 100), round(b * 100)) for a, b in sorted([*own, *TOGETHER_S])]
        write_sds(tmp_path / component, [replace(recording, gaps=tuple(gaps))])
        path = sds_path(tmp_path / component, TRACE, component, begin)
        there = sds_path(tmp_path / "sds", TRACE, component, begin)
        there.parent.mkdir(parents=True)
        path.rename(there)
    archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path / "sds")))
    one = picked(archive, candidate).picked["c"]
    assert (one.segments, one.fragments, one.short.number) == (4, 11, 1)
    monkeypatch.setattr(gathering, "MOST_SAMPLES", 900 * 100 * 3)
    other = picked(archive, candidate).picked["c"]
    assert (other.segments, other.fragments, other.short.number) == (4, 11, 1)
    assert other.recorded == one.recorded
    assert other.picks.equals(one.picks)


def test_every_outcome_has_its_place() -> None:
    assert set(PRECEDENCE) == set(Outcome)


def test_one_list_ahead_and_an_error_where_it_happened() -> None:
    made: list[int] = []

    def items() -> Iterator[Part]:
        for k in range(4):
            made.append(k)
            yield Part(k, k + 1, Ungathered(Picked(Outcome.NO_DATA)))
        raise OSError("broken")

    coming = ahead(items(), 2)
    assert [part.start_ns for part in next(coming)] == [0, 1]
    assert set(made) <= {0, 1, 2, 3} and [part.start_ns for part in next(coming)] == [2, 3]
    with pytest.raises(OSError, match="broken"):
        next(coming)


def test_station_days_that_share_batches_give_the_same_rows(tmp_path: Path) -> None:
    """One station-day of three has no data, one another length: batches of 64 mix the others."""
    rng = np.random.default_rng(4)
    day = StationDay(TraceId("XX", "ONE", "", "HH"), date(2024, 3, 1))
    stations = ("ONE", "THREE", "TWO")
    traces = tuple(TraceId("XX", station, "", "HH") for station in stations)
    for trace, seconds in zip(traces, (900.0, 0.0, 700.0), strict=True):
        if seconds:
            write_sds(tmp_path, [station_day(trace, day.start_ns + 10**9, seconds, 60.0, rng)])
    archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path)))
    shard = Shard(traces, date(2024, 3, 1), date(2024, 3, 2))
    rows = []
    for together in (1, 2, 3):
        engine = TensorEngine(Eager(), "cpu", 64, together)
        one = Candidate.of("c", [resolve("builtin:synthetic")], engine, {"P": 0.1, "S": 0.1})
        days = list(pick_shard(archive, shard, [one]))
        assert [d.picked["c"].outcome for d in days] == ["picked", "no_data", "picked"]
        rows.append([d.picked["c"].picks.to_pylist() for d in days])
    assert min(len(rows[0][0]), len(rows[0][2])) > 10
    assert rows[0] == rows[1] == rows[2]


def test_samples_are_let_go_before_the_next_are_picked(
    tmp_path: Path, candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one station-day is picked and the next is read, the one before takes no memory."""
    rng = np.random.default_rng(4)
    stations = ("ONE", "THREE", "TWO")
    traces = tuple(TraceId("XX", station, "", "HH") for station in stations)
    for trace in traces:
        write_sds(tmp_path, [station_day(trace, DAY.start_ns + 10**9, 120.0, 60.0, rng)])
    before: list[weakref.ref[Samples]] = []
    alive: list[int] = []
    pick = pipeline.pick_gathered

    def watched(
        gathered: Sequence[Gathered], candidates: Sequence[Candidate]
    ) -> list[dict[str, Picked]]:
        gc.collect()
        alive.append(sum(ref() is not None for ref in before))
        before.extend(weakref.ref(each.spans[candidate.ground].waveform.data) for each in gathered)
        return pick(gathered, candidates)

    monkeypatch.setattr(pipeline, "pick_gathered", watched)
    archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path)))
    days = list(pick_shard(archive, Shard(traces, DAY.day, NEXT), [candidate]))
    assert [d.picked["c"].outcome for d in days] == ["picked"] * 3
    assert alive == [0, 0, 0]
