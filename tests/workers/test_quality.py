"""What is wrong with samples, and only that: local rules, which clean data never meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from obspy.signal.rotate import rotate2zne

from catalog.schema import Flag
from workers import screens
from workers.orientation import GALPERIN, oriented
from workers.quality import FILL_S, context, mended, screened
from workers.resampling import on_grid, reach_s
from workers.screens import Ranges, Row, limits, spikes, steps
from workers.synthetic import noise
from workers.waveform import Fragment, Waveform, grid_time

RATE = 100
START = 170_000_000_123
NOWHERE = np.zeros((1, 2), np.int64)


def recorded(data: Path) -> Iterator[tuple[str, NDArray[np.int32] | NDArray[np.float32]]]:
    """Every component of the real recordings."""
    for path in sorted((data / "continuous").rglob("*.ms*")) + sorted(
        (data / "continuous").rglob("*.mseed")
    ):
        for trace in obspy.read(str(path)):
            yield f"{path.parent.name} {trace.id}", np.ascontiguousarray(trace.data, np.int32)
    labelled = np.load(data / "labelled/ncedc_labelled.npz")
    for name, event in zip(labelled["name"], labelled["data"], strict=True):
        for component, samples in zip("ENZ", event.T, strict=True):
            yield f"{name} {component}", np.ascontiguousarray(samples, np.float32)


# Both are faults of their recordings: a gap stored as a constant, and a trace that ends in one.
STUCK = {"BG_DRK_2008042312375958", "CI_MLAC_2014092606030921"}


def test_real_recordings_are_clean(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """36 hours and 234 components of 90 s with an earthquake in each: nothing, and no spike or
    step at half of the thresholds either."""
    count = 0
    for halved in (False, True):
        if halved:
            monkeypatch.setattr(screens, "SPIKE", screens.SPIKE / 2)
            monkeypatch.setattr(screens, "STEP", screens.STEP / 2)
        for name, samples in recorded(data):
            row = Row(samples, None, 100)
            ranges = Ranges.of(row)
            found = [spikes(row, ranges), steps(row, RATE), limits(row, ranges)]
            if name.split()[0] not in STUCK:
                assert not any(map(len, found[: 2 if halved else 3])), name
            count += 1
    assert count > 400


def dirty(rng: np.random.Generator, n: int) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Every fault at random places, some of them beside each other."""
    data = np.rint(noise(n, rng) * 100).astype(np.int32)
    has = np.ones(data.shape, bool)
    for row in range(3):
        for at in rng.integers(0, n - 400, 12):
            data[row, at : at + rng.integers(1, 4)] = rng.choice([2**23 - 1, -40_000, 9000])
        for at in rng.integers(0, n - 400, 12):
            has[row, at : at + rng.choice([1, 3, 40, 99, 100, 101, 150, 350])] = False
        for at in rng.integers(0, n - 400, 3):
            data[row, at:] += rng.choice([-300_000, 200_000, 50_000])
        at = int(rng.integers(0, n - 3000))
        data[row, at : at + 3000] = data[row, at : at + 3000].clip(-150, 120)
        data[row, at : at + 3000 : 2] *= 3
    return data, has


def pieces(data: NDArray[np.int32], has: NDArray[np.bool_], low: int, high: int) -> list[Fragment]:
    valid = [None if row.all() else row.copy() for row in has[:, low:high]]
    offsets = np.array([[START + low, 0]])
    return [
        Fragment(component, float(RATE), START + low, row.copy(), offsets, some)
        for component, row, some in zip("ZNE", data[:, low:high], valid, strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), cuts=st.lists(st.integers(0, 20_000), min_size=2, max_size=2)
)
def test_what_a_sample_becomes_does_not_depend_on_cuts(seed: int, cuts: list[int]) -> None:
    n, around = 20_000, context(RATE)
    data, has = dirty(np.random.default_rng(seed), n)
    low, high = sorted(cuts)
    flags = [(Flag.CALIBRATION, grid_time(START + 5000, RATE), grid_time(START + 5300, RATE))]

    def made(first: int, last: int) -> Waveform:
        some = pieces(data, has, first, last)
        return mended(on_grid(some, RATE, START + first, START + last, screened), flags)

    whole, first, last = made(0, n), max(low - around, 0), min(high + around, n)
    if first == last:
        return
    piece, inside = made(first, last), slice(low - first, high - first)
    assert (piece.data[:, inside] == whole.data[:, low:high]).all()
    assert (piece.mask[:, inside] == whole.mask[:, low:high]).all()
    none = np.zeros(n, bool)
    for bit in {*piece.marks, *whole.marks}:
        some, every = piece.marks.get(bit, none[first:last]), whole.marks.get(bit, none)
        assert (some[inside] == every[low:high]).all(), bit
    assert {Flag.SPIKE, Flag.FILLED, Flag.CALIBRATION} <= set(whole.marks)


