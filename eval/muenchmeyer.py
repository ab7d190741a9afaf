"""The three tasks of Muenchmeyer et al. (2022), beside the oracle-window benchmark.

1. Detection: does a 30 s window hold an event? score = max(1 - noise), against noise windows.
2. Phase identification: is the one pick of a 10 s window P or S? score = max P / max S.
3. Onset: the peak of a 10 s window, without any threshold, against its label.

Thresholds of 1 and 2 are F1-optimal on the development split and applied to the test split.
`mcc_detection` and `mcc_phase_id_10s` are Matthews' coefficients of those decisions; neither is
the benchmark's `mcc_phase_id` (eval/oracle.py), which has no decision and no negatives.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from catalog.schema import PHASES
from eval.intervals import REPLICATES, Clustered, Clusters, Kind, figure, ratios
from eval.metrics import CONFIDENCE, Estimate
from eval.oracle import seconds
from eval.thresholds import f1_optimal
from eval.traces import Numbers, codes

OUTLIER_S = 1.5
REGIONAL_OUTLIER_S = 0.45

DECISION_SCHEMA = pa.schema(
    [
        ("weight", pa.string()),
        ("dataset", pa.string()),
        ("split", pa.string()),  # development, or test
        ("positive", pa.bool_()),  # an event (task 1), or P (task 2)
        ("score", pa.float64()),
        ("event_id", pa.string()),  # null for noise
        ("station", pa.string()),
    ]
)

ONSET_SCHEMA = pa.schema(
    [
        ("weight", pa.string()),
        ("dataset", pa.string()),
        ("phase", pa.string()),
        ("residual_s", pa.float64()),
        ("event_id", pa.string()),
        ("station", pa.string()),
    ]
)

TASK_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("dataset", pa.string()),
        ("phase", pa.string()),  # null for decisions
        ("metric", pa.string()),
        ("threshold", pa.float64()),  # from the development split; null for onsets
        ("value", pa.float64()),  # null: undefined
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("clusters", pa.int64()),
        ("interval_over", pa.string()),
    ]
)


def detection(windows: pa.Table, *, seed: int, replicates: int = REPLICATES) -> pa.Table:
    """Task 1: `mcc_detection`, `f1_detection` and their parts, of DECISION_SCHEMA: TASK_SCHEMA."""
    return _decided(windows, "detection", _of_events, seed, replicates)


def phase_identification(windows: pa.Table, *, seed: int, replicates: int = REPLICATES) -> pa.Table:
    """Task 2: `mcc_phase_id_10s`, `f1_phase_id_10s` and their parts, of DECISION_SCHEMA."""
    return _decided(windows, "phase_id_10s", _clusters, seed, replicates)


def onsets(
    windows: pa.Table,
    outlier_s: Mapping[str, float],
    *,
    seed: int,
    replicates: int = REPLICATES,
) -> pa.Table:
    """Task 3: MAE, RMSE and outliers of every window, of ONSET_SCHEMA: TASK_SCHEMA.

    outlier_s: dataset -> limit, REGIONAL_OUTLIER_S for the regional ones; OUTLIER_S where absent.
    """
    rows = []
    for candidate, dataset, both_phases in _groups(windows):
        for phase in PHASES:
            own = both_phases.filter(pc.field("phase") == phase)
            size: Numbers = np.abs(own["residual_s"].to_numpy())
            limit = outlier_s.get(dataset, OUTLIER_S)
            clusters = _clusters(own)
            found = ratios(
                np.stack([size, size**2, 1.0 * (size > limit)], axis=1),
                np.ones((len(size), 3)),
                [Kind.MAGNITUDE, Kind.ROOT, Kind.PROPORTION],
                clusters,
                seed=seed,
                replicates=replicates,
            )
            names = ("mae_10s", "rmse_10s", f"out_gt{seconds(limit)}_10s")
            for name, one in zip(names, found, strict=True):
                rows.append(_row(candidate, dataset, phase, name, None, clusters, one))
    return pa.Table.from_pylist(rows, TASK_SCHEMA)


def matthews(counts: Numbers) -> Numbers:
    """Matthews' coefficient of [..., 4] true and false positives, false and true negatives.

    NaN where only one answer was given or only one was right.
    """
    tp, fp, fn, tn = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    below = np.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    above = tp * tn - fp * fn
    coefficient: Numbers = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    return coefficient


def correlation(found: Clustered) -> Clustered:
    """A coefficient's interval by Fisher's z (1915), so that it stays within [-1, 1].

    Where no cluster differs, as where all decisions were right or all wrong, there is none.
    """
    value, error = found.estimate.value, found.error
    if math.isnan(value) or math.isnan(error) or error == 0 or abs(value) >= 1:
        return replace(found, estimate=Estimate(value, math.nan, math.nan))
    t = float(stats.t.ppf(0.5 + CONFIDENCE / 2, found.freedom))
    half = t * error / (1 - value**2)
    low, high = (math.tanh(math.atanh(value) + end) for end in (-half, half))
    return replace(found, estimate=Estimate(value, low, high))


def f1_of(share: Clustered) -> Clustered:
    """F1 = 2 J / (1 + J) of J = TP / (TP + FP + FN), with J's interval carried over."""
    one = share.estimate
    ends = Estimate(*(2 * j / (1 + j) for j in (one.value, one.low, one.high)))
    return replace(share, estimate=ends)


