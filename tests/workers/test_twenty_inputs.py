"""The twenty bad inputs of a real archive whose dirt is in the samples: 6, 7, 13, 14, 16, 17, 18.

Each is written to an SDS folder beside whole station-days, and picked through `pick_shard`.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from obspy import Stream, Trace, UTCDateTime, read
from obspy.signal.rotate import rotate2zne

from catalog.schema import DAY_NS, Flag, Outcome, Shard, StationDay, TraceId
from catalog.store import open_store
from tests.workers.records import rated, records_of, table
from workers.archives import Archive, ArchiveConfig, open_archive
from workers.candidate import Candidate
from workers.engines import open_engine
from workers.ingest import ingest
from workers.picker import coverage_row
from workers.pipeline import StationDayPicked, pick_shard
from workers.quality import Quality
from workers.synthetic import sds_path, station_day, write_sds
from workers.waveform import Reading
from workers.weights import resolve

BAD, WHOLE = TraceId("XX", "BAD", "", "HH"), TraceId("XX", "GOOD", "", "HH")
DAY = date(2024, 3, 2)
MIDNIGHT = StationDay(BAD, DAY).start_ns
RATE, STEP_NS = 100, 10_000_000
SECOND = 10**9
# of BAD: half an hour from ten minutes before midnight on, and twenty minutes about the next one
MINUTES = ((-10, 30), (24 * 60 - 10, 20))
BEGIN = MIDNIGHT - 600 * SECOND
AT = 120_000  # a column of the half hour, ten minutes after midnight
FAR_S = 95.0  # beyond two windows and the longest run no row changes
NEIGHBOURS = [(BAD, -1), (BAD, 1), (WHOLE, 0)]


@dataclass
class Take:
    """The half hour that is damaged. data: [3, n]; has: bool [3, n]; names: a component each.

    flags: what the archive is made to say of it.
    """

    data: NDArray[Any]
    has: NDArray[np.bool_]
    names: str = "ZNE"
    flags: list[tuple[int, int, int]] = field(default_factory=list)

    def write(self, root: Path) -> None:
        """miniSEED, a stretch after the other, in the day files that hold them."""
        for name, row, has in zip(self.names, self.data, self.has, strict=False):
            edges = np.flatnonzero(np.diff(has.astype(np.int8), prepend=0, append=0))
            midnight = (MIDNIGHT - BEGIN) // STEP_NS
            for low, high in ((0, midnight), (midnight, len(row))):
                stream = Stream()
                for a, b in edges.reshape(-1, 2).clip(low, high):
                    if a < b:
                        header = {
                            "network": BAD.network,
                            "station": BAD.station,
                            "channel": f"{BAD.band}{name}",
                            "sampling_rate": RATE,
                            "starttime": UTCDateTime(ns=BEGIN + int(a) * STEP_NS),
                        }
                        stream.append(Trace(row[a:b].copy(), header))
                path = sds_path(root, BAD, name, BEGIN + low * STEP_NS)
                path.parent.mkdir(parents=True, exist_ok=True)
                later = path.read_bytes() if path.exists() else b""
                if stream:
                    stream.write(str(path), format="MSEED", reclen=512)
                    path.write_bytes(path.read_bytes() + later)


@pytest.fixture(scope="module")
def undamaged() -> Take:
    rng = np.random.default_rng(11)
    data = station_day(BAD, BEGIN, MINUTES[0][1] * 60.0, 90.0, rng, 0.0).data
    return Take(data, np.ones(data.shape, bool))


@pytest.fixture(scope="module")
def beside_it(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is whole."""
    root, rng = tmp_path_factory.mktemp("beside"), np.random.default_rng(12)
    write_sds(root, [station_day(BAD, MIDNIGHT + DAY_NS - 600 * SECOND, 1200.0, 60.0, rng)])
    write_sds(root, [station_day(WHOLE, MIDNIGHT + 10**10, 600.0, 60.0, rng)])
    return root


def archive_of(root: Path, take: Take, beside_it: Path) -> Archive:
    """BAD with its take, and what is whole beside it."""
    shutil.copytree(beside_it, root, dirs_exist_ok=True)
    take.write(root)
    return Flagging(open_archive(ArchiveConfig(kind="sds", root=str(root))), take.flags)


