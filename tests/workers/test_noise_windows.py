"""Noise that no candidate was asked about: its bounds against an Earth model, its screens against
planted truth."""

from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from obspy.taup import TauPyModel

from catalog.schema import TraceId, day_start_ns
from catalog.truth import EVENT_SCHEMA
from workers.archives import ArchiveConfig, open_archive
from workers.noise_windows import NoiseRule, around_arrivals, noise_windows
from workers.samples import spans_over
from workers.synthetic import station_day, write_sds
from workers.wavetrain import wave_spans

HOUR = 3_600 * 10**9
T0 = day_start_ns(date(2024, 3, 1))
NOTHING = np.zeros((0, 2), np.int64)
TRACE = TraceId("XX", "A", "", "HH")


def event(magnitude, latitude=0.0, longitude=0.0, depth=10.0, time=T0):
    row = {
        "event": "e",
        "time": time,
        "latitude": latitude,
        "longitude": longitude,
        "depth_km": depth,
        "magnitude": magnitude,
    }
    return pa.Table.from_pylist([row], EVENT_SCHEMA)


def test_first_p_and_last_s_lie_inside_the_bounds_of_the_earth_model():
    """Of the smallest events that reach so far, whose codas are the shortest."""
    model = TauPyModel("iasp91")
    for depth in (0.0, 10.0, 100.0, 600.0):
        for degrees in (0.0, 0.3, 1.0, 5.0, 20.0, 60.0, 99.0, 120.0, 150.0, 180.0):
            magnitude = 2 * np.log10(max(degrees, 0.3) * 111.2 / 50) + 0.01
            weak = event(magnitude, depth=depth)
            [(first, last)] = (wave_spans(weak, 0.0, degrees) - T0) / 1e9
            names = ["p", "P", "Pn", "Pdiff", "PKP", "PKIKP", "s", "S", "Sn", "Sdiff", "SKS"]
            times = [each.time for each in model.get_travel_times(depth, degrees, phase_list=names)]
            assert times, (depth, degrees)
            assert first < min(times), (depth, degrees)
            assert max(times) < last, (depth, degrees)
            if degrees <= 1 and depth <= 10:
                assert min(times) - first < 40, "the bound costs less than a minute nearby"


def test_reach_grows_with_magnitude_and_small_events_far_away_cost_nothing():
    assert len(wave_spans(event(1.0), 0.0, 1.3)) == 1  # 145 km of 158
    assert len(wave_spans(event(1.0), 0.0, 1.5)) == 0
    assert len(wave_spans(event(5.3), 0.0, 180.0)) == 1
    assert np.array_equal(wave_spans(event(None), 0.0, 10.0), wave_spans(event(3.0), 0.0, 10.0))
    assert len(wave_spans(EVENT_SCHEMA.empty_table(), 0.0, 0.0)) == 0
    [(first, last)] = wave_spans(event(4.0, latitude=0, longitude=179.9), 0.0, -179.9)
    assert (last - first) / 1e9 < 400, "22 km apart over the date line"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Two hours of one station with 20 events an hour, a gap from 01:00 to 01:10; the arrivals."""
    root = tmp_path_factory.mktemp("noise")
    recording = station_day(TRACE, T0, 7200.0, 20.0, np.random.default_rng(0), 4.0)
    recording.data[:, 360_000:420_000] = 0
    gapped = type(recording)(
        recording.trace, T0, recording.data, recording.arrivals, ((360_000, 420_000),)
    )
    write_sds(root, [gapped])
    times = recording.arrivals["time"].cast(pa.int64()).to_numpy()
    return open_archive(ArchiveConfig(kind="sds", root=str(root))), times


def windows_of(archive, busy, rule, seed=0, trace=TRACE, hours=2):
    spans = spans_over(archive, trace, T0, T0 + hours * HOUR, 100, "strict")
    return noise_windows(spans, busy, rule, seed)


def edges_of(table):
    return [table[name].cast(pa.int64()).to_numpy() for name in ("start", "end")]


def test_no_window_is_near_an_analyst_s_arrival_or_in_a_gap(recorded):
    archive, times = recorded
    busy = around_arrivals(times[:8])
    table, why = windows_of(archive, busy, NoiseRule(per_hour=1000))
    start, end = edges_of(table)
    assert len(start) > 10
    assert (end - start == 30 * 10**9).all() and (start % (30 * 10**9) == 0).all()
    gap = T0 + HOUR, T0 + HOUR + 600 * 10**9
    assert not ((start < gap[1]) & (end > gap[0])).any()
    for low, high in busy:
        assert not ((start < high) & (end > low)).any()
    assert sum(why.values()) + len(start) == 240, "every window of two hours has its reason"
    assert min(why["waves"], why["gap"], why["loud"]) > 0


def test_the_energy_screen_finds_what_nobody_listed(recorded):
    """Without any list: few planted arrivals are left, and none with a bar low enough."""
    archive, times = recorded
    left = []
    for ratio in (1e9, 3.0):
        start, end = edges_of(windows_of(archive, NOTHING, NoiseRule(30, 1000, ratio))[0])
        left.append(int(((times[:, None] >= start) & (times[:, None] < end)).sum()))
    assert left[0] > 20
    assert left[1] <= left[0] // 10
    table, _ = windows_of(archive, NOTHING, NoiseRule(30, 1000, 3.0))
    assert pc.max(table["energy_ratio"]).as_py() <= 3.0


def test_the_draw_is_of_seed_station_and_hour_alone(recorded):
    archive, times = recorded
    busy = around_arrivals(times[:4])
    rule = NoiseRule(per_hour=5)
    table, why = windows_of(archive, busy, rule)
    start, _ = edges_of(table)
    assert np.unique(start // HOUR, return_counts=True)[1].max() == 5
    assert why["not drawn"] > 0
    again, _ = windows_of(archive, busy, rule)
    one_hour, _ = windows_of(archive, busy, rule, hours=1)
    other, _ = windows_of(archive, busy, rule, seed=1)
    assert table.equals(again)
    assert edges_of(one_hour)[0].tolist() == start[start < T0 + HOUR].tolist()
    assert not table.equals(other)
