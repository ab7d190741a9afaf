"""What running a candidate hands to judging it: traces, windows, shifted arrivals, snippets."""

from __future__ import annotations

import pyarrow as pa

TRACE_SCHEMA = pa.schema(
    [
        ("weight", pa.string()),  # the candidate
        ("trace_name", pa.string()),  # as its dataset calls it; with dataset and chunk, unique
        ("dataset", pa.string()),
        ("chunk", pa.string()),
        ("event_id", pa.string()),
        ("station", pa.string()),  # NET.STA
        ("dist_bin", pa.string()),  # where null, eval/strata.py makes the bins from the numbers
        ("depth_bin", pa.string()),
        ("mag_bin", pa.string()),
        ("distance_km", pa.float64()),
        ("depth_km", pa.float64()),
        ("magnitude", pa.float64()),
        ("snr_db", pa.float64()),
        ("p_in_window", pa.int64()),  # sample of the label in the window; -1 where there is none
        ("s_in_window", pa.int64()),
        ("p_prob", pa.float64()),  # highest probability within 5 s of the label
        ("s_prob", pa.float64()),
        ("p_residual_s", pa.float64()),  # that peak minus the label
        ("s_residual_s", pa.float64()),
        ("outcome", pa.string()),  # an Outcome: `picked`, or why there is no probability
        ("detail", pa.string()),
    ]
)
"""One candidate on one labelled trace: what running a model hands to judging it (eval/oracle.py).

A table may have further columns to stratify by. Probabilities and residuals are float64: 0.7 as a
float32 is below 0.7, and a threshold of 0.7 would miss it.
"""

EXAMINED_SCHEMA = pa.schema(
    [
        *(field for field in TRACE_SCHEMA if field.name not in ("weight", "dataset")),
        ("n_components", pa.int64()),  # components that vary in the window; null where none was cut
        ("strata", pa.map_(pa.string(), pa.string())),  # further columns of the benchmark
    ]
)
"""TRACE_SCHEMA as it is committed: what candidate and benchmark are called is added on reading, so
that neither name is part of what was computed."""

TASK_WINDOW_SCHEMA = pa.schema(
    [
        ("trace_name", pa.string()),
        ("chunk", pa.string()),
        ("event_id", pa.string()),
        ("station", pa.string()),
        ("split", pa.string()),  # the benchmark's own: train, dev, test; null where it has none
        ("task", pa.string()),  # detection, phase_id, onset
        ("phase", pa.string()),  # of the one pick; null for detection
        ("positive", pa.bool_()),  # an event (detection), or P (phase_id)
        ("score", pa.float64()),
        ("residual_s", pa.float64()),  # of an onset
        ("outcome", pa.string()),  # as in TRACE_SCHEMA
        ("detail", pa.string()),
    ]
)
"""One window of one candidate for the tasks of Muenchmeyer et al. (eval/muenchmeyer.py)."""

SHIFT_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("network", pa.string()),
        ("station", pa.string()),
        ("location", pa.string()),
        ("phase", pa.string()),
        ("time", pa.timestamp("ns", tz="UTC")),  # of the arrival
        ("shift_s", pa.float64()),  # of the windows
        ("residual_s", pa.float64()),  # pick minus arrival; null where there is no pick
        ("probability", pa.float64()),
    ]
)
"""One arrival picked under one set of windows (workers/shift.py)."""

SNIPPET_SCHEMA = pa.schema(
    [
        ("kind", pa.string()),  # miss, or extra
        ("candidate", pa.string()),  # whose miss or extra it is
        ("phase", pa.string()),
        ("trace", pa.string()),  # NET.STA.LOC.BAND
        ("start", pa.timestamp("ns", tz="UTC")),  # of the first sample
        ("sampling_rate", pa.float64()),
        ("waveform", pa.list_(pa.float32())),  # Z, N, E one after another; NaN without data
        (
            "curves",  # probabilities at the samples
            pa.list_(
                pa.struct(
                    [
                        ("candidate", pa.string()),
                        ("phase", pa.string()),
                        ("probability", pa.list_(pa.float32())),
                    ]
                )
            ),
        ),
        (
            "marks",  # picks; arrivals where the candidate is null
            pa.list_(
                pa.struct(
                    [
                        ("candidate", pa.string()),
                        ("phase", pa.string()),
                        ("time", pa.timestamp("ns", tz="UTC")),
                    ]
                )
            ),
        ),
    ]
)
"""Windows that a reader of an evaluation should see: what was missed, what nothing explains."""