class Flagging:
    """An archive whose records of BAD say what `flags` say."""

    def __init__(self, archive: Archive, flags: list[tuple[int, int, int]]) -> None:
        self.holdings, self._archive, self._flags = archive.holdings, archive, flags

    def read(self, trace: TraceId, start_ns: int, end_ns: int) -> Reading:
        found = self._archive.read(trace, start_ns, end_ns)
        flags = self._flags if trace == BAD else []
        return Reading(found.fragments, found.inputs, [*found.flags, *flags], found.detail)


def candidate(quality: Quality = "strict") -> Candidate:
    floors = {"P": 0.1, "S": 0.1}
    weights = [resolve("builtin:synthetic")]
    return Candidate.of(quality, weights, open_engine("fast"), floors, quality=quality)


def picked(archive: Archive, *candidates: Candidate) -> dict[tuple[TraceId, int], StationDayPicked]:
    """The damaged station-day and those beside it, by trace and days from DAY."""
    one = timedelta(days=1)
    shards = Shard((BAD,), DAY - one, DAY + 2 * one), Shard((WHOLE,), DAY, DAY + one)
    return {
        (done.station_day.trace, (done.station_day.day - DAY).days): done
        for shard in shards
        for done in pick_shard(archive, shard, candidates)
    }


@pytest.fixture(scope="module")
def expected(
    undamaged: Take, beside_it: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[TraceId, int], StationDayPicked]:
    root = tmp_path_factory.mktemp("whole")
    found = picked(archive_of(root, undamaged, beside_it), candidate())
    day = found[BAD, 0].picked["strict"]
    assert (day.outcome, day.flags, day.segments, day.fragments) == (Outcome.PICKED, 0, 2, 2)
    assert min(len(rows_of(found[which])) for which in [(BAD, 0), *NEIGHBOURS]) > 10
    return found


Rows = list[dict[str, Any]]


def rows_of(done: StationDayPicked, name: str = "strict") -> Rows:
    rows: Rows = done.picked[name].picks.to_pylist()
    return rows


def seconds_of(row: Mapping[str, Any]) -> float:
    """After BEGIN."""
    return float(row["time"].value - BEGIN) / SECOND


def beside(rows: Rows, low_s: float, high_s: float, reach_s: float) -> Rows:
    """Those farther than `reach_s` from [low_s, high_s]."""
    return [r for r in rows if not low_s - reach_s < seconds_of(r) < high_s + reach_s]


def refound(rows: Rows, expected: Rows, within_s: float = 0.05) -> float:
    """The share of the expected picks above 0.3 that are among the rows."""
    sure = [r for r in expected if r["probability"] > 0.3 and r["saddle"] < 0.15]
    near = [
        any(
            r["phase"] == one["phase"] and abs(seconds_of(r) - seconds_of(one)) <= within_s
            for r in rows
        )
        for one in sure
    ]
    assert len(near) > 8
    return float(np.mean(near))


def nothing(take: Take) -> None:
    pass


def many_gaps(take: Take) -> None:
    """5,000 fragments a day: of 17 s, 0.1 to 0.9 s apart, of every component at other times."""
    for row in range(3):
        for k in range(600 + 500 * row, take.data.shape[1] - 2000, 1728):
            take.has[row, k : k + 10 + k % 80] = False


def shreds(take: Take) -> None:
    """Stretches of 5 s, 2 s apart; two minutes are whole."""
    for k in range(0, take.data.shape[1], 700):
        if not AT - 6000 < k < AT + 6000:
            take.has[:, k : k + 200] = False


def short_gap(take: Take) -> None:
    take.has[:, AT : AT + 80] = False


def short_gap_of_one(take: Take) -> None:
    take.has[0, AT : AT + 80] = False


def longer_gap(take: Take) -> None:
    take.has[:, AT : AT + 101] = False


def orphan(take: Take) -> None:
    take.names = "Z"


def tilted(take: Take) -> None:
    """As an STS-2 has it; obspy's rotation is the judge."""
    dip = -np.degrees(np.arctan(np.sqrt(0.5)))
    axes = [(azimuth, dip) for azimuth in (270, 30, 150)]
    z, n, e = take.data.astype(np.float64)
    (u, az_u), (v, az_v), (w, az_w) = zip((z, n, e), axes, strict=True)
    turned = rotate2zne(u, *az_u, v, *az_v, w, *az_w, inverse=True)
    take.data, take.names = np.rint(turned).astype(np.int32), "UVW"


def two_of_three(take: Take) -> None:
    tilted(take)
    take.names = "UV"


def numbered(take: Take) -> None:
    take.names = "312"


def flat(take: Take) -> None:
    take.data[:] = [[5], [-7], [0]]


