"""What a page is sent is what was computed, on one grid whatever rate a candidate runs at."""

from base64 import b64decode
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from service.web.drawing import FULL, NONE, drawing
from workers.snippets import Snippet

START = 1_709_251_200 * 10**9


def snippet(name, rate, late_ns=0):
    count = 10 * rate
    seconds = late_ns / 1e9 + np.arange(count) / rate
    curves = (np.stack([seconds / 20, 1 - seconds / 10]).clip(0, 1) / 2).astype(np.float32)
    waveform = (np.tile(seconds, (3, 1)) + 1e6).astype(np.float32)
    waveform[0, 0] = np.nan
    return Snippet(rate, START + late_ns, waveform, {name: curves})


def test_curves_of_two_rates_meet_on_the_higher_and_tell_nothing_of_theirs():
    picks: dict[str, Any] = {
        "fast": [{"phase": "P", "ns": START + 5 * 10**9, "probability": 0.876}]
    }
    drawn = drawing(
        [snippet("slow", 50, 10**7), snippet("fast", 100)],
        {"left": "slow", "right": "fast"},
        picks,
        START + 2 * 10**9,
    )
    assert (drawn["rate"], drawn["count"], drawn["first"]) == (100, 1000, -2.0)
    samples = np.frombuffer(b64decode(drawn["components"][1]["samples"]), "<f4")
    assert samples.mean() == pytest.approx(0, abs=0.01)
    assert np.isnan(np.frombuffer(b64decode(drawn["components"][0]["samples"]), "<f4")[0])
    left, right = (drawn["sides"][side] for side in ("left", "right"))
    assert left.keys() == right.keys()
    for phase in "PSN":
        a, b = (np.frombuffer(b64decode(s["curves"][phase]), np.uint8) for s in (left, right))
        assert len(a) == len(b) == 1000
        inside = slice(2, -4)  # the slow one begins a sample later and ends two earlier
        assert np.abs(a[inside].astype(int) - b[inside]).max() <= 1
    sums = sum(np.frombuffer(b64decode(right["curves"][p]), np.uint8).astype(int) for p in "PSN")
    assert np.abs(sums - FULL).max() <= 1
    assert right["picks"] == [{"phase": "P", "time": 3.0, "probability": 0.88}]
    assert left["picks"] == []


def test_no_value_stays_none():
    whole = snippet("one", 100)
    curves = whole.curves["one"].copy()
    curves[:, 500:] = np.nan
    drawn = drawing([replace(whole, curves={"one": curves})], {"left": "one"}, {}, START)
    curve = np.frombuffer(b64decode(drawn["sides"]["left"]["curves"]["P"]), np.uint8)
    assert (curve[500:] == NONE).all() and (curve[:500] <= FULL).all()
