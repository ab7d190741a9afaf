"""Peaks, against obspy's trigger_onset as SeisBench uses it, at every threshold after the fact."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from obspy.signal.trigger import trigger_onset

from workers.peaks import find_peaks, runs, saturation

FLOOR = 0.1
THRESHOLDS = (0.1, 0.13, 0.2, 0.3, 0.39, 0.5, 0.8)

levels = st.sampled_from([0.0, 0.04, 0.05, 0.06, 0.1, 0.15, 0.2, 0.3, 0.31, 0.6, 0.9])
rough = st.lists(st.floats(0, 1, width=32), min_size=1, max_size=80)
plateaus = st.lists(levels, min_size=1, max_size=80)
curves = st.one_of(rough, plateaus).map(lambda values: np.array(values, np.float32))


def seisbench_picks(
    curve: NDArray[np.float32], threshold: float, longest: int
) -> list[tuple[int, float]]:
    """`picks_from_annotations` of SeisBench, less the runs that are too long."""
    return [
        (start + int(np.argmax(curve[start : stop + 1])), float(curve[start : stop + 1].max()))
        for start, stop in trigger_onset(curve, threshold, threshold / 2)
        if full_run(curve, start, threshold) <= longest
    ]


def full_run(curve: NDArray[np.float32], inside: int, threshold: float) -> int:
    """Samples of the run at half the threshold; the trigger itself begins at the threshold."""
    starts, stops = runs(curve, np.float32(threshold / 2))
    (k,) = np.flatnonzero((starts <= inside) & (inside < stops))
    return int(stops[k] - starts[k])


@settings(max_examples=400, deadline=None)
@given(curve=curves, reach=st.sampled_from([3, 7, 20, 1000]))
def test_every_threshold_above_the_floor_is_a_query(curve: NDArray[np.float32], reach: int) -> None:
    peaks = find_peaks(curve, FLOOR, reach)
    for threshold in THRESHOLDS:
        chosen = (peaks.probability >= np.float32(threshold)) & (
            peaks.saddle < np.float32(threshold / 2)
        )
        got = [
            (int(i), float(p))
            for i, p in zip(peaks.index[chosen], peaks.probability[chosen], strict=True)
        ]
        assert got == seisbench_picks(curve, threshold, reach)


@settings(max_examples=300, deadline=None)
@given(curve=curves, reach=st.integers(2, 12), data=st.data())
def test_a_peak_depends_on_its_reach_only(
    curve: NDArray[np.float32], reach: int, data: st.DataObject
) -> None:
    """A curve cut `reach` + 1 samples beyond a span has the same peaks inside the span."""
    first = data.draw(st.integers(0, len(curve) - 1))
    last = data.draw(st.integers(first + 1, len(curve)))
    low, high = max(first - reach - 1, 0), min(last + reach + 1, len(curve))
    whole, part = find_peaks(curve, FLOOR, reach), find_peaks(curve[low:high], FLOOR, reach)
    inside = (whole.index >= first) & (whole.index < last)
    within = (part.index + low >= first) & (part.index + low < last)
    for name, shift in (
        ("index", low),
        ("probability", 0),
        ("saddle", 0),
        ("onset", low),
        ("end", low),
    ):
        expected = getattr(whole, name)[inside]
        np.testing.assert_array_equal(expected, getattr(part, name)[within] + shift)
    full = saturation(curve, FLOOR, reach)
    cut = saturation(curve[low:high], FLOOR, reach) + low
    assert (
        full[(full >= first) & (full < last)].tolist()
        == cut[(cut >= first) & (cut < last)].tolist()
    )


def test_a_run_longer_than_the_reach_gives_no_pick_and_is_counted() -> None:
    curve = np.full(200, 0.2, np.float32)
    curve[100] = 0.3
    assert len(find_peaks(curve, FLOOR, 199).index) == 0
    assert saturation(curve, FLOOR, 199).tolist() == [199]
    assert find_peaks(curve, FLOOR, 200).index.tolist() == [100]
    assert saturation(curve, FLOOR, 200).tolist() == []


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_a_constant_curve(value: float) -> None:
    peaks = find_peaks(np.full(50, value, np.float32), FLOOR, 1000)
    assert peaks.index.tolist() == ([0] if value >= FLOOR else [])
