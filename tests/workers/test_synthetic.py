"""Synthetic archives: reproducible, true to their truth, readable by others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import obspy
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray

from catalog.schema import COMPONENTS, DAY_NS, TraceId, day_of
from catalog.truth import ARRIVAL_SCHEMA
from workers.synthetic import (
    CLEAR,
    RATE,
    SNR_FLOOR,
    STEP_NS,
    Recording,
    demo_archive,
    network_days,
    sds_path,
    station_day,
    write_sds,
)

TRACE = TraceId("XX", "SYN", "00", "HH")
START = 1_709_251_200_000_000_000  # 2024-03-01


def day(seed: int, seconds: float = 1800.0, events_per_hour: float = 40.0) -> Recording:
    rng = np.random.default_rng(seed)
    return station_day(TRACE, START, seconds, events_per_hour, rng)


def times(arrivals: pa.Table) -> NDArray[np.int64]:
    return np.asarray(arrivals["time"].cast(pa.int64()))


def test_one_seed_is_one_day() -> None:
    first, again, other = day(1), day(1), day(2)
    assert np.array_equal(first.data, again.data)
    assert first.arrivals.equals(again.arrivals)
    assert not np.array_equal(first.data, other.data)


def test_shape_and_truth() -> None:
    recording = day(3)
    assert recording.data.shape == (3, 1800 * RATE)
    assert recording.data.dtype == np.int32
    assert recording.arrivals.schema == ARRIVAL_SCHEMA
    phases = recording.arrivals["phase"].to_pylist()
    assert len(phases) >= 10
    assert phases == ["P", "S"] * (len(phases) // 2)
    assert (np.diff(times(recording.arrivals)) > 0).all()


def test_planted_arrivals_rise_out_of_the_noise() -> None:
    """Where the truth says, the half second after is rougher than the second before."""
    recording = day(4)
    for time in times(recording.arrivals):
        at = (int(time) - START) // STEP_NS
        after = np.diff(recording.data[:, at : at + RATE // 2].astype(float), axis=1)
        before = np.diff(recording.data[:, at - RATE : at].astype(float), axis=1)
        assert (np.abs(after).max(axis=1) / before.std(axis=1)).max() > SNR_FLOOR / 2


def test_no_events_asked_none_planted() -> None:
    assert day(5, events_per_hour=0.0).arrivals.num_rows == 0


def test_a_network_shares_its_events_with_moveout_and_keeps_gaps_free() -> None:
    traces = [TraceId("XX", name, "", "HH") for name in ("A", "B")]
    gap = (600.0, 1200.0)
    recordings = network_days(
        traces, START, 3600.0, 40.0, np.random.default_rng(6), {traces[0]: [gap]}
    )
    low, high = round(gap[0] * RATE), round(gap[1] * RATE)
    assert recordings[0].gaps == ((low, high),)
    assert not recordings[0].data[:, low:high].any()
    assert recordings[1].data[:, low:high].any()
    seconds = (times(recordings[0].arrivals) - START) / 1e9
    assert not ((seconds > gap[0] - CLEAR) & (seconds < gap[1] + CLEAR)).any()
    a, b = (set(recording.arrivals["event"].to_pylist()) for recording in recordings)
    assert len(a & b) >= 10
    for event in a & b:
        p, s = (
            [
                times(recording.arrivals.filter(pc.field("event") == event))[row]
                for recording in recordings
            ]
            for row in (0, 1)
        )
        assert 0 < abs(p[0] - p[1]) < 60 / 6.0 * 1e9
        # The further station has the longer S-P.
        assert (p[0] > p[1]) == (s[0] - p[0] > s[1] - p[1])


@pytest.mark.parametrize("before_midnight", [0.0, 200.0])
def test_written_archive_reads_back_equal(tmp_path: Path, before_midnight: float) -> None:
    start = START + DAY_NS - round(before_midnight * 1e9)
    recording = replace(day(7, 600.0), start_ns=start, gaps=((5_000, 7_000),))
    write_sds(tmp_path, [recording])
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert len(files) == (6 if before_midnight else 3)
    for component, row in zip(COMPONENTS, recording.data, strict=True):
        stream = obspy.Stream()
        for day_ns in {start, start + 599 * 10**9}:
            path = sds_path(tmp_path, TRACE, component, day_ns)
            part = obspy.read(path, details=True)
            assert {trace.stats.mseed.encoding for trace in part} == {"STEIM2"}
            assert {trace.stats.mseed.record_length for trace in part} == {512}
            ends = [t for trace in part for t in (trace.stats.starttime, trace.stats.endtime)]
            assert {day_of(end.ns) for end in ends} == {day_of(day_ns)}
            assert {trace.id for trace in part} == {f"XX.SYN.00.HH{component}"}
            stream += part
        stream.merge(-1)
        assert [trace.stats.starttime.ns for trace in stream] == [start, start + 7_000 * STEP_NS]
        assert np.array_equal(stream[0].data, row[:5_000])
        assert np.array_equal(stream[1].data, row[7_000:])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    root = tmp_path_factory.mktemp("demo")
    return root, demo_archive(root)


@pytest.mark.filterwarnings("ignore:.*Unexpected end of file")
def test_the_demo_archive_has_its_faults(demo: tuple[Path, pa.Table]) -> None:
    root, truth = demo
    assert truth.schema == ARRIVAL_SCHEMA
    assert set(truth["station"].to_pylist()) == {"ONE", "TWO", "THREE"}
    assert len(list(root.rglob("*.2024.061"))) == 9

    def read(station: str, component: str) -> obspy.Stream:
        return obspy.read(sds_path(root, TraceId("XX", station, "", "HH"), component, START))

    head, tail = read("ONE", "Z")
    assert (head.stats.endtime.ns - START) / 1e9 == 4800 - 1 / RATE
    assert (tail.stats.starttime.ns - START) / 1e9 == 5520
    own = (times(truth.filter(pc.field("station") == "ONE")) - START) / 1e9
    assert len(own) > 40
    assert not ((own >= 4800) & (own <= 5520)).any()

    assert np.unique(read("TWO", "E")[0].data).size == 1
    assert np.unique(read("TWO", "N")[0].data).size > 1

    cut = sds_path(root, TraceId("XX", "THREE", "", "HH"), "N", START)
    assert cut.stat().st_size % 512 != 0
    assert 2.5 < (read("THREE", "N")[0].stats.endtime.ns - START) / 3.6e12 < 3.5
    assert read("THREE", "Z")[0].stats.npts == 4 * 3600 * RATE


def test_the_demo_archive_is_reproducible(demo: tuple[Path, pa.Table], tmp_path: Path) -> None:
    root, truth = demo
    assert demo_archive(tmp_path).equals(truth)
    for path in root.rglob("*.061"):
        assert path.read_bytes() == (tmp_path / path.relative_to(root)).read_bytes()
