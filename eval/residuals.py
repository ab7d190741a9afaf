"""Histograms of residuals: what a mean or a share of outliers hides."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import PHASES
from eval import traces as per_trace
from eval.strata import ALL, bins_of
from eval.thresholds import Thresholds
from eval.traces import Numbers

REACH_S, WIDTH_S = 1.5, 0.05

RESIDUAL_BINS_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("stratum", pa.string()),
        ("bin", pa.string()),
        ("phase", pa.string()),
        ("from_s", pa.float64()),  # pick minus label, inclusive; null: everything earlier
        ("to_s", pa.float64()),  # exclusive; null: everything later
        ("count", pa.int64()),
        ("n", pa.int64()),  # residuals of the bin, all of them
    ]
)


def of_traces(
    traces: pa.Table, thresholds: float | Thresholds, stratum: str = "dist_bin"
) -> pa.Table:
    """Of the detected traces (TRACE_SCHEMA), in steps of WIDTH_S up to REACH_S, the middle one
    centred on 0: RESIDUAL_BINS_SCHEMA. Where nothing was detected n is 0."""
    given = Thresholds.of(thresholds)
    rows = []
    for candidate, own in per_trace.by_candidate(per_trace.conformed(traces)):
        bins = bins_of(own, stratum)
        for phase in PHASES:
            found = per_trace.phase_rows(own, phase)
            detected = found.labelled & (found.probability >= given.at(candidate, phase))
            for name in sorted(set(bins)):
                where = {"candidate": candidate, "stratum": stratum, "bin": name, "phase": phase}
                rows += [where | row for row in _steps(found.residual_s[detected & (bins == name)])]
    return pa.Table.from_pylist(rows, RESIDUAL_BINS_SCHEMA)


def of_pairs(matched: pa.Table) -> pa.Table:
    """Of matched picks (`eval.continuous.MATCHED_SCHEMA`), all stations: RESIDUAL_BINS_SCHEMA."""
    rows = []
    for candidate in sorted(pc.unique(matched["candidate"]).to_pylist()):
        for phase in PHASES:
            own = matched.filter(
                (pc.field("candidate") == candidate) & (pc.field("phase") == phase)
            )
            where = {"candidate": candidate, "stratum": ALL, "bin": ALL, "phase": phase}
            rows += [where | row for row in _steps(own["residual_s"].to_numpy())]
    return pa.Table.from_pylist(rows, RESIDUAL_BINS_SCHEMA)


def _steps(residual_s: Numbers) -> list[dict[str, float | int | None]]:
    half = round(REACH_S / WIDTH_S)
    edges = WIDTH_S * (np.arange(-half, half + 2) - 0.5)
    counts = np.bincount(np.searchsorted(edges, residual_s, side="right"), minlength=len(edges) + 1)
    ends = [None, *edges.tolist(), None]
    return [
        {"from_s": ends[k], "to_s": ends[k + 1], "count": count, "n": len(residual_s)}
        for k, count in enumerate(counts.tolist())
    ]
