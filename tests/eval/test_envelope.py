"""Long curves are drawn with fewer points, and no peak or gap is lost."""

import re
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from eval.report.envelope import bent, envelope
from eval.report.svg import shortened


@given(st.integers(0, 2**32 - 1), st.integers(2, 4000))
def test_every_stretch_keeps_its_lowest_and_highest(seed, n):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n)
    begin = rng.integers(n)
    values[begin : begin + rng.integers(n)] = np.nan
    columns = 50
    at = envelope(values, columns)
    assert (np.diff(at) > 0).all() and at[0] == 0 and at[-1] == n - 1
    assert len(at) <= max(2 * columns + 6, 100)
    edges = np.linspace(0, n, columns + 1).astype(int)
    for start, stop in pairwise(edges):
        own = values[start:stop]
        drawn = values[at[(at >= start) & (at < stop)]]
        if len(own) and not np.isnan(own).all():
            assert np.nanmin(drawn) == np.nanmin(own) and np.nanmax(drawn) == np.nanmax(own)
    gap = np.isnan(values)
    assert set(np.flatnonzero(gap[1:] != gap[:-1]) + 1) <= set(at)


def test_a_quiet_curve_is_a_few_points_and_a_peak_stands():
    values = np.zeros(3000)
    values[1000:1100] = np.hanning(100)
    at = bent(values, envelope(values))
    assert len(at) < 50
    assert np.abs(np.interp(np.arange(3000), at, values[at]) - values).max() < 0.1


def test_a_path_in_steps_leads_to_the_same_points():
    path = "M 1.234567 2 \nL 3.5 -4.25 \nL 3.5 -4.25 \nz\nM 100 0.004 \nL 99.999 7 \n"
    at, points = np.zeros(2), []
    begun = at
    for letter, x, y in re.findall(r"([mlz])(-?[\d.]*) ?(-?[\d.]*)", shortened(path)):
        at = begun if letter == "z" else np.add(at, (float(x), float(y)))
        begun = at if letter == "m" else begun
        points.append(at)
    assert np.allclose(points[:3], [(1.23, 2), (3.5, -4.25), (3.5, -4.25)])
    assert np.allclose(points[4:], [(100, 0), (100, 7)])
    curve = "M 0 3.123456 C 1.23456 3 2 2 3 0 z"
    assert shortened(curve) == "M 0 3.12 C 1.23 3 2 2 3 0 z"
