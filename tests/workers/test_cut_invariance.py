"""Promise 2: the same rows wherever the work is cut, and from miniSEED as from Zarr."""

from datetime import date, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obspy import Trace, UTCDateTime

from catalog.schema import DAY_NS, StationDay, TraceId, day_start_ns
from catalog.store import open_store
from tests.spans import pick_span
from workers.archives import Archive, ArchiveConfig, open_archive
from workers.candidate import Candidate
from workers.engines import open_engine
from workers.ingest import ingest
from workers.synthetic import Recording, network_days, sds_path, station_day, write_sds
from workers.weights import resolve

TRACE = TraceId("XX", "CUT", "", "HH")
FIRST, LAST = date(2024, 2, 28), date(2024, 3, 1)
MIDNIGHT = day_start_ns(date(2024, 2, 29))
SECOND = 10**9
# Forty minutes around a midnight, with gaps of a sample, of seconds, of half a window, at midnight
SPAN = (MIDNIGHT - 20 * 60 * SECOND, MIDNIGHT + 20 * 60 * SECOND)
FLOORS = {"P": 0.1, "S": 0.1}
GAPS_S = ((300.0, 300.01), (420.0, 424.0), (700.0, 716.0), (1199.5, 1203.25), (1900.0, 2050.0))


@pytest.fixture(scope="module")
def sds(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """One trace around a midnight, with a dead stretch and a saturating tremor-like noise."""
    root = tmp_path_factory.mktemp("cut")
    (recording,) = network_days(
        [TRACE],
        SPAN[0],
        (SPAN[1] - SPAN[0]) / SECOND,
        120.0,
        np.random.default_rng(5),
        gaps={TRACE: GAPS_S},
    )
    recording.data[1, 30_000:40_000] = 55
    for part in by_day(recording):
        write_sds(root, [part])
    return open_archive(ArchiveConfig(kind="sds", root=str(root)))


def by_day(recording: Recording) -> list[Recording]:
    """The recording in two files, cut at midnight as archives do."""
    cut = (MIDNIGHT - recording.start_ns) // (SECOND // 100)
    parts = []
    for low, high in ((0, cut), (cut, recording.data.shape[1])):
        gaps = tuple(
            (max(a, low) - low, min(b, high) - low)
            for a, b in recording.gaps
            if a < high and b > low
        )
        parts.append(
            Recording(
                recording.trace,
                recording.start_ns + low * (SECOND // 100),
                recording.data[:, low:high],
                recording.arrivals.slice(0, 0),
                gaps,
            )
        )
    return parts


@pytest.fixture(scope="module")
def zarr(sds: Archive, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    root = tmp_path_factory.mktemp("zarr")
    written = list(ingest(sds, open_store(str(root)), FIRST, LAST))
    assert [w.state for w in written] == ["written", "written"]
    return open_archive(ArchiveConfig(kind="zarr", root=str(root)))


@pytest.fixture(scope="module")
def candidates() -> list[Candidate]:
    floors = {"P": 0.1, "S": 0.1}
    good, early = resolve("builtin:synthetic"), resolve("builtin:synthetic_early")
    return [
        Candidate.of("fast", [good], open_engine("fast"), floors),
        Candidate.of("low", [early], open_engine("fast"), {"P": 0.01, "S": 0.01}),
    ]


def rows(
    archive: Archive, candidates: list[Candidate], cuts: list[int]
) -> dict[str, list[dict[str, object]]]:
    """Rows of every candidate over consecutive spans between the cuts."""
    found: dict[str, list[dict[str, object]]] = {c.name: [] for c in candidates}
    for start, end in pairwise(cuts):
        for name, picked in pick_span(archive, TRACE, start, end, candidates).items():
            found[name] += picked.picks.to_pylist()
            found[name].append({"saturated": picked.saturated})
    saturated = {
        name: sum(int(str(row["saturated"])) for row in some if "saturated" in row)
        for name, some in found.items()
    }
    return {
        name: [row for row in some if "saturated" not in row] + [{"saturated": saturated[name]}]
        for name, some in found.items()
    }


@pytest.fixture(scope="module")
def whole(sds: Archive, candidates: list[Candidate]) -> dict[str, list[dict[str, object]]]:
    """Everything at once."""
    expected = rows(sds, candidates, [SPAN[0] - DAY_NS, SPAN[1] + DAY_NS])
    assert len(expected["fast"]) > 60 and len(expected["low"]) > 300
    return expected


def test_days(
    sds: Archive,
    zarr: Archive,
    candidates: list[Candidate],
    whole: dict[str, list[dict[str, object]]],
) -> None:
    days = [StationDay(TRACE, FIRST).start_ns, MIDNIGHT, MIDNIGHT + DAY_NS]
    assert rows(sds, candidates, days) == whole
    assert rows(zarr, candidates, days) == whole


def test_cuts_inside_the_data(
    sds: Archive, candidates: list[Candidate], whole: dict[str, list[dict[str, object]]]
) -> None:
    """Where no gap hides what a cut would do: the day file's midnight lies in one."""
    inside = [SPAN[0] + second * SECOND for second in (150, 613, 975, 1_450, 1_720)]
    edges = [SPAN[0] - DAY_NS, *inside, SPAN[1] + DAY_NS]
    assert rows(sds, candidates, edges) == whole


cuts = st.lists(
    st.integers(SPAN[0], SPAN[1]).map(lambda ns: ns - ns % 1_000_000), max_size=3, unique=True
)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=cuts, from_zarr=st.booleans())
def test_any_cuts_from_either_archive(
    sds: Archive,
    zarr: Archive,
    candidates: list[Candidate],
    whole: dict[str, list[dict[str, object]]],
    cuts: list[int],
    from_zarr: bool,
) -> None:
    edges = [SPAN[0] - DAY_NS, *sorted(cuts), SPAN[1] + DAY_NS]
    assert rows(zarr if from_zarr else sds, candidates, edges) == whole


def test_real_hours_in_odd_pieces(data: Path) -> None:
    """PB.B204 whole and in 47-minute pieces, three weight sets, both engines."""
    archive = open_archive(
        ArchiveConfig(kind="files", root=str(data / "continuous/pnsn_2022-037"), pattern="PB*.ms")
    )
    trace = TraceId("PB", "B204", "", "EH")
    start = day_start_ns(date(2022, 2, 6))
    stop = start + 4 * 3600 * SECOND
    for engine in ("fast", "exact"):
        some = []
        for name in ("original", "volpick", "250606-200518_epoch_200"):
            weights = resolve(str(data / "weights" / f"{name}.safetensors"))
            some.append(Candidate.of(name, [weights], open_engine(engine), {"P": 0.1, "S": 0.1}))
        at_once = pick_span(archive, trace, start, stop, some)
        edges = [*range(start, stop, 47 * 60 * SECOND), stop]
        pieces = [pick_span(archive, trace, a, b, some) for a, b in pairwise(edges)]
        for one in some:
            together = [row for piece in pieces for row in piece[one.name].picks.to_pylist()]
            assert together == at_once[one.name].picks.to_pylist()
            assert sum(p[one.name].saturated for p in pieces) == at_once[one.name].saturated


def test_day_files_that_overlap_and_disagree_about_the_time(tmp_path: Path) -> None:
    """Two milliseconds apart, five minutes on each side of midnight: the later one's offset holds,
    however few of its records are read."""
    midnight = MIDNIGHT
    rng = np.random.default_rng(3)
    step = SECOND // 100
    recording = station_day(TRACE, midnight - 600 * SECOND, 1200.0, 120.0, rng)
    for row, component in enumerate("ZNE"):
        parts = ((FIRST, 0, 90_000, 0), (FIRST + timedelta(days=1), 30_000, 120_000, 2_000_000))
        for day, low, high, late in parts:
            path = sds_path(tmp_path, TRACE, component, StationDay(TRACE, day).start_ns)
            path.parent.mkdir(parents=True, exist_ok=True)
            header = {
                "network": TRACE.network,
                "station": TRACE.station,
                "channel": f"{TRACE.band}{component}",
                "sampling_rate": 100.0,
                "starttime": UTCDateTime(ns=midnight + (low - 60_000) * step + late),
            }
            samples = recording.data[row, low:high].copy()
            Trace(samples, header).write(str(path), format="MSEED", reclen=512)
    archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path)))
    one = [Candidate.of("c", [resolve("builtin:synthetic")], open_engine("fast"), FLOORS)]
    edges = [midnight - 900 * SECOND, midnight + 900 * SECOND]
    expected = rows(archive, one, edges)
    assert {row["offset_ns"] for row in expected["c"][:-1]} == {0, 2_000_000}
    for seconds in (-163, -126, -89, 0, 140):
        cut = midnight + seconds * SECOND
        assert rows(archive, one, [edges[0], cut, edges[1]]) == expected


def test_a_cut_where_the_data_go_dead(tmp_path: Path) -> None:
    """What is picked in the first seconds of silence is picked wherever the span begins."""
    rng = np.random.default_rng(10)
    recording = station_day(TRACE, MIDNIGHT, 600.0, 240.0, rng)
    recording.data[:, 30_000:] = recording.data[:, 30_000:30_001]
    write_sds(tmp_path, [recording])
    archive = open_archive(ArchiveConfig(kind="sds", root=str(tmp_path)))
    floors = {"P": 0.005, "S": 0.005}
    one = [Candidate.of("c", [resolve("builtin:synthetic")], open_engine("fast"), floors)]
    silence = MIDNIGHT + 300 * SECOND
    edges = [MIDNIGHT, silence, MIDNIGHT + DAY_NS]
    assert rows(archive, one, [edges[0], edges[2]]) == rows(archive, one, edges)
    late = pick_span(archive, TRACE, silence, edges[2], one)["c"]
    assert late.outcome == "picked" and late.picks.num_rows
    later = pick_span(archive, TRACE, silence + 60 * SECOND, edges[2], one)["c"]
    assert later.outcome == "dead"
