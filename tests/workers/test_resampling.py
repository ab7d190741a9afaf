"""Resampling: true to the signal, local, as SeisBench at integer ratios, and the same in pieces."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest
import seisbench.models as sbm
from hypothesis import given, settings
from hypothesis import strategies as st
from obspy import Stream, Trace, UTCDateTime

from catalog.schema import Flag, day_start_ns
from workers.fragments import clip
from workers.resampling import design_of, on_grid, reach_s, resample, resamples
from workers.waveform import NS, Fragment, Waveform, grid_index, grid_time

GRID = 100
MIDNIGHT = day_start_ns(date(2024, 3, 2))
EPOCH_S = MIDNIGHT // NS
RATES = (20.0, 33.333332, 40.0, 50.0, 62.5, 80.0, 99.9, 99.9998, 125.0, 200.0, 250.0, 1000.0)


def fragment(
    rate: float, samples: np.ndarray, start: int | None = None, **more: object
) -> Fragment:
    """Of component Z, from midnight on unless told."""
    first = grid_index(MIDNIGHT, rate) if start is None else start
    offsets = np.array([[first, 0]], np.int64)
    made = Fragment("Z", rate, first, samples, offsets)
    return replace(made, **more)  # type: ignore[arg-type]


def sine(rate: float, frequency: float, seconds: int, base: float = 0.0) -> Fragment:
    n = round(seconds * rate)
    first = grid_index(MIDNIGHT, rate)
    late = (grid_time(first, rate) - MIDNIGHT) / NS
    phase = 2 * np.pi * frequency * (late + np.arange(n) / rate)
    return fragment(rate, np.rint(10_000 * np.sin(phase) + base).astype(np.int32), first)


def middle(waveform: Waveform) -> np.ndarray:
    """Z without five seconds on either side."""
    return waveform.data[0, 5 * GRID : -5 * GRID].astype(np.float64)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("part", [0.02, 0.25, 0.5])
def test_what_lies_in_the_band_comes_through_unchanged_and_on_time(
    rate: float, part: float
) -> None:
    """part: of the lower Nyquist frequency. One sample late would be 3 % at the lowest."""
    frequency = part * min(rate, GRID) / 2
    found = resample([sine(rate, frequency, 30)], rate, GRID, EPOCH_S * GRID, (EPOCH_S + 30) * GRID)
    times = np.arange(30 * GRID) / GRID
    expected = (10_000 * np.sin(2 * np.pi * frequency * times))[5 * GRID : -5 * GRID]
    assert np.abs(middle(found) - expected).max() < 100


@pytest.mark.parametrize("rate", [125.0, 133.7, 250.0])
@pytest.mark.parametrize("frequency", [50.5, 55.0, 62.0])
def test_what_lies_above_the_grids_band_is_60_db_down(rate: float, frequency: float) -> None:
    found = resample([sine(rate, frequency, 30)], rate, GRID, EPOCH_S * GRID, (EPOCH_S + 30) * GRID)
    assert np.abs(middle(found)).max() < 10


@pytest.mark.parametrize("rate", [200.0, 500.0, 1000.0])
def test_integer_ratios_are_seisbenchs(rate: float) -> None:
    """Noise up to its Nyquist frequency, so that both let the same through; but for the edges."""
    noise = np.random.default_rng(1).integers(-(10**6), 10**6, round(60 * rate), dtype=np.int32)
    found = resample([fragment(rate, noise)], rate, GRID, EPOCH_S * GRID, (EPOCH_S + 60) * GRID)
    header = {"sampling_rate": rate, "starttime": UTCDateTime(ns=MIDNIGHT)}
    stream = Stream([Trace(noise.astype(np.float64), header)])
    sbm.PhaseNet.resample(stream, GRID)
    assert found.mask[0].all() and len(stream[0]) == 60 * GRID
    theirs = stream[0].data[5 * GRID : -5 * GRID]
    assert np.abs(middle(found) - theirs).max() < 5e-6 * np.abs(theirs).max()


@pytest.mark.parametrize("rate", RATES)
def test_a_constant_stays_one_through_gaps_and_at_edges(rate: float) -> None:
    """No step where data begin, or end, or are missing: also with an offset of 1e9 counts."""
    value, n = 1_000_000_000, round(60 * rate)
    samples = np.full(n, value, np.int32)
    samples[n // 2 :] = -value
    valid = np.ones(n, bool)
    valid[n // 3], valid[n // 2 : n // 2 + n // 4] = False, False
    samples[~valid] = 0
    found = resample(
        [fragment(rate, samples, valid=valid)], rate, GRID, EPOCH_S * GRID, (EPOCH_S + 70) * GRID
    )
    assert (np.abs(found.data[0][found.mask[0]]) == value).all()
    assert (np.diff(found.data[0][found.mask[0]]) != 0).sum() == 1
    assert not found.data[0][~found.mask[0]].any() and not found.mask[1:].any()


@pytest.mark.parametrize("rate", RATES)
def test_every_missing_sample_masks_its_neighbours_and_no_more(rate: float) -> None:
    n = round(20 * rate)
    first = grid_index(MIDNIGHT, rate)
    for lost in range(n // 2, n // 2 + 12):
        valid = np.ones(n, bool)
        valid[lost] = False
        some = fragment(rate, np.ones(n, np.int32), valid=valid)
        found = resample([some], rate, GRID, EPOCH_S * GRID, (EPOCH_S + 20) * GRID)
        masked = np.flatnonzero(~found.mask[0])
        inner = masked[(masked > GRID) & (masked < 19 * GRID)]
        distance = inner / GRID - (grid_time(first + lost, rate) - MIDNIGHT) / NS
        assert 1 <= len(inner) <= 2 * max(1, GRID / rate) + 1
        assert np.abs(distance).max() < max(1 / rate, 1 / GRID) + 2e-5


def test_offsets_conflicts_and_aliases_are_those_of_the_data() -> None:
    rate, first = 40.0, grid_index(MIDNIGHT, 40.0)
    rng = np.random.default_rng(2)
    offsets = np.array([[first, 7_000_000], [first + 201, -3_000_000]], np.int64)
    one = fragment(rate, rng.integers(0, 9, 800, dtype=np.int32), offsets=offsets, component="1")
    other = replace(one, samples=one.samples + np.int32(1), start=first + 400)
    other = replace(other, offsets=np.array([[first + 400, 0]]))
    clash = clip(other, MIDNIGHT, MIDNIGHT + 11 * NS)
    assert clash is not None
    found = resample([one, clash], rate, GRID, EPOCH_S * GRID, (EPOCH_S + 20) * GRID)
    assert found.mask[1].any() and not found.mask[[0, 2]].any()
    at = EPOCH_S * GRID
    offsets = found.offsets_ns(at + np.array([0, 502, 503]))
    assert offsets.tolist() == [7_000_000, 7_000_000, -3_000_000]
    assert found.conflict is not None
    where = np.flatnonzero(found.conflict)
    assert (where[0], where[-1]) == (998, 1099)  # 40 samples at 10.000 to 10.975 s
    assert not found.mask[1, where].any() and found.mask[1, [997, 1100]].all()


def test_samples_on_the_grid_go_before_resampled_ones() -> None:
    native = fragment(100.0, np.full(1000, 5, np.int32), EPOCH_S * 100 + 300)
    slow, fast = (fragment(r, np.full(round(20 * r), v, np.int32)) for r, v in ((40, 4), (200, 2)))
    beside = replace(slow, component="N")
    fast = replace(fast, component="N", offsets=np.add(fast.offsets, [0, 11]))
    slow = replace(slow, offsets=np.add(slow.offsets, [0, 9]))
    found = on_grid([slow, beside, native, fast], GRID, EPOCH_S * GRID, (EPOCH_S + 19) * GRID)
    z = found.data[0]
    assert (z[300:1300] == 5).all() and (z[:300] == 4).all() and (z[1300:] == 4).all()
    assert (found.data[1] == 2).all()
    assert found.marks[Flag.RESAMPLED].all()
    offsets = found.offsets_ns(EPOCH_S * GRID + np.array([100, 400, 1400]))
    assert offsets.tolist() == [10, 6, 10]  # of 9 and 11; of 0 and 11, rounded; of 9 and 11


def test_rates_that_leave_too_little_are_refused() -> None:
    assert [resamples(rate, 100) for rate in (1, 19.9, 20, 5000, 5001)] == [
        *(False, False),
        *(True, True, False),
    ]
    assert not resamples(100.00001, 100), "the grid's own rate"


@pytest.mark.parametrize("rate", [40.0, 62.5, 125.0, 200.0])
def test_a_block_of_the_filter_leaves_no_trace(rate: float) -> None:
    """The same samples, with a gap before a block's edge and without an edge anywhere near."""
    design = design_of(rate, GRID)
    edge = -(-EPOCH_S * GRID // design.block) * design.block
    samples = np.random.default_rng(3).integers(-1000, 1000, round(20 * rate), dtype=np.int32)
    valid = np.ones(len(samples), bool)
    valid[round(10 * rate) - round(1.6 * design.half) : round(10 * rate)] = False
    found = []
    for at in (edge, edge + 60 * GRID):
        start = grid_index(grid_time(at - 10 * GRID, GRID), rate)
        gap = fragment(rate, samples, start, valid=valid)
        found.append(resample([gap], rate, GRID, at - 10 * GRID, at + 9 * GRID))
    assert (found[0].mask == found[1].mask).all() and found[0].mask[0].any()
    assert np.abs(found[0].data - found[1].data).max() < 1e-3


@st.composite
def recordings(draw: st.DrawFn) -> list[Fragment]:
    """Minutes of several rates, gaps, masks and overlaps, where a block of the filter ends."""
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    made = []
    for rate in draw(st.lists(st.sampled_from([*RATES[:-1], 100.0]), min_size=1, max_size=3)):
        edge = grid_index(block_edge_ns(rate), rate)
        for _ in range(draw(st.integers(1, 3))):
            n, late = round(rng.uniform(0, 30) * rate), round(rng.uniform(-40, 20) * rate)
            samples = rng.integers(-(2**23), 2**23, n, dtype=np.int32)  # as digitisers have
            valid = rng.random(n) > rng.choice([0, 0.001, 0.1])
            more = replace(fragment(rate, samples, edge + late), component=rng.choice(list("ZN12")))
            if draw(st.booleans()):
                more = replace(more, samples=samples.astype(np.float32))
            made.append(more if valid.all() else replace(more, valid=valid))
    return made


def block_edge_ns(rate: float) -> int:
    """Where a block of the filter begins, near midnight: of the first rate that is drawn."""
    size = design_of(rate, GRID).block if rate != GRID else 1
    return grid_time(-(-EPOCH_S * GRID // size) * size, GRID)


@settings(max_examples=40, deadline=None)
@given(fragments=recordings(), cuts=st.lists(st.integers(0, 9000), min_size=2, max_size=2))
def test_pieces_are_the_whole_to_the_bit(fragments: list[Fragment], cuts: list[int]) -> None:
    start = grid_index(block_edge_ns(fragments[0].rate), GRID) - 45 * GRID
    whole = on_grid(fragments, GRID, start, start + 9000)
    low, high = (start + cut for cut in sorted(cuts))
    reach = round((reach_s(GRID) + 0.05) * NS)
    span = grid_time(low, GRID) - reach, grid_time(high, GRID) + reach
    near = [
        part for one in fragments if (part := clip(one, *span)) is not None and len(part.samples)
    ]
    piece = on_grid(near, GRID, low, high)
    same_inside(piece, whole, low - start, high - start)


def same_inside(piece: Waveform, whole: Waveform, low: int, high: int) -> None:
    here = slice(low, high)
    assert (piece.mask == whole.mask[:, here]).all()
    expected = whole.data[:, here].astype(np.float32)
    assert piece.data.astype(np.float32).tobytes() == expected.tobytes()
    nowhere = np.zeros(whole.data.shape[1], bool)
    for bit in {*piece.marks, *whole.marks}:
        some, every = piece.marks.get(bit, nowhere[here]), whole.marks.get(bit, nowhere)
        assert (some == every[here]).all()
    index = piece.start + np.arange(0, high - low, 97)
    assert (piece.offsets_ns(index) == whole.offsets_ns(index)).all()
