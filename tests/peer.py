"""SeisBench, run live, as the peer that picks are held against."""

from __future__ import annotations

from typing import Any

import numpy as np
import obspy
import pandas as pd
import seisbench.models as sbm

from workers.waveform import grid_index
from workers.weights import Weights
from workers.windows import STEP

THRESHOLDS = (0.1, 0.2, 0.3, 0.39, 0.5, 0.7)


def on_grid(stream: obspy.Stream) -> obspy.Stream:
    """All components from the same multiple of the step, of the same length.

    The length is one for which SeisBench, whose int() truncates, sees every sample.
    """
    rate = round(stream[0].stats.sampling_rate)
    begins = [grid_index(trace.stats.starttime.ns, rate) for trace in stream]
    start = -(-max(begins) // STEP) * STEP
    for trace, begin in zip(stream, begins, strict=True):
        trace.data = trace.data[start - begin :].copy()
        trace.stats.starttime += (start - begin) / rate
    length = min(len(trace) for trace in stream)
    while (
        int((stream[0].stats.starttime + (length - 1) / rate - stream[0].stats.starttime) * rate)
        != length - 1
    ):
        length -= 1
    for trace in stream:
        trace.data = trace.data[:length]
    return stream


def seisbench(weights: Weights) -> sbm.PhaseNet:
    use = weights.preparation
    model = sbm.PhaseNet(
        phases=use.phases,
        norm=use.norm,
        component_order=use.components,
        sampling_rate=use.sampling_rate,
        filter_factor=weights.filter_factor,
    )
    model.load_state_dict(weights.network().state_dict())
    return model.eval()


def at(rows: pd.DataFrame, threshold: float) -> list[tuple[str, int, float]]:
    chosen = rows[
        (rows.probability >= np.float32(threshold)) & (rows.saddle < np.float32(threshold / 2))
    ]
    times = chosen.time.astype("int64") + chosen.offset_ns
    return sorted(zip(chosen.phase, times.tolist(), chosen.probability.tolist(), strict=True))


def theirs(model: Any, stream: obspy.Stream, threshold: float, **arguments: Any) -> list[Any]:
    found = model.classify(stream, P_threshold=threshold, S_threshold=threshold, **arguments).picks
    return as_rows(found)


def aggregated(model: Any, annotations: obspy.Stream, threshold: float) -> list[Any]:
    both = {"P_threshold": threshold, "S_threshold": threshold}
    return as_rows(model.classify_aggregate(annotations, both).picks)


def as_rows(found: Any) -> list[Any]:
    return sorted((p.phase, p.peak_time.ns, float(p.peak_value)) for p in found)


def assert_same(got: list[Any], expected: list[Any], tolerance: float) -> None:
    """Equal phases and samples; SeisBench's own clock is a float, hence the microseconds."""
    assert [row[0] for row in got] == [row[0] for row in expected]
    for (_, time, value), (_, other_time, other) in zip(got, expected, strict=True):
        assert abs(time - other_time) <= 2_000
        assert abs(value - other) <= tolerance
