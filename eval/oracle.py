"""The oracle-window benchmark: every trace is known to hold the labelled phase, within 5 s.

It says how well a candidate times what it finds when told where to look. It cannot say how often
a candidate is wrong where nothing is: there are no negatives here, hence no precision and no
calibration. Recall and timing are always given together, for each can be bought with the other.

Names of metrics say the definition. With D the labelled traces whose probability reaches the
threshold t (inclusive) and L all labelled traces:

| name | over | what |
| --- | --- | --- |
| `recall_t0.30` | L | share in D; a peak up to 5 s off counts |
| `recall_1.0s_t0.30` | L | share in D and within 1.0 s (inclusive) |
| `mae_cond_t0.30`, `rmse_cond_t0.30` | D | residual in s; falls with recall, never rank by it |
| `out_gt1.0s_cond` | D at the threshold of the row | share with a residual beyond 1.0 s (strict) |
| `mae_uncond_w5s`, `rmse_uncond_w5s`, `out_gt1.0s_uncond_w5s` | L | the same, any probability |
| `prob_median` | L | median probability |
| `mcc_phase_id` | both labelled | 2 share(P's probability > S's) - 1: tells P from S, no more |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from catalog.schema import PHASES, Outcome
from eval import traces as per_trace
from eval.intervals import REPLICATES, Clustered, Clusters, Kind, columns, ratios
from eval.metrics import CONFIDENCE, Estimate
from eval.strata import ALL, bins_of
from eval.thresholds import Thresholds, named
from eval.traces import Numbers, PhaseRows, Truths

STRATA = (ALL, "dist_bin", "depth_bin", "mag_bin", "snr_bin", "dataset")
TIMED_S = (0.1, 0.5, 1.0)
OUTLIERS_S = (1.0, 1.5)
RECALL_THRESHOLDS = (0.1, 0.2, 0.3, 0.5, 0.7)
BOTH = "+".join(PHASES)

ORACLE_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("stratum", pa.string()),
        ("bin", pa.string()),
        ("phase", pa.string()),  # P, S, or P+S for what needs both labels
        ("metric", pa.string()),
        ("threshold", pa.float64()),  # null where the metric has none
        ("value", pa.float64()),  # null: undefined, the bin cannot say
        ("low", pa.float64()),
        ("high", pa.float64()),  # null: too few clusters for an interval
        ("n", pa.int64()),  # traces the metric is over
        ("count", pa.int64()),  # of those that a share counts; null for other metrics
        ("clusters", pa.int64()),  # the fewer of the events and the stations behind n
        ("interval_over", pa.string()),  # eval.intervals.Clusters.over
    ]
)

COMPOSITION_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("stratum", pa.string()),
        ("bin", pa.string()),
        ("traces", pa.int64()),
        ("not_read", pa.int64()),  # an outcome, and in no metric
        ("labelled_P", pa.int64()),
        ("labelled_S", pa.int64()),
        ("labelled_both", pa.int64()),
        ("events", pa.int64()),
        ("stations", pa.int64()),
        ("without_event", pa.int64()),
        ("without_station", pa.int64()),
        ("datasets", pa.string()),  # "a 120, b 3", most traces first
    ]
)


@dataclass(frozen=True, slots=True)
class _Metric:
    """A metric as a ratio of sums over traces."""

    phase: str
    name: str
    threshold: float | None
    kind: Kind
    over: Truths
    of: Numbers


def score(
    traces: pa.Table,
    thresholds: float | Thresholds = 0.3,
    strata: Sequence[str] = STRATA,
    *,
    seed: int,
    recall_thresholds: Sequence[float] = RECALL_THRESHOLDS,
    replicates: int = REPLICATES,
) -> pa.Table:
    """Every metric of every candidate, in every bin of every stratum: ORACLE_SCHEMA.

    traces: TRACE_SCHEMA, and any column named in `strata` (see `eval.strata.bins_of`). thresholds:
    one, or each candidate's own. recall_thresholds: where recall, and recall within 1 s, are
    given beside. Intervals are
    over events and stations, from `replicates` draws of the given seed.
    """
    table = per_trace.conformed(traces)
    rows = []
    for candidate, own in per_trace.by_candidate(table):
        metrics = _metrics(own, candidate, Thresholds.of(thresholds), recall_thresholds)
        clusters = per_trace.clusters(own)
        for stratum in strata:
            bins = bins_of(own, stratum)
            for name in sorted(set(bins)):
                inside = np.flatnonzero(bins == name)
                where = {"candidate": candidate, "stratum": stratum, "bin": name}
                for row in _scored(metrics, inside, clusters.take(inside), seed, replicates):
                    rows.append(where | row)
    return pa.Table.from_pylist(rows, ORACLE_SCHEMA)


def composition(traces: pa.Table, strata: Sequence[str] = STRATA) -> pa.Table:
    """What each bin is made of, label availability first: COMPOSITION_SCHEMA."""
    rows = []
    for candidate, own in per_trace.by_candidate(per_trace.conformed(traces)):
        for stratum in strata:
            bins = bins_of(own, stratum)
            for name in sorted(set(bins)):
                inside = own.filter(pa.array(bins == name))
                p, s = (per_trace.phase_rows(inside, phase).labelled for phase in PHASES)
                datasets = pc.value_counts(inside["dataset"].drop_null()).to_pylist()
                datasets.sort(key=lambda found: (-found["counts"], found["values"]))
                rows.append(
                    {
                        "candidate": candidate,
                        "stratum": stratum,
                        "bin": name,
                        "traces": inside.num_rows,
                        "not_read": _count(
                            pc.not_equal(inside["outcome"], Outcome.PICKED.value).to_numpy()
                        ),
                        "labelled_P": _count(p),
                        "labelled_S": _count(s),
                        "labelled_both": _count(p & s),
                        "events": pc.count_distinct(inside["event_id"]).as_py(),
                        "stations": pc.count_distinct(inside["station"]).as_py(),
                        "without_event": inside["event_id"].null_count,
                        "without_station": inside["station"].null_count,
                        "datasets": ", ".join(f"{d['values']} {d['counts']}" for d in datasets),
                    }
                )
    return pa.Table.from_pylist(rows, COMPOSITION_SCHEMA)


def _metrics(
    own: pa.Table, candidate: str, thresholds: Thresholds, recall_thresholds: Sequence[float]
) -> list[_Metric]:
    p, s = (per_trace.phase_rows(own, phase) for phase in PHASES)
    metrics = []
    for phase, rows in zip(PHASES, (p, s), strict=True):
        threshold = thresholds.at(candidate, phase)
        metrics += _phase_metrics(phase, rows, threshold, recall_thresholds)
    both = p.labelled & s.labelled
    first = _numbers(p.probability > s.probability)
    metrics.append(_Metric(BOTH, "mcc_phase_id", None, Kind.PROPORTION, both, first))
    return metrics


def _phase_metrics(
    phase: str, rows: PhaseRows, threshold: float, recall_thresholds: Sequence[float]
) -> list[_Metric]:
    labelled = rows.labelled
    size: Numbers = np.abs(rows.residual_s)
    detected = labelled & (rows.probability >= threshold)
    share, magnitude = Kind.PROPORTION, Kind.MAGNITUDE
    t = named(threshold)
    metrics = [
        _Metric(phase, f"recall_{named(at)}", at, share, labelled, _numbers(rows.probability >= at))
        for at in sorted({threshold, *recall_thresholds})
    ]
    others = sorted({*recall_thresholds} - {threshold})
    for at, limit in [(threshold, limit) for limit in TIMED_S] + [(at, 1.0) for at in others]:
        timely = _numbers((rows.probability >= at) & (size <= limit))
        name = f"recall_{seconds(limit)}_{named(at)}"
        metrics.append(_Metric(phase, name, at, share, labelled, timely))
    metrics += [
        _Metric(phase, f"mae_cond_{t}", threshold, magnitude, detected, size),
        _Metric(phase, f"rmse_cond_{t}", threshold, Kind.ROOT, detected, size**2),
        _Metric(phase, "mae_uncond_w5s", None, magnitude, labelled, size),
        _Metric(phase, "rmse_uncond_w5s", None, Kind.ROOT, labelled, size**2),
    ]
    for limit in OUTLIERS_S:
        far, name = _numbers(size > limit), f"out_gt{seconds(limit)}"
        metrics += [
            _Metric(phase, f"{name}_cond", threshold, share, detected, far),
            _Metric(phase, f"{name}_uncond_w5s", None, share, labelled, far),
        ]
    metrics.append(_Metric(phase, "prob_median", None, Kind.MEAN, labelled, rows.probability))
    return metrics


def _scored(
    metrics: list[_Metric], inside: per_trace.Rows, clusters: Clusters, seed: int, replicates: int
) -> list[dict[str, object]]:
    numerators = np.zeros((len(inside), len(metrics)))
    denominators = np.zeros_like(numerators)
    medians = {}
    for k, metric in enumerate(metrics):
        over, of = metric.over[inside], metric.of[inside]
        if metric.name == "prob_median" and over.any():
            medians[k] = of[over]
            of = _numbers(of <= np.median(of[over]))
        denominators[:, k] = over
        numerators[over, k] = of[over]
    kinds = [metric.kind for metric in metrics]
    found = ratios(numerators, denominators, kinds, clusters, seed=seed, replicates=replicates)

    rows: list[dict[str, object]] = []
    for k, (metric, one) in enumerate(zip(metrics, found, strict=True)):
        estimate = one.estimate
        if k in medians:
            estimate = _median(medians[k], one)
        elif metric.name == "mcc_phase_id":
            estimate = Estimate(*(2 * x - 1 for x in (estimate.value, estimate.low, estimate.high)))
        share = metric.kind is Kind.PROPORTION
        rows.append(
            {
                "phase": metric.phase,
                "metric": metric.name,
                "threshold": metric.threshold,
                "count": int(numerators[:, k].sum()) if share else None,
                "interval_over": clusters.over,
                **one.columns,
                **columns(estimate),
            }
        )
    return rows


def _median(values: Numbers, share_below: Clustered) -> Estimate:
    """Woodruff's interval (1952): the quantiles between which the share below the median varies."""
    middle = float(np.median(values))
    if math.isnan(share_below.error):
        return Estimate(middle, math.nan, math.nan)
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, share_below.freedom)) * share_below.error
    low, high = np.quantile(values, [max(0.0, 0.5 - half), min(1.0, 0.5 + half)])
    return Estimate(middle, float(low), float(high))


def seconds(limit: float) -> str:
    """A limit in a metric's name, `1.0s`, `0.25s`."""
    return f"{float(limit)!r}s"


def _numbers(truths: Truths) -> Numbers:
    return truths.astype(np.float64)


def _count(truths: Truths) -> int:
    return int(np.count_nonzero(truths))
