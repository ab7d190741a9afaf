"""Histograms of the residuals of detected traces, by stratum: what a mean or an outlier share hides."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from catalog.schema import PHASES
from eval import traces as per_trace
from eval.strata import bins_of
from eval.thresholds import Thresholds

REACH_S, WIDTH_S = 1.5, 0.05

RESIDUALS_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("stratum", pa.string()),
        ("bin", pa.string()),
        ("phase", pa.string()),
        ("threshold", pa.float64()),
        ("from_s", pa.float64()),  # pick minus label, inclusive; null: everything earlier
        ("to_s", pa.float64()),  # exclusive; null: everything later
        ("count", pa.int64()),
        ("n", pa.int64()),  # detected traces of the bin, all residuals
    ]
)


def residuals(
    traces: pa.Table, thresholds: float | Thresholds, stratum: str = "dist_bin"
) -> pa.Table:
    """Counts in steps of WIDTH_S up to REACH_S, the middle one centred on 0: RESIDUALS_SCHEMA.

    traces: TRACE_SCHEMA. A bin in which a candidate detected nothing has its rows, of n = 0.
    """
    given = Thresholds.of(thresholds)
    half = round(REACH_S / WIDTH_S)
    edges = WIDTH_S * (np.arange(-half, half + 2) - 0.5)
    ends = [None, *edges.tolist(), None]
    rows = []
    for candidate, own in per_trace.by_candidate(per_trace.conformed(traces)):
        bins = bins_of(own, stratum)
        for phase in PHASES:
            found = per_trace.phase_rows(own, phase)
            threshold = given.at(candidate, phase)
            detected = found.labelled & (found.probability >= threshold)
            for name in sorted(set(bins)):
                size = found.residual_s[detected & (bins == name)]
                steps = np.searchsorted(edges, size, side="right")
                counts = np.bincount(steps, minlength=len(edges) + 1)
                where = {"candidate": candidate, "stratum": stratum, "bin": name, "phase": phase}
                for k, count in enumerate(counts.tolist()):
                    ends_of = {"from_s": ends[k], "to_s": ends[k + 1]}
                    rows.append(
                        where
                        | {"threshold": threshold}
                        | ends_of
                        | {"count": count, "n": len(size)}
                    )
    return pa.Table.from_pylist(rows, RESIDUALS_SCHEMA)
