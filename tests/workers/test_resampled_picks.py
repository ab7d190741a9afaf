"""Resampled data: none lost or doubled, wherever spans are cut, and what they are worth."""

from datetime import date
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from obspy import Stream, Trace, UTCDateTime, read
from scipy.signal import resample_poly

from catalog.schema import DAY_NS, Flag, Outcome, TraceId, day_start_ns
from catalog.store import open_store
from tests.peer import assert_same, at, seisbench, theirs
from tests.spans import pick_span
from workers.archives import Archive, ArchiveConfig, open_archive
from workers.candidate import Candidate
from workers.engines import open_engine
from workers.ingest import ingest
from workers.pipeline import read_span
from workers.span import Span
from workers.synthetic import sds_path, station_day
from workers.waveform import NS
from workers.weights import Weights, load, resolve

GRID = 100
MIDNIGHT = day_start_ns(date(2024, 3, 2))
TRACE = TraceId("XX", "SLOW", "", "HH")


@pytest.fixture(scope="module")
def candidate() -> Candidate:
    weights = resolve("builtin:synthetic")
    return Candidate.of("c", [weights], open_engine("fast"), {"P": 0.1, "S": 0.1})


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """Twenty minutes before a midnight at 40 Hz, ten after it too, then ten at 100 Hz, on and on
    but for a gap of 3 s; the last minute of 40 Hz goes on beside the 100 Hz."""
    root = tmp_path_factory.mktemp("changing")
    made = station_day(TRACE, MIDNIGHT - 1200 * NS, 2400.0, 120.0, np.random.default_rng(8))
    for row, name in zip(made.data, "ZNE", strict=True):
        slow = np.rint(resample_poly(row.astype(np.float64), 2, 5)).astype(np.int32)
        parts = [
            (-1200, 40, slow[: 40 * 700]),
            (-497, 40, slow[40 * 703 : 40 * 1200]),
            (0, 40, slow[40 * 1200 : 40 * 1860]),
            (600, 100, row[100 * 1800 :]),
        ]
        for days in (parts[:2], parts[2:]):
            traces = [
                Trace(
                    samples,
                    {
                        "network": "XX",
                        "station": "SLOW",
                        "channel": f"HH{name}",
                        "sampling_rate": rate,
                        "starttime": UTCDateTime(ns=MIDNIGHT + seconds * NS),
                    },
                )
                for seconds, rate, samples in days
            ]
            path = sds_path(root, TRACE, name, traces[0].stats.starttime.ns)
            path.parent.mkdir(parents=True, exist_ok=True)
            Stream(traces).write(str(path), format="MSEED")
    return open_archive(ArchiveConfig(kind="sds", root=str(root)))


