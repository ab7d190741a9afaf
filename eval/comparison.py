"""Is one candidate better than another? Paired on the same arrivals or station-hours, or refused.

Each candidate is compared with one baseline, measure by measure; recall and timing stand side by
side and no measure alone ranks. Differences have two-way clustered intervals (eval/intervals.py),
their p-values are Holm's over the candidates, and a verdict needs power to be negative:

| verdict | when |
| --- | --- |
| `better`, `worse` | the difference is separated from zero at 5 %, after Holm |
| `not separated` | it is not, and one as large as the margin would have been with 80 % power |
| `inconclusive` | it is not, and the data are too few to see the margin; or under 6 clusters |

The exact McNemar test beside them counts traces as independent: a check, not the verdict.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from catalog.schema import PHASES
from eval import traces as per_trace
from eval.intervals import REPLICATES, Clustered, Clusters, Kind, ratios
from eval.metrics import CONFIDENCE
from eval.thresholds import Thresholds
from eval.traces import Numbers, Truths, few, spoken

POWER = 0.8
MARGINS: Mapping[str, float] = {
    "recall": 0.03,
    "recall_1.0s": 0.03,
    "mae_both_found": 0.02,
    "out_gt1.0s_both_found": 0.01,
}
"""The differences that matter, in shares and seconds; and the measures, in order."""

LESS_IS_BETTER = frozenset({"mae_both_found", "out_gt1.0s_both_found", "false_picks_per_hour"})

SHARES = frozenset({"recall", "recall_1.0s", "out_gt1.0s_both_found"})

FOUND_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("key", pa.string()),  # of the labelled arrival; with the phase unique to a candidate
        ("phase", pa.string()),
        ("event", pa.string()),
        ("station", pa.string()),
        ("found", pa.bool_()),
        ("residual_s", pa.float64()),  # null where not found
    ]
)
"""What became of each labelled arrival: from traces (`found_in`) or continuous days."""

COMPARISON_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("baseline", pa.string()),
        ("phase", pa.string()),
        ("measure", pa.string()),
        ("value", pa.float64()),
        ("baseline_value", pa.float64()),
        ("difference", pa.float64()),  # candidate minus baseline
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),  # arrivals, or rows of hours, behind it
        ("clusters", pa.int64()),
        ("interval_over", pa.string()),
        ("p_holm", pa.float64()),
        ("margin", pa.float64()),
        ("detectable", pa.float64()),  # the least difference seen with 80 % power
        ("clusters_needed", pa.float64()),  # for the margin, at this spread
        ("verdict", pa.string()),
        ("only_candidate", pa.int64()),  # arrivals that it alone found; for recall
        ("only_baseline", pa.int64()),
        ("mcnemar_p", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class _Pair:
    """One measure of both, row by row: each is sum(of) / sum(over)."""

    measure: str
    over: Numbers
    of: Numbers
    baseline_of: Numbers
    only: tuple[int, int] | None = None


def found_in(traces: pa.Table, thresholds: float | Thresholds) -> pa.Table:
    """FOUND_SCHEMA of a per-trace table: every labelled trace that was read.

    The key holds the label's sample in the window: probabilities depend on where a window was cut,
    so that only equal cuts are comparable.
    """
    given = Thresholds.of(thresholds)
    parts = []
    for candidate, own in per_trace.by_candidate(per_trace.conformed(traces)):
        for phase in PHASES:
            rows = per_trace.phase_rows(own, phase)
            labelled = pa.array(rows.labelled)
            found = rows.labelled & (rows.probability >= given.at(candidate, phase))
            label = own[f"{phase.lower()}_in_window"].cast(pa.string()).combine_chunks()
            columns = {
                "candidate": own["weight"],
                "key": pc.binary_join_element_wise(per_trace.keys(own), label, "@"),
                "phase": pa.repeat(phase, own.num_rows),
                "event": own["event_id"],
                "station": own["station"],
                "found": pa.array(found),
                "residual_s": pa.array(rows.residual_s, mask=~found),
            }
            parts.append(pa.table(columns, FOUND_SCHEMA).filter(labelled))
    return pa.concat_tables([FOUND_SCHEMA.empty_table(), *parts])


def compare(
    found: pa.Table,
    baseline: str,
    *,
    seed: int,
    margins: Mapping[str, float] = MARGINS,
    replicates: int = REPLICATES,
) -> pa.Table:
    """Every other candidate against the baseline: COMPARISON_SCHEMA, recall and timing.

    found: FOUND_SCHEMA. Raises ValueError, naming what differs, where a candidate was not given
    the same labelled arrivals as the baseline.
    """
    rows = []
    for candidate, phase, own, base in _sides(found, baseline):
        clusters = Clusters(per_trace.codes(base["event"]), per_trace.codes(base["station"]))
        pairs = _found_pairs(own, base)
        rows += _compared(candidate, baseline, phase, pairs, clusters, margins, seed, replicates)
    return _judged(rows)


def compare_rates(
    counts: pa.Table,
    baseline: str,
    *,
    seed: int,
    margin: float,
    replicates: int = REPLICATES,
) -> pa.Table:
    """False picks per hour against the baseline's, on the same verified noise: COMPARISON_SCHEMA.

    counts: columns `candidate`, `key` (of a stretch of data), `phase`, `station`, `count`,
    `hours`. margin: per hour. Raises ValueError where stretches or hours differ.
    """
    measure = "false_picks_per_hour"
    rows = []
    for candidate, phase, own, base in _sides(counts, baseline):
        hours = base["hours"].cast(pa.float64()).to_numpy()
        if not np.array_equal(hours, own["hours"].cast(pa.float64()).to_numpy()):
            raise ValueError(
                f"counts: 'hours' of {candidate!r} and {baseline!r} differ; give both the same data"
            )
        first, second = (side["count"].cast(pa.float64()).to_numpy() for side in (own, base))
        pair = _Pair(measure, hours, first, second)
        clusters = Clusters(None, per_trace.codes(base["station"]))
        rows += _compared(
            candidate, baseline, phase, [pair], clusters, {measure: margin}, seed, replicates
        )
    return _judged(rows)


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p-value of McNemar's test; 1 where the two never disagree."""
    disagreements = only_first + only_second
    if disagreements == 0:
        return 1.0
    return float(stats.binomtest(only_first, disagreements, 0.5).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values (1979), in the order given; NaN stays NaN and does not count."""
    known = [k for k, p in enumerate(p_values) if not math.isnan(p)]
    adjusted, least = list(p_values), 0.0
    for rank, k in enumerate(sorted(known, key=lambda k: p_values[k])):
        least = max(least, min(1.0, (len(known) - rank) * p_values[k]))
        adjusted[k] = least
    return adjusted


def detectable(error: float, freedom: int, comparisons: int = 1) -> float:
    """The least true difference that is separated with 80 % power, Bonferroni over comparisons."""
    if error == 0:  # no cluster differed: up to this share of them may, at 95 %
        return float(1 - (1 - CONFIDENCE) ** (1 / (freedom + 1)))
    alpha = (1 - CONFIDENCE) / comparisons
    quantiles = stats.t.ppf(1 - alpha / 2, freedom) + stats.t.ppf(POWER, freedom)
    return float(quantiles * error)


def clusters_needed(error: float, clusters: int, margin: float, comparisons: int = 1) -> float:
    """Clusters for 80 % power at the margin, if `clusters` gave this standard error."""
    alpha = (1 - CONFIDENCE) / comparisons
    quantiles = stats.norm.ppf(1 - alpha / 2) + stats.norm.ppf(POWER)
    return float(math.ceil(clusters * (quantiles * error / margin) ** 2))


def _sides(table: pa.Table, baseline: str) -> Iterator[tuple[str, str, pa.Table, pa.Table]]:
    """(candidate, phase, its rows, the baseline's), both in the order of the keys."""
    names = sorted(pc.unique(table["candidate"]).to_pylist())
    if baseline not in names:
        raise ValueError(f"baseline {baseline!r}: there are only {names}")
    for phase in PHASES:
        sides = {
            name: table.filter((pc.field("candidate") == name) & (pc.field("phase") == phase))
            for name in names
        }
        base = sides.pop(baseline).sort_by("key")
        for candidate, own in sides.items():
            own = own.sort_by("key")
            _check_same(candidate, baseline, phase, own["key"], base["key"])
            if own.num_rows:
                yield candidate, phase, own, base


def _check_same(
    candidate: str, baseline: str, phase: str, own: pa.ChunkedArray, base: pa.ChunkedArray
) -> None:
    if own.equals(base):
        return
    first, second = set(own.to_pylist()), set(base.to_pylist())
    differing = [
        f"{len(keys)} only of {name!r} ({few([spoken(key) for key in sorted(keys)])})"
        for name, keys in ((candidate, first - second), (baseline, second - first))
        if keys
    ]
    raise ValueError(
        f"{candidate!r} and {baseline!r} were not judged on the same {phase} rows: "
        f"{'; '.join(differing) or 'some stand there twice'}; compare them on the same ones"
    )


def _found_pairs(own: pa.Table, base: pa.Table) -> list[_Pair]:
    found: list[Truths] = []
    sizes: list[Numbers] = []
    for side in (own, base):
        found.append(side["found"].to_numpy())
        sizes.append(np.abs(side["residual_s"].cast(pa.float64()).to_numpy()))
    every = np.ones(len(found[0]))
    both = (found[0] & found[1]).astype(np.float64)
    only = int((found[0] & ~found[1]).sum()), int((found[1] & ~found[0]).sum())
    timely = [(f & (r <= 1.0)).astype(np.float64) for f, r in zip(found, sizes, strict=True)]
    size: list[Numbers] = [np.where(both > 0, r, 0.0) for r in sizes]
    far: list[Numbers] = [both * (r > 1.0) for r in sizes]
    whole = [f.astype(np.float64) for f in found]
    return [
        _Pair("recall", every, whole[0], whole[1], only),
        _Pair("recall_1.0s", every, timely[0], timely[1]),
        _Pair("mae_both_found", both, size[0], size[1]),
        _Pair("out_gt1.0s_both_found", both, far[0], far[1]),
    ]


def _compared(
    candidate: str,
    baseline: str,
    phase: str,
    pairs: list[_Pair],
    clusters: Clusters,
    margins: Mapping[str, float],
    seed: int,
    replicates: int,
) -> list[dict[str, object]]:
    differences = ratios(
        np.stack([pair.of - pair.baseline_of for pair in pairs], axis=1),
        np.stack([pair.over for pair in pairs], axis=1),
        [Kind.MEAN] * len(pairs),
        clusters,
        seed=seed,
        replicates=replicates,
    )
    rows = []
    for pair, found in zip(pairs, differences, strict=True):
        total = pair.over.sum()
        row: dict[str, object] = {
            "candidate": candidate,
            "baseline": baseline,
            "phase": phase,
            "measure": pair.measure,
            "value": float(pair.of.sum() / total) if total else None,
            "baseline_value": float(pair.baseline_of.sum() / total) if total else None,
            "margin": margins[pair.measure],
            "clusters": found.freedom + 1 if found.rows else 0,
            "interval_over": clusters.over,
            "n": found.rows,
            "found": found,
        }
        if pair.only is not None:
            row |= dict(zip(("only_candidate", "only_baseline"), pair.only, strict=True))
            row["mcnemar_p"] = mcnemar(*pair.only)
        rows.append(row)
    return rows


def _judged(rows: list[dict[str, object]]) -> pa.Table:
    """Holm over the candidates of each phase and measure, then the verdicts."""
    families: dict[tuple[object, object], list[dict[str, object]]] = {}
    for row in rows:
        families.setdefault((row["phase"], row["measure"]), []).append(row)
    for family in families.values():
        differences = [_difference(row) for row in family]
        adjusted = holm([found.p_value for found in differences])
        for row, found, p in zip(family, differences, adjusted, strict=True):
            row |= _verdict(str(row["measure"]), found, p, float(str(row["margin"])), len(family))
    return pa.Table.from_pylist(rows, COMPARISON_SCHEMA)


def _difference(row: dict[str, object]) -> Clustered:
    found = row.pop("found")
    assert isinstance(found, Clustered)
    return found


def _verdict(
    measure: str, found: Clustered, p: float, margin: float, comparisons: int
) -> dict[str, object]:
    estimate = found.estimate
    least = needed = None
    if not math.isnan(found.p_value):
        least = detectable(found.error, found.freedom, comparisons)
        needed = clusters_needed(found.error, found.freedom + 1, margin, comparisons)
    if p < 1 - CONFIDENCE:
        gain = estimate.value < 0 if measure in LESS_IS_BETTER else estimate.value > 0
        verdict = "better" if gain else "worse"
    elif least is not None and least <= margin:
        verdict = "not separated"
    else:
        verdict = "inconclusive"
    ends = ("difference", "low", "high")
    values = (estimate.value, estimate.low, estimate.high)
    if measure in SHARES:  # Student's interval does not know that
        clipped = np.clip(values, -1.0, 1.0)
        values = (estimate.value, float(clipped[1]), float(clipped[2]))
    if found.error == 0:  # all clusters agree: how far others would differ is not known
        values = (estimate.value, math.nan, math.nan)
    return {name: None if math.isnan(v) else v for name, v in zip(ends, values, strict=True)} | {
        "p_holm": None if math.isnan(p) else p,
        "detectable": least,
        "clusters_needed": needed,
        "verdict": verdict,
    }
