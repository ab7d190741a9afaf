"""Would a decision taken on a benchmark be the one that continuous days ask for?

Decision accuracy is the share of pairs of candidates that two benchmarks rank alike; a pair tied on
one of them alone counts half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from eval.intervals import cluster_sums
from eval.metrics import Estimate, Sample
from eval.snr.scores import Measure, Scores

DRAWS = 2_000

SIZE_SCHEMA = pa.schema(
    [
        ("measure", pa.string()),
        ("phase", pa.string()),
        ("traces", pa.int64()),  # on average; whole clusters are drawn
        ("clusters", pa.int64()),
        ("accuracy", pa.float64()),  # decision accuracy, the mean over draws
        ("low", pa.float64()),  # 95 % of the draws lie between
        ("high", pa.float64()),
    ]
)


def decision_accuracy(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """Share of pairs ranked alike by two benchmarks. first, second: [k], more is better in both.

    Ties: both tied is alike, one tied is half. NaN with fewer than two candidates. Raises
    ValueError for unequal lengths and for a NaN score, which has no rank.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != other.shape or np.isnan(one).any() or np.isnan(other).any():
        raise ValueError(
            f"decision accuracy: scores {one.shape} and {other.shape} must be of the same "
            "candidates, and none NaN"
        )
    return float(_alike(one[None], other[None])[0])


def decision(bench: Scores, days: Scores, *, seed: int, draws: int = DRAWS) -> Estimate:
    """Decision accuracy of a benchmark against held-out days, of the same candidates by name.

    The interval holds 95 % of what sampling of both would have given; NaN where that of one is not
    known, as of days with a single station and event.
    """
    days = days.of(bench.candidates)
    value = decision_accuracy(bench.gains, days.gains)
    if not (bench.known and days.known):
        return Estimate(value, np.nan, np.nan)
    generator = np.random.default_rng(seed)
    sides = (scores.drawn(draws, generator) for scores in (bench, days))
    low, high = np.quantile(_alike(*sides), [0.025, 0.975])
    return Estimate(value, min(value, float(low)), max(value, float(high)))


def by_size(
    measure: Measure, days: Scores, sizes: Sequence[int], *, seed: int, draws: int = 200
) -> pa.Table:
    """Decision accuracy of benchmarks of so many clusters, as others like them: SIZE_SCHEMA.

    sizes: in clusters (events where there are any), drawn with replacement; sizes above what there
    is are left out. Draws in which a candidate has no score do not count. The days stay as they
    are: how little they tell is in the interval of `decision`.
    """
    target = days.of(measure.candidates).gains
    turn = -1 if measure.less_is_better else 1
    [(_, codes), *_] = measure.clusters.levels(len(measure.of))
    counted = (measure.over != 0).any(axis=1).astype(np.float64)
    sums = cluster_sums(np.column_stack([measure.of, measure.over, counted]), codes)
    k = len(measure.candidates)
    generator = np.random.default_rng(seed)
    rows = []
    for size in sorted({size for size in sizes if 0 < size <= len(sums)}):
        drawn = np.stack(
            [sums[generator.integers(len(sums), size=size)].sum(axis=0) for _ in range(draws)]
        )
        defined = (drawn[:, k : 2 * k] != 0).all(axis=1)
        if not defined.any():
            continue
        drawn = drawn[defined]
        scores = turn * drawn[:, :k] / drawn[:, k : 2 * k]
        accuracy = _alike(scores, np.broadcast_to(target, scores.shape))
        low, high = np.quantile(accuracy, [0.025, 0.975])
        rows.append(
            {
                "measure": measure.name,
                "phase": measure.phase,
                "traces": round(float(drawn[:, -1].mean())),
                "clusters": size,
                "accuracy": float(accuracy.mean()),
                "low": float(low),
                "high": float(high),
            }
        )
    return pa.Table.from_pylist(rows, SIZE_SCHEMA)


def _alike(first: Sample, second: Sample) -> Sample:
    """[draws, k] twice -> decision accuracy [draws]."""
    i, j = np.triu_indices(first.shape[1], 1)
    if len(i) == 0:
        return np.full(len(first), np.nan)
    one, other = (np.sign(scores[:, i] - scores[:, j]) for scores in (first, second))
    return np.asarray((1 - np.abs(one - other) / 2).mean(axis=1), np.float64)
