"""How far a pick moves with the windows it was seen through, which no data justify.

A published score depends on where windows begin: one weak P moved by 0.18 s and between .47 and
.72 over 1 s. A difference between candidates that is smaller than their own movement is none.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import PHASES

MOVEMENT_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("phase", pa.string()),
        ("arrivals", pa.int64()),
        ("always", pa.int64()),  # arrivals with a pick at the threshold under all windows
        ("sometimes", pa.int64()),  # under some
        ("time_range_median_s", pa.float64()),  # latest minus earliest, where there are picks
        ("time_range_max_s", pa.float64()),
        ("probability_range_median", pa.float64()),
        ("probability_range_max", pa.float64()),
    ]
)


def movement(shifts: pa.Table, threshold: float, candidates: Sequence[str]) -> pa.Table:
    """shifts: SHIFT_SCHEMA. Ranges are of the picks as stored, from the floor on; an arrival that
    has fewer than two picks has none."""
    rows = []
    for candidate in candidates:
        for phase in PHASES:
            own = shifts.filter((pc.field("candidate") == candidate) & (pc.field("phase") == phase))
            keys = [own[name].cast(pa.string()) for name in ("network", "station", "location")]
            text = pc.binary_join_element_wise(*keys, own["time"].cast(pa.string()), ".")
            arrival = np.array(text.to_pylist(), object)
            residual, probability = (
                own[name].to_numpy(zero_copy_only=False) for name in ("residual_s", "probability")
            )
            ranges, standing = [], []
            for name in sorted(set(arrival)):
                inside = arrival == name
                standing.append(float(np.mean(probability[inside] >= threshold)))
                seen = inside & ~np.isnan(probability)
                if seen.sum() > 1:
                    ranges.append((np.ptp(residual[seen]), np.ptp(probability[seen])))
            times, heights = zip(*ranges, strict=True) if ranges else ((), ())
            rows.append(
                {
                    "candidate": candidate,
                    "phase": phase,
                    "arrivals": len(standing),
                    "always": sum(share == 1 for share in standing),
                    "sometimes": sum(0 < share < 1 for share in standing),
                    "time_range_median_s": float(np.median(times)) if times else None,
                    "time_range_max_s": max(times, default=None),
                    "probability_range_median": float(np.median(heights)) if heights else None,
                    "probability_range_max": max(heights, default=None),
                }
            )
    return pa.Table.from_pylist(rows, MOVEMENT_SCHEMA)