def _decided(
    windows: pa.Table,
    task: str,
    clusters_of: Callable[[pa.Table], Clusters],
    seed: int,
    replicates: int,
) -> pa.Table:
    rows = []
    for candidate, dataset, both_splits in _groups(windows):
        development, test = (
            both_splits.filter(pc.field("split") == name) for name in ("development", "test")
        )
        score, positive = _scores(development)
        if not positive.any() or positive.all():
            raise ValueError(
                f"windows: the development split of {candidate!r}, {dataset!r} does not hold both "
                "kinds of windows; no threshold can be solved"
            )
        threshold = f1_optimal(score[positive], score[~positive])
        score, positive = _scores(test)
        said = score >= threshold
        kinds = [said & positive, said & ~positive, ~said & positive, ~said & ~positive]
        counts = np.stack(kinds, axis=1).astype(np.float64)
        clusters = clusters_of(test)
        how = {"seed": seed, "replicates": replicates}
        tp, fp, fn = counts[:, 0], counts[:, 1], counts[:, 2]
        wrong_or_found = np.stack([tp + fp + fn, tp + fp, tp + fn], axis=1)
        hits = np.stack([tp, tp, tp], axis=1)
        jaccard, precision, recall = ratios(
            hits, wrong_or_found, [Kind.PROPORTION] * 3, clusters, **how
        )
        figures = {
            "mcc": correlation(figure(counts, matthews, Kind.MEAN, clusters, **how)),
            "f1": f1_of(jaccard),
            "precision": precision,
            "recall": recall,
        }
        for name, one in figures.items():
            rows.append(_row(candidate, dataset, None, f"{name}_{task}", threshold, clusters, one))
    return pa.Table.from_pylist(rows, TASK_SCHEMA)


def _scores(windows: pa.Table) -> tuple[Numbers, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    if windows["score"].null_count or windows["positive"].null_count:
        raise ValueError("windows: columns 'score' and 'positive' must hold no nulls")
    return windows["score"].to_numpy(), windows["positive"].to_numpy()


def _groups(windows: pa.Table) -> list[tuple[str, str, pa.Table]]:
    names = [
        (weight, dataset)
        for weight in sorted(pc.unique(windows["weight"]).to_pylist())
        for dataset in sorted(pc.unique(windows["dataset"]).to_pylist())
    ]
    return [
        (*pair, own)
        for pair in names
        if (
            own := windows.filter(
                (pc.field("weight") == pair[0]) & (pc.field("dataset") == pair[1])
            )
        ).num_rows
    ]


def _clusters(windows: pa.Table) -> Clusters:
    return Clusters(codes(windows["event_id"]), codes(windows["station"]))


def _of_events(windows: pa.Table) -> Clusters:
    """As `_clusters`, and noise lies in no event: it is drawn with its stations.

    Without stations each window of noise stays an event of its own, or none would ever be drawn.
    """
    clusters = _clusters(windows)
    if clusters.event is None or clusters.station is None:
        return clusters
    noise = windows["event_id"].is_null().to_numpy() & ~windows["positive"].to_numpy()
    return Clusters(np.where(noise, -1, clusters.event), clusters.station)


def _row(
    candidate: str,
    dataset: str,
    phase: str | None,
    metric: str,
    threshold: float | None,
    clusters: Clusters,
    found: Clustered,
) -> dict[str, object]:
    return {
        "candidate": candidate,
        "dataset": dataset,
        "phase": phase,
        "metric": metric,
        "threshold": threshold,
        "interval_over": clusters.over,
        **found.columns,
    }
