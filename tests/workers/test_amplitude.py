"""Amplitudes at picks, against the plain definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.amplitude import half_range


@given(seed=st.integers(0, 2**16), present=st.sampled_from([1.0, 0.7, 0.02, 0.0]))
def test_half_range_is_that_of_the_samples_that_exist(seed: int, present: float) -> None:
    rng = np.random.default_rng(seed)
    data = rng.integers(-(2**31), 2**31, (3, 900)).astype(np.int32)
    mask = rng.random((3, 900)) < present
    columns = np.append(rng.integers(0, 900, 8), [0, 899])
    got = half_range(data, mask, columns, 100, (-0.5, 2.0))
    for column, value in zip(columns.tolist(), got, strict=True):
        here = slice(max(column - 50, 0), column + 200)
        rows = [
            row[has].astype(float) for row, has in zip(data[:, here], mask[:, here], strict=True)
        ]
        ranges = [row.max() - row.min() for row in rows if len(row)]
        assert value == pytest.approx(max(ranges) / 2, rel=1e-6) if ranges else np.isnan(value)