def no_numbers(take: Take) -> None:
    take.data = np.full(take.data.shape, np.nan, np.float32)


def stuck_for_minutes(take: Take) -> None:
    take.data[2, AT - 20_000 : AT + 20_000] = take.data[2, AT - 20_001]


def one_flat(take: Take) -> None:
    take.data[2] = 16_777_301


def spikes(take: Take) -> None:
    take.data[0, AT] = 2**23
    take.data[1, AT + 200 : AT + 202] = -(2**23)
    take.data[2, AT + 330 : AT + 332] = (2**22, -(2**22))


def not_finite(take: Take) -> None:
    take.data = take.data.astype(np.float32)
    take.data[0, AT] = np.nan
    take.data[1, AT + 50 : AT + 60] = np.inf
    take.data[2, AT + 100 : AT + 150 : 2] = 3e38
    take.data[2, AT + 101 : AT + 150 : 2] = -3e38


def clipped(take: Take) -> None:
    limit = int(np.quantile(np.abs(take.data), 0.998))
    np.clip(take.data, -limit, limit, out=take.data)


def calibration(take: Take) -> None:
    """A minute of squares, and records that say so."""
    n = 6000
    take.data[:, AT : AT + n] += (np.arange(n) // 200 % 2 * 50_000).astype(np.int32)
    low, high = (BEGIN + k * STEP_NS for k in (AT, AT + n))
    take.flags.append((Flag.CALIBRATION, low, high))


def recentring(take: Take) -> None:
    n = take.data.shape[1] - AT
    take.data[:, AT:] += np.rint(4e6 * np.exp(-np.arange(n) / 2000)).astype(np.int32)


@dataclass(frozen=True)
class Case:
    """One input and what it gets. share: of the picks above 0.3 that are found all the same, over
    the whole day. damaged_s: outside of it and FAR_S around, rows are those of the whole day."""

    damage: Callable[[Take], None]
    flags: int = 0
    outcome: Outcome = Outcome.PICKED
    share: float = 1.0
    damaged_s: tuple[float, float] | None = None
    words: str = ""
    coverage: Mapping[str, Any] = field(default_factory=dict)


ROUND = (AT / RATE, AT / RATE + 1)
CASES = {
    "whole": Case(
        nothing,
        0,
        damaged_s=(0, 0),
        coverage={
            **{"gap_fraction": 1 - 1800 / 86_400, "repaired": 0},
            **{"sampling_rate": 100.0, "resampled_from": 0.0},
        },
    ),
    "6 many gaps": Case(many_gaps, Flag.FILLED, share=0.85, coverage={"segments": 2}),
    "6 shreds": Case(
        shreds,
        Flag.FRAGMENTED,
        share=0.0,
        words="stretches are shorter than a window, and not picked",
        coverage={"segments": 156, "fragments": 156},
    ),
    "7 short gap": Case(
        short_gap,
        Flag.FILLED,
        share=0.95,
        damaged_s=ROUND,
        coverage={"segments": 2, "fragments": 3, "gap_fraction": 1 - 1799.2 / 86_400},
    ),
    "7 of one component": Case(
        short_gap_of_one,
        Flag.FILLED,
        damaged_s=ROUND,
        share=0.95,
        coverage={"segments": 2, "fragments": 3, "gap_fraction": 1 - 1800 / 86_400},
    ),
    "7 longer gap": Case(
        longer_gap, 0, share=0.9, damaged_s=ROUND, coverage={"segments": 3, "fragments": 3}
    ),
    "13 orphan": Case(orphan, 0, share=0.3, coverage={"n_components": 3}),
    "14 U V W": Case(tilted, Flag.ROTATED, share=0.99, coverage={"n_components": 3}),
    "14 3 1 2": Case(numbered, Flag.ROTATED, coverage={"n_components": 3}),
    "16 one flat": Case(one_flat, 0, share=0.5, coverage={"n_components": 3}),
    "16 stuck for minutes": Case(
        stuck_for_minutes, 0, share=0.7, damaged_s=(1000, 1400), coverage={"n_components": 3}
    ),
    "17 spikes": Case(
        spikes, Flag.SPIKE | Flag.FILLED, damaged_s=(1200, 1204), coverage={"fragments": 2}
    ),
    "17 NaN, Inf, 1e38": Case(
        not_finite, Flag.NOT_FINITE | Flag.FILLED, share=0.95, damaged_s=(1200, 1202)
    ),
    "17 clipped": Case(clipped, Flag.CLIPPED, share=0.8, coverage={"segments": 2}),
    "18 calibration": Case(
        calibration,
        Flag.CALIBRATION,
        share=0.85,
        damaged_s=(1200, 1260),
        coverage={"segments": 3, "gap_fraction": 1 - 1740 / 86_400},
    ),
    "18 recentring": Case(
        recentring,
        Flag.CALIBRATION,
        share=0.5,
        coverage={"segments": 3, "gap_fraction": 1 - 1796.5 / 86_400},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_input(
    name: str,
    tmp_path: Path,
    undamaged: Take,
    beside_it: Path,
    expected: dict[tuple[TraceId, int], StationDayPicked],
) -> None:
    case = CASES[name]
    take = Take(undamaged.data.copy(), undamaged.has.copy())
    case.damage(take)
    found = picked(archive_of(tmp_path, take, beside_it), candidate())
    day = found[BAD, 0]
    coverage = coverage_row(day, day.picked["strict"])
    assert (coverage["outcome"], coverage["flags"]) == (case.outcome, case.flags)
    assert case.words in coverage["detail"]
    for column, value in case.coverage.items():
        assert coverage[column] == pytest.approx(value, abs=1e-9), column
    rows, whole = rows_of(day), rows_of(expected[BAD, 0])
    if case.share:
        assert refound(rows, whole) >= case.share
    if case.damaged_s is not None:
        far = beside(rows, *case.damaged_s, FAR_S)
        assert far == beside(whole, *case.damaged_s, FAR_S) and len(far) > 10
    assert all(0 < row["probability"] <= 1 and row["n_components"] for row in rows)
    untouched = NEIGHBOURS if case.damaged_s is not None else NEIGHBOURS[1:]
    for which in untouched:
        assert rows_of(found[which]) == rows_of(expected[which])
        assert coverage_row(found[which], found[which].picked["strict"]) == coverage_row(
            expected[which], expected[which].picked["strict"]
        )


@pytest.mark.parametrize(
    ("damage", "outcome", "words"),
    [
        (flat, Outcome.DEAD, "every component is constant"),
        (two_of_three, Outcome.BAD_FORMAT, "components U, V left out: to be turned"),
        (no_numbers, Outcome.BAD_FORMAT, "no sample is a finite number"),
    ],
)
def test_days_without_picks(
    tmp_path: Path,
    undamaged: Take,
    damage: Callable[[Take], None],
    outcome: Outcome,
    words: str,
) -> None:
    """The other station-days of the archive are not there: nothing else speaks for these."""
    take = Take(undamaged.data.copy(), undamaged.has.copy())
    damage(take)
    take.write(tmp_path)
    archive, one = ArchiveConfig(kind="sds", root=str(tmp_path)), timedelta(days=1)
    (done,) = pick_shard(open_archive(archive), Shard((BAD,), DAY, DAY + one), [candidate()])
    coverage = coverage_row(done, done.picked["strict"])
    assert (coverage["outcome"], coverage["picks"]) == (outcome, 0)
    assert coverage["detail"].startswith(words)

    destination = open_store(str(tmp_path / "zarr"))
    _ = list(ingest(open_archive(archive), destination, DAY, DAY + one))
    zarr = open_archive(ArchiveConfig(kind="zarr", root=destination.url))
    assert [found.day for found in zarr.holdings(DAY, DAY + one)] == [DAY]
    (done,) = pick_shard(zarr, Shard((BAD,), DAY, DAY + one), [candidate()])
    coverage = coverage_row(done, done.picked["strict"])
    assert (coverage["outcome"], coverage["picks"]) == (outcome, 0)
    assert words in coverage["detail"], "and the same from Zarr"


def doubted(part: bytearray) -> None:
    part[38] |= 0x80


def misrated(part: bytearray) -> None:
    rated(part, 99.0)


def broken(part: bytearray) -> None:
    part[300] ^= 0xFF


@pytest.mark.parametrize(
    ("spoil", "flag", "repaired"),
    [(doubted, Flag.CLOCK, 0), (misrated, Flag.RATE_CORRECTED, 0), (broken, Flag.SALVAGED, 40)],
)
def test_what_records_say_is_said_of_their_day_and_of_the_picks_in_them(
    tmp_path: Path,
    undamaged: Take,
    spoil: Callable[[bytearray], None],
    flag: int,
    repaired: int,
) -> None:
    undamaged.write(tmp_path)
    path = sds_path(tmp_path, BAD, "Z", MIDNIGHT)
    parts = records_of(path.read_bytes())
    low, high = table(path.read_bytes()).start[[100, 140]].tolist()
    for part in parts[100:140]:
        spoil(part)
    path.write_bytes(b"".join(parts))
    archive, one = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path))), timedelta(days=1)
    days = pick_shard(archive, Shard((BAD,), DAY - one, DAY + one), [candidate()])
    before, day = ((done, coverage_row(done, done.picked["strict"])) for done in days)
    assert (before[1]["flags"], before[1]["repaired"]) == (0, 0)
    assert (day[1]["flags"], day[1]["repaired"]) == (flag, repaired)
    assert {row["flags"] for row in rows_of(before[0])} == {0}
    seen = {(low <= row["time"].value < high, row["flags"]) for row in rows_of(day[0])}
    assert seen == {(True, flag), (False, 0)}