@pytest.mark.parametrize("rate", [20.0, 40.0, 200.0])
def test_spikes_are_taken_out_before_anything_is_resampled(rate: float) -> None:
    """At the data's own rate one sample; filtered, it would ring over many."""
    start, n = round(START / RATE * rate), round(400 * rate)
    rng = np.random.default_rng(6)
    samples = rng.integers(-300, 300, n, dtype=np.int32)
    offsets = np.array([[start, 0]])
    clean = Fragment("Z", rate, start, samples, offsets)
    spiked = replace(clean, samples=samples.copy())
    spiked.samples[round(200 * rate)] = 2**23
    low, high = START + 50 * RATE, START + 350 * RATE
    one, other = (on_grid([f], RATE, low, high, screened) for f in (clean, spiked))
    where = other.marks[Flag.SPIKE]
    assert 1 <= where.sum() <= 2 * max(1, RATE / rate) + 1
    assert (other.mask[0] == (one.mask[0] & ~where)).all()
    assert np.abs(other.data).max() < 2 * np.abs(one.data).max()
    middle = START + 200 * RATE
    near = np.flatnonzero(one.data[0] != other.data[0]) + low - middle
    assert np.abs(near).max() < reach_s(RATE) * RATE
    # and in pieces as at once
    part = on_grid([spiked], RATE, middle - 50, middle + 50, screened)
    here = slice(middle - 50 - low, middle + 50 - low)
    assert part.data.tobytes() == other.data[:, here].tobytes()
    assert (part.marks[Flag.SPIKE] == where[here]).all()


def waveform(data: NDArray[np.int32] | NDArray[np.float32]) -> Waveform:
    return Waveform(RATE, START, data, np.ones(data.shape, bool), (NOWHERE,) * 3)


def found(data: NDArray[np.int32] | NDArray[np.float32], bit: int) -> NDArray[np.int64]:
    """Columns that a flag marks."""
    rows: Any = np.stack([data, np.zeros_like(data), np.zeros_like(data)])
    marks = mended(screened(waveform(rows)), ()).marks
    return np.flatnonzero(marks[bit]) if bit in marks else np.zeros(0, np.int64)


@pytest.fixture
def quiet() -> NDArray[np.int32]:
    return np.asarray(np.rint(noise(60_000, np.random.default_rng(8))[0] * 30), np.int32)


@pytest.mark.parametrize("kind", [np.int32, np.float32])
@pytest.mark.parametrize("width", [1, 2, 3])
def test_one_or_two_samples_are_a_spike(quiet: NDArray[np.int32], width: int, kind: Any) -> None:
    at = [20_000, 33_333, 45_000 - START % 256]
    for column in at:
        quiet[column : column + width] += 2**23 - 1
    columns = [column + k for column in at for k in range(width)] if width < 3 else []
    assert found(quiet.astype(kind), Flag.SPIKE).tolist() == sorted(columns)


