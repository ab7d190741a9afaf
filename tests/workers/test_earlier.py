"""What stays of an earlier waveform under one of now, and when both are the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.schema import Flag
from workers.earlier import alike, beneath
from workers.waveform import Samples, Waveform

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


def offset(one: Waveform, row: int, k: int) -> int:
    table = one.offsets[row]
    return int(table[np.searchsorted(table[:, 0], START + k, side="right") - 1, 1])


def disputed(one: Waveform) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.zeros(N, bool) if one.conflict is None else one.conflict


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.booleans())
def test_what_is_lacked_and_not_contradicted_stays(a: int, b: int, floats: bool) -> None:
    now, before = waveform(a), waveform(b, np.float32 if floats else np.int32)
    result, where = beneath(waveform(a), before)
    for k in range(N):
        stays = before.mask[:, k] & ~now.mask[:, k] & ~disputed(now)[k]
        assert where[k] == stays.any()
        assert (result.mask[:, k] == now.mask[:, k] | stays).all()
        for row in range(3):
            if result.mask[row, k]:
                of = before if stays[row] else now
                assert result.data[row, k] == of.data[row, k]
                assert offset(result, row, k) == offset(of, row, k)
            else:
                assert result.data[row, k] == 0
    if where.any():
        both = disputed(now) | disputed(before) & ~now.mask.any(axis=0)
        np.testing.assert_array_equal(disputed(result), both)
    else:
        assert alike(result, now)


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