def test_a_day_at_another_rate_says_which(tmp_path: Path, undamaged: Take) -> None:
    undamaged.write(tmp_path)
    for path in tmp_path.rglob(f"{BAD}*"):
        (trace,) = read(path)
        trace.data, trace.stats.sampling_rate = trace.data[::2].copy(), 50.0
        trace.write(str(path), format="MSEED")
    archive, one = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path))), timedelta(days=1)
    (done,) = pick_shard(archive, Shard((BAD,), DAY, DAY + one), [candidate()])
    coverage = coverage_row(done, done.picked["strict"])
    assert (coverage["sampling_rate"], coverage["resampled_from"]) == (50.0, 50.0)
    assert coverage["flags"] == Flag.RESAMPLED and coverage["picks"] > 0


def test_a_flat_day_beside_a_living_one_is_dead(tmp_path: Path, undamaged: Take) -> None:
    """Windows of the day before reach over its midnight, and find nothing there."""
    take = Take(undamaged.data.copy(), undamaged.has.copy())
    take.data[:, (MIDNIGHT - BEGIN) // STEP_NS :] = [[5], [-7], [0]]
    take.write(tmp_path)
    archive, one = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path))), timedelta(days=1)
    days = pick_shard(archive, Shard((BAD,), DAY - one, DAY + one), [candidate()])
    before, flat_day = (coverage_row(done, done.picked["strict"]) for done in days)
    assert before["outcome"] == Outcome.PICKED and before["picks"] > 0
    assert (flat_day["outcome"], flat_day["picks"]) == (Outcome.DEAD, 0)
    assert flat_day["detail"] == "every component is constant"