def test_no_spikes() -> None:
    """Counts of one in silence, square pulses, an onset of 2^22 from one sample to the next."""
    n = 60_000
    t = np.arange(n)
    rng = np.random.default_rng(2)
    lonely = np.zeros(n, np.int32)
    lonely[[20_000, 21_000, 21_001, 40_000]] = (1, 2, -1, 3)
    squares = (rng.normal(0, 20, n) + (t // 50 % 2) * 5000 * (t > 30_000)).astype(np.int32)
    shock = np.exp(-np.abs(t - 30_000) / 40) * np.cos((t - 30_000) * 1.9) * (t >= 30_000)
    onset = (rng.normal(0, 20, n) + 2**22 * shock).astype(np.int32)
    for samples in (lonely, squares, onset):
        assert not len(found(samples, Flag.SPIKE))
        assert not len(found(samples.astype(np.float32), Flag.SPIKE))


def test_a_signal_at_its_limit(quiet: NDArray[np.int32]) -> None:
    t = np.arange(3000)
    quiet[30_000:33_000] += (2e6 * np.exp(-t / 500) * np.sin(t / 8)).astype(np.int32)
    assert not len(found(quiet, Flag.CLIPPED))
    clipped = quiet.clip(-800_000, 800_000)
    columns = found(clipped, Flag.CLIPPED)
    assert len(columns) > 30 and (np.abs(clipped[columns]) == 800_000).all()
    assert (found(clipped.astype(np.float32), Flag.CLIPPED) == columns).all()


def test_a_step_that_decays_and_one_that_stays(quiet: NDArray[np.int32]) -> None:
    """But no earthquake, however large, that shakes."""
    t = np.arange(30_000)
    for shape in (np.exp(-t / 1000), np.exp(-t / 6000), np.ones(30_000)):
        stepped = quiet.copy()
        stepped[30_000:] -= (1e6 * shape).astype(np.int32)
        assert found(stepped, Flag.CALIBRATION).tolist() == list(range(29_950, 30_300))
    for period_s in (0.1, 1, 5):
        shaken = quiet.copy()
        wave = np.exp(-t / 2000) * np.sin(2 * np.pi * t / (period_s * RATE))
        shaken[30_000:] += (1e6 * wave).astype(np.int32)
        assert not len(found(shaken, Flag.CALIBRATION))


def test_gaps_up_to_a_second_become_lines() -> None:
    data = np.tile(np.arange(0, 30_000, 3, dtype=np.int32), (3, 1))
    one = waveform(data.copy())
    longest = round(FILL_S * RATE)
    for low, length in ((2000, longest), (4000, longest + 1), (6000, 1)):
        one.mask[0, low : low + length] = False
        one.data[0, low : low + length] = 0
    one.mask[1, 8000:] = False  # the end is no gap
    one.data[1, 8000:] = 0
    one.mask[2, 3000:3400] = one.mask[2, 3500:3900] = False  # too little between two long gaps
    one.mask[2, 3450] = False
    filled = np.flatnonzero(mended(one, ()).marks[Flag.FILLED])
    assert filled.tolist() == [*range(2000, 2000 + longest), 6000]
    assert (one.data[0, filled] == data[0, filled]).all() and not one.mask[0, 2000]
    assert (one.data[0, 4000 : 4001 + longest] == 0).all()


def test_a_triple_is_turned_as_obspy_turns_it() -> None:
    rng = np.random.default_rng(1)
    uvw = rng.integers(-(2**23), 2**23, (3, 5000), dtype=np.int32)
    dip = -np.degrees(np.arctan(np.sqrt(0.5)))
    u, v, w = uvw.astype(np.float64)
    expected = np.array(rotate2zne(u, -90, dip, v, 30, dip, w, 150, dip))
    assert np.allclose(GALPERIN @ uvw, expected, atol=1e-6)
    offsets = np.array([[START, 7]])
    some = [
        Fragment(name, float(RATE), START + 10 * k, row[10 * k :], np.add(offsets, [10 * k, 0]))
        for k, (name, row) in enumerate(zip("UVW", uvw, strict=True))
    ]
    upright = Fragment("N", float(RATE), START + 4000, uvw[0, :500], np.add(offsets, [4000, 0]))
    got = oriented([*some, upright], RATE, START, START + 5000)
    turned = got.marks[Flag.ROTATED]
    assert (np.flatnonzero(~turned) == [*range(20), *range(4000, 4500)]).all()
    assert (got.data[:, turned] == np.rint(expected[:, turned])).all()
    assert (got.mask.all(axis=0) == turned).all()
    assert got.offsets_ns(START + np.array([100])).tolist() == [7]
    assert (got.data[1, 4000:4500] == uvw[0, :500]).all() and not got.mask[0, 4000:4500].any()
    alone = oriented(some[:2], RATE, START, START + 5000)
    assert not alone.mask.any() and not alone.marks