@pytest.fixture(scope="module")
def as_zarr(changing: Archive, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    root = tmp_path_factory.mktemp("zarr")
    days = list(ingest(changing, open_store(str(root)), date(2024, 3, 1), date(2024, 3, 3)))
    assert [day.state for day in days] == ["written", "written"]
    return open_archive(ArchiveConfig(kind="zarr", root=str(root)))


def test_what_a_span_needs_is_read(
    changing: Archive, as_zarr: Archive, candidate: Candidate
) -> None:
    """Zarr gives what is asked for and no more; the halo is as if whole files had been read."""
    start, end = MIDNIGHT - 180 * NS, MIDNIGHT + 180 * NS
    found = [
        Span.of(read_span(archive, TRACE, start, end, [candidate]), TRACE, start, end, GRID)
        for archive in (changing, as_zarr)
    ]
    assert all(span.waveform.mask.all() for span in found)
    assert (found[0].waveform.data == found[1].waveform.data).all()


def test_a_rate_that_changes_loses_nothing_and_doubles_nothing(
    changing: Archive, as_zarr: Archive, candidate: Candidate
) -> None:
    edges_s = (-1300, -500, -498, -1, 0, 599, 600, 601, 655, 660, 700, 1300)
    edges = [MIDNIGHT + second * NS for second in edges_s]
    whole = pick_span(changing, TRACE, edges[0], edges[-1], [candidate])["c"]
    pieces = [pick_span(changing, TRACE, a, b, [candidate])["c"] for a, b in pairwise(edges)]
    rows = whole.picks.to_pylist()
    stored = [pick_span(as_zarr, TRACE, a, b, [candidate])["c"] for a, b in pairwise(edges)]
    assert [row for piece in stored for row in piece.picks.to_pylist()] == rows
    assert [row for piece in pieces for row in piece.picks.to_pylist()] == rows
    assert sum(piece.seconds for piece in pieces) == pytest.approx(whole.seconds)
    assert whole.seconds == pytest.approx(2397, abs=0.1) and whole.segments == 2
    assert whole.outcome is Outcome.PICKED and whole.detail == "data at 40 Hz resampled"
    assert (whole.sampling_rate, whole.flags) == (100.0, Flag.RESAMPLED)
    assert (pieces[2].sampling_rate, pieces[-1].sampling_rate) == (40.0, 100.0)
    assert [one.resampled_from for one in (whole, pieces[2], pieces[-1])] == [40.0, 40.0, 0.0]
    assert (pieces[2].flags, pieces[-1].flags) == (Flag.RESAMPLED, 0)
    seconds = [(row["time"].value - MIDNIGHT) / NS for row in rows]
    assert min(sum(s < 0 for s in seconds), sum(0 < s < 600 for s in seconds)) > 10
    assert sum(s > 660 for s in seconds) > 10
    assert {row["flags"] for row, s in zip(rows, seconds, strict=True) if s < 600} == {
        Flag.RESAMPLED
    }
    assert {row["flags"] for row, s in zip(rows, seconds, strict=True) if s > 616} == {0}


STEPS_NS = 300_200_000_000
"""Twenty steps of the window, which stand on the grid of every rate here."""


@pytest.fixture(scope="module")
def real(data: Path) -> Stream:
    """Three hours of PB.B204 at 100 Hz, from a multiple of the windows' step."""
    stream = read(str(data / "continuous/pnsn_2022-037/PB.B204..EH.ms"))
    begin = UTCDateTime(ns=-(-stream[0].stats.starttime.ns // STEPS_NS) * STEPS_NS)
    return stream.trim(begin, begin + 36 * STEPS_NS / NS - 0.01)


def at_another_rate(stream: Stream, rate: int) -> Stream:
    """By scipy, whole numbers."""
    brought = stream.copy()
    for trace in brought:
        base = trace.data.mean()
        slow = resample_poly(trace.data - base, rate, GRID, padtype="line")
        trace.data = np.rint(slow + base).astype(np.int32)
        trace.stats.sampling_rate = rate
    return brought


def picks_of(folder: Path, stream: Stream, weights: Weights) -> list[tuple[str, int, float]]:
    """At 0.3, through miniSEED: phase, ns, probability."""
    stream.write(str(folder / "data.mseed"), format="MSEED", encoding="STEIM2")
    archive = open_archive(ArchiveConfig(kind="files", root=str(folder)))
    one = Candidate.of("c", [weights], open_engine("exact"), {"P": 0.3, "S": 0.3})
    begin = UTCDateTime(2022, 2, 6).ns
    found = pick_span(archive, TraceId("PB", "B204", "", "EH"), begin, begin + DAY_NS, [one])["c"]
    assert found.sampling_rate == stream[0].stats.sampling_rate
    return at(found.picks.to_pandas(), 0.3)


def test_real_hours_at_200_hz_are_seisbenchs(data: Path, tmp_path: Path, real: Stream) -> None:
    """But for a window at either end, where SeisBench's filter rings on the data's offset."""
    weights = load(data / "weights/original.safetensors")
    fast = at_another_rate(real, 200)
    begin, end = fast[0].stats.starttime.ns, fast[0].stats.endtime.ns
    expected = theirs(seisbench(weights), fast, 0.3)
    got, inside = (
        [row for row in rows if begin + 31 * NS < row[1] < end - 31 * NS]
        for rows in (picks_of(tmp_path, fast, weights), expected)
    )
    assert len(inside) > 5
    assert_same(got, inside, 1e-5)


@pytest.mark.parametrize(("rate", "share", "within_s"), [(125, 0.9, 0.05), (40, 0.6, 0.5)])
def test_real_hours_at_another_rate_keep_the_picks_of_100_hz(
    data: Path, tmp_path: Path, real: Stream, rate: int, share: float, within_s: float
) -> None:
    """Measured over six files and two networks: 0.99 and 0.75 (workers/resampling.py)."""
    weights = load(data / "weights/original.safetensors")
    native = picks_of(tmp_path, real, weights)
    found = picks_of(tmp_path, at_another_rate(real, rate), weights)
    near = [any(p == q and abs(a - b) < within_s * NS for q, b, _ in found) for p, a, _ in native]
    assert len(near) > 5 and np.mean(near) >= share