def test_a_pick_in_a_fill_is_none(
    tmp_path: Path, undamaged: Take, expected: dict[tuple[TraceId, int], StationDayPicked]
) -> None:
    """Where one component has no sample for a pick, the others speak; where none has, nobody."""
    rows = rows_of(expected[BAD, 0])
    sure = max((r for r in rows if r["phase"] == "P"), key=lambda r: r["probability"])
    middle = round(seconds_of(sure) * RATE)
    assert sure["probability"] > 0.5 and middle < undamaged.data.shape[1] - 20_000
    for rows_lost, kept in ((slice(0, 1), True), (slice(0, 3), False)):
        take = Take(undamaged.data.copy(), undamaged.has.copy())
        take.has[rows_lost, middle - 40 : middle + 40] = False
        root = tmp_path / str(kept)
        take.write(root)
        archive = open_archive(ArchiveConfig(kind="sds", root=str(root)))
        (done,) = pick_shard(archive, Shard((BAD,), DAY, DAY + timedelta(days=1)), [candidate()])
        inside = [r for r in rows_of(done) if abs(seconds_of(r) * RATE - middle) < 40]
        assert bool(inside) == kept
        for row in rows_of(done):
            apart = round(abs(seconds_of(row) * RATE - middle))
            if not 1450 < apart < 1550:  # the gap is not a point
                assert bool(row["flags"] & Flag.FILLED) == (apart < 1500)


def gaps_of_all(take: Take) -> None:
    many_gaps(take)
    take.has[:] = take.has[0]


@pytest.mark.parametrize("damage", [spikes, gaps_of_all])
def test_seisbench_quality_is_as_seisbench_would(
    tmp_path: Path,
    undamaged: Take,
    expected: dict[tuple[TraceId, int], StationDayPicked],
    damage: Callable[[Take], None],
) -> None:
    """Both qualities in one reading: what is near a spike is lost, stretches of 17 s are not
    picked, and nothing says so."""
    take = Take(undamaged.data.copy(), undamaged.has.copy())
    damage(take)
    take.write(tmp_path)
    archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path)))
    shard = Shard((BAD,), DAY, DAY + timedelta(days=1))
    (done,) = pick_shard(archive, shard, [candidate(), candidate("seisbench")])
    whole = [r for r in rows_of(expected[BAD, 0]) if seconds_of(r) < 1800]
    strict, other = (rows_of(done, name) for name in ("strict", "seisbench"))
    assert done.picked["seisbench"].flags & ~Flag.FRAGMENTED == 0
    assert refound(strict, whole) > refound(other, whole)


