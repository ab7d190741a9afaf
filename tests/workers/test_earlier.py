"""What stays of an earlier waveform under one of now, and when both are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.schema import Flag
from workers.earlier import alike, beneath, spans_of
from workers.waveform import Samples, Waveform, grid_time

N = 40
START = 1000
TABLE = np.array([[START, 5]], np.int64)
FLAT = np.zeros((0, 2), np.int64)


def waveform(seed: int, dtype: type = np.int32) -> Waveform:
    """Some samples are missing, of all components or one, and some of those are disputed."""
    rng = np.random.default_rng(seed)
    mask = (rng.random((3, N)) < 0.7) & (rng.random(N) < 0.8)
    data: Samples = (rng.integers(1, 99, (3, N)) * mask).astype(dtype)
    conflict = (rng.random(N) < 0.3) & ~mask.all(axis=0)
    marks = {Flag.CONFLICT: conflict} if conflict.any() else {}
    tables = [np.array([[START, seed + row], [START + 20, -row]], np.int64) for row in range(3)]
    return Waveform(10.0, START, data, mask, (tables[0], tables[1], tables[2]), marks)


def disputed(one: Waveform) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.zeros(N, bool) if one.conflict is None else one.conflict


WHOLE = [(row, grid_time(START, 10.0), grid_time(START + N, 10.0)) for row in "ZNE"]


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, N), st.integers(0, N))
def test_what_is_lacked_and_not_contradicted_stays(a: int, b: int, low: int, high: int) -> None:
    now, before = waveform(a), waveform(b)
    span = grid_time(START + low, 10.0), grid_time(START + high, 10.0)
    within = [(row, *span) for row in "ZN"]
    result = beneath([now], before, within)
    for k in range(N):
        for row in range(3):
            in_doubt = known_in_doubt(now, row)[k]
            own = row < 2 and low <= k < high
            stays = own and before.mask[row, k] and not (now.mask[row, k] or in_doubt)
            assert result.mask[row, k] == stays
            assert result.data[row, k] == (before.data[row, k] if stays else 0)
        assert disputed(result)[k] == (
            low <= k < high and disputed(before)[k] and not now.mask[:, k].any()
        )
    np.testing.assert_array_equal(result.offsets, before.offsets)


def known_in_doubt(one: Waveform, row: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Disputed samples that lie between or beside those of a component, one after the other."""
    there, doubt = one.mask[row], np.zeros(N, bool)
    for step in (1, -1):
        last = False
        for k in range(N)[::step]:
            last = bool(there[k] or (last and disputed(one)[k]))
            doubt[k] |= last and not there[k]
    return doubt


def test_a_component_that_has_nothing_is_in_no_dispute() -> None:
    nothing = ONE.mask.copy()
    nothing[1] = nothing[0, 9:12] = False
    now = changed(ONE, mask=nothing, marks={Flag.CONFLICT: ~nothing[0]})
    result = beneath([now], ONE, WHOLE)
    assert result.mask.sum(axis=1).tolist() == [0, N, 0]


def test_what_comes_at_another_rate_lies_over_it_too() -> None:
    """Of one component, the first half."""
    mask = np.zeros((3, 2 * N), bool)
    mask[1, :N] = True
    data = mask.astype(np.int32)
    now = Waveform(20.0, 2 * START, data, mask, (FLAT, np.array([[2 * START, 0]]), FLAT))
    result = beneath([now], ONE, WHOLE)
    assert result.mask.sum(axis=1).tolist() == [N, N // 2, N]
    assert spans_of(result) == [WHOLE[0][1:]]


def changed(one: Waveform, **how: object) -> Waveform:
    return replace(one, **how)  # type: ignore[arg-type]


ONE = Waveform(
    10.0,
    START,
    np.arange(3 * N, dtype=np.int32).reshape(3, N) + 1,
    np.ones((3, N), bool),
    (TABLE, TABLE, FLAT),
)
OTHER_SAMPLE, OTHER_MASK = ONE.data.copy(), ONE.mask.copy()
OTHER_SAMPLE[2, 7] = -1
OTHER_MASK[1, 3] = False


@pytest.mark.parametrize(
    "other",
    [
        changed(ONE, rate=20.0),
        changed(ONE, data=ONE.data.astype(np.float32)),
        changed(ONE, data=OTHER_SAMPLE),
        changed(ONE, mask=OTHER_MASK),
        changed(ONE, marks={Flag.CONFLICT: np.arange(N) == 4}),
        changed(ONE, offsets=(TABLE, TABLE, TABLE)),
        changed(ONE, offsets=(np.array([[START, 5], [START + 20, 6]]), TABLE, FLAT)),
    ],
)
def test_what_differs_is_not_alike(other: Waveform) -> None:
    assert not alike(ONE, other) and not alike(other, ONE)


@pytest.mark.parametrize(
    "other",
    [
        changed(ONE, rate=10.0 * (1 + 1e-8)),
        changed(ONE, offsets=(np.array([[START, 5], [START + 20, 5]]), TABLE, FLAT)),
        changed(ONE, offsets=(TABLE, TABLE, np.array([[START, 0]]))),
    ],
)
def test_what_is_written_otherwise_is_alike(other: Waveform) -> None:
    assert alike(ONE, other) and alike(other, ONE)
