"""What averaging the last checkpoints gives: the average beside those that it is the mean of."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from scipy import stats

from eval.intervals import REPLICATES
from eval.metrics import CONFIDENCE
from eval.snr.scores import Measure, scored

ROUNDING = 1e-12
"""A difference below is of the sums' rounding."""

AVERAGE_SCHEMA = pa.schema(
    [
        ("average", pa.string()),  # the candidate whose weights are the mean
        ("family", pa.string()),  # of which, joined by commas
        ("phase", pa.string()),
        ("measure", pa.string()),
        ("traces", pa.int64()),
        ("value", pa.float64()),  # of the average
        ("members_mean", pa.float64()),
        ("members_best", pa.float64()),
        ("members_last", pa.float64()),
        ("noise", pa.float64()),  # deviation of the members
        ("gain", pa.float64()),  # of the average over the members' mean, more is better
        ("low", pa.float64()),  # by sampling; null where it is not known
        ("high", pa.float64()),
    ]
)


def averaging(
    measures: Sequence[Measure],
    average: str,
    members: Sequence[str],
    *,
    seed: int,
    replicates: int = REPLICATES,
) -> pa.Table:
    """AVERAGE_SCHEMA, a row a measure. measures: of the same rows, all of these candidates."""
    rows = []
    found = scored(measures, seed=seed, replicates=replicates)
    for measure, every in zip(measures, found, strict=True):
        own = every.of([average, *members])
        if np.isnan(own.values).any():
            continue
        contrast = np.array([1.0, *[-1 / len(members)] * len(members)])
        gain = float(own.gains[0] - own.gains[1:].mean())
        if abs(gain) < ROUNDING:
            gain = 0.0
        error = math.sqrt(max(float(contrast @ own.covariance @ contrast), 0.0))
        # Where every cluster says the same, how much they may differ is not known.
        known = own.freedom > 0 and error > ROUNDING
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, own.freedom)) * error if known else math.nan
        values = own.values[1:]
        rows.append(
            {
                "average": average,
                "family": ", ".join(members),
                "phase": measure.phase,
                "measure": measure.name,
                "traces": measure.rows,
                "value": float(own.values[0]),
                "members_mean": float(values.mean()),
                "members_best": float(values[int(own.gains[1:].argmax())]),
                "members_last": float(values[-1]),
                "noise": float(values.std()),
                "gain": gain,
                "low": gain - half if known else None,
                "high": gain + half if known else None,
            }
        )
    return pa.Table.from_pylist(rows, AVERAGE_SCHEMA)