def test_a_component_that_is_stuck_high_is_silent(tmp_path: Path, undamaged: Take) -> None:
    """A constant of 2^24 and more leaves rounding when its mean is taken; windows of it are zero,
    as those of a component that is not there."""
    flat = slice(AT - 20_000, AT + 20_000)
    rows = []
    for name in ("stuck", "missing"):
        take = Take(undamaged.data.copy(), undamaged.has.copy())
        take.data[2] += 16_777_301
        take.data[2, flat] = take.data[2, flat.start - 1]
        if name == "missing":
            take.has[2, flat] = False
        take.write(tmp_path / name)
        archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path / name)))
        (done,) = pick_shard(archive, Shard((BAD,), DAY, DAY + timedelta(days=1)), [candidate()])
        inner = [
            r
            for r in rows_of(done)
            if flat.start / RATE + FAR_S < seconds_of(r) < flat.stop / RATE - FAR_S
        ]
        assert len(inner) > 5 and {r["n_components"] for r in inner} == {2}
        rows.append([{k: v for k, v in r.items() if k != "flags"} for r in inner])
    assert rows[0] == rows[1]


@pytest.mark.parametrize("damage", [tilted, numbered, spikes, not_finite])
def test_from_zarr_the_same(
    tmp_path: Path, undamaged: Take, damage: Callable[[Take], None]
) -> None:
    take = Take(undamaged.data.copy(), undamaged.has.copy())
    damage(take)
    take.write(tmp_path / "sds")
    archives = [open_archive(ArchiveConfig(kind="sds", root=str(tmp_path / "sds")))]
    last = DAY + timedelta(days=1)
    zarr = ArchiveConfig(kind="zarr", root=str(tmp_path / "zarr"))
    for _ in ingest(archives[0], zarr.store(), DAY - timedelta(days=1), last):
        pass
    archives.append(open_archive(zarr))
    shard = Shard((BAD,), DAY, last)
    days = [next(iter(pick_shard(archive, shard, [candidate()]))) for archive in archives]
    rows, coverage = zip(
        *((rows_of(day), coverage_row(day, day.picked["strict"])) for day in days), strict=True
    )
    assert rows[0] == rows[1] and len(rows[0]) > 10
    assert coverage[0] == coverage[1]


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """What this thread calls, by `sys.setprofile`'s kinds of events."""
    work: Counter[str] = Counter()
    sys.setprofile(lambda frame, event, it: work.update([event]))
    try:
        yield work
    finally:
        sys.setprofile(None)


@pytest.mark.slow
def test_a_day_of_five_thousand_fragments_is_a_day(tmp_path: Path) -> None:
    """Work is linear in them, counted in calls. 5,000 fragments between gaps of 0.1 to 0.9 s; and
    between gaps too long to fill, in stretches of which each is picked."""
    n = 86_400 * RATE
    hour = station_day(BAD, BEGIN, 3600.0, 30.0, np.random.default_rng(1)).data
    data = np.tile(hour, (1, 24))
    for name, apart, longest in (("whole", n, 0), ("short", 1728, 90), ("long", 3200, 180)):
        has = np.ones(data.shape, bool)
        for k in range(apart, n - 200, apart):
            has[:, k : k + 10 + k % max(longest, 1)] = False
        if name == "long":
            for k in range(apart, n - 200, apart):
                has[:, k : k + longest] = False
        take = Take(data, has)
        take.write(tmp_path / name)
        archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path / name)))
        shard = Shard((BAD,), DAY, DAY + timedelta(days=1))
        with counted() as work:
            (done,) = pick_shard(archive, shard, [candidate()])
        found = coverage_row(done, done.picked["strict"])
        assert found["outcome"] == "picked" and found["picks"] > 100
        assert work["call"] + work["c_call"] < 100_000 + 600 * found["fragments"]
        if name == "short":
            assert found["fragments"] > 4900 and found["segments"] == 1
        if name == "long":
            assert found["segments"] == found["fragments"] > 2600
