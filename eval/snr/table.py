"""The signal-to-noise table: for each bin and measure, does it tell the candidates apart?

Noise is of three kinds, each in the measure's unit at the candidates' mean: `checkpoints` (the last
ones of a training), `seeds` (trainings that differ by chance alone, three or more), `sampling`
(other events and stations might have been recorded). A verdict:

| verdict | when |
| --- | --- |
| `separates` | best and worst differ by sampling, and by more than retraining can |
| `too small` | not by sampling; the gap exceeds the margin, or that takes more traces to see |
| `inconclusive` | more would not help: alike within the margin, or apart by retraining at most |

More than retraining can: the gap exceeds the 95 % point of the range of as many equal models
(studentised range) for every kind of retraining noise that is known. Without any, a verdict is of
sampling alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from scipy import stats

from catalog.schema import PHASES
from eval.comparison import clusters_needed
from eval.intervals import REPLICATES
from eval.metrics import CONFIDENCE
from eval.snr.decisions import decision
from eval.snr.measures import Labelled, labelled
from eval.snr.ratio import degenerate, ratio, relative_noise, relative_signal
from eval.snr.scores import Measure, Scores, scored
from eval.strata import ALL
from eval.thresholds import Thresholds

LEAST_SEEDS = 3
KINDS = ("checkpoints", "seeds", "sampling")
UNKNOWN = {
    "checkpoints": "no family of checkpoints",
    "seeds": "no family of three seeds or more",
    "sampling": "a single cluster",
}
"""Why the noise of a kind is not known."""

SNR_SCHEMA = pa.schema(
    [
        ("stratum", pa.string()),
        ("bin", pa.string()),
        ("phase", pa.string()),
        ("measure", pa.string()),
        ("less_is_better", pa.bool_()),
        ("traces", pa.int64()),  # that count for some candidate
        ("clusters", pa.int64()),  # the fewer of the events and the stations behind them
        ("interval_over", pa.string()),  # eval.intervals.Clusters.over
        ("candidates", pa.int64()),
        ("best", pa.string()),  # null: all score the same
        ("worst", pa.string()),
        ("gap", pa.float64()),  # between them, >= 0
        *((f"noise_{kind}", pa.float64()) for kind in KINDS),  # null: not known
        *((f"snr_{kind}", pa.float64()) for kind in KINDS),  # null: undefined, see `undefined`
        ("undefined", pa.string()),  # why
        ("pairs_separated", pa.float64()),  # share, by sampling, Holm over the pairs
        ("decision_accuracy", pa.float64()),  # against held-out continuous days; null without any
        ("decision_low", pa.float64()),
        ("decision_high", pa.float64()),
        ("traces_needed", pa.float64()),  # to see the margin between two, with 80 % power
        ("verdict", pa.string()),
        ("excluded", pa.string()),  # degenerate candidates, joined by commas
    ]
)


@dataclass(frozen=True, slots=True)
class Families:
    """Models that ought to score alike. Each family is a name and its members.

    checkpoints: of one training, the last ones in order. seeds: trainings that differ by chance
    alone; three or more.
    """

    checkpoints: Mapping[str, Sequence[str]] = field(default_factory=dict)
    seeds: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for kind, least in (("checkpoints", 2), ("seeds", LEAST_SEEDS)):
            for name, members in getattr(self, kind).items():
                if len(set(members)) < least or len(set(members)) < len(members):
                    raise ValueError(f"{kind} {name!r}: give {least} or more different models")

    def of(self, kind: str) -> list[Sequence[str]]:
        families: Mapping[str, Sequence[str]] = getattr(self, kind)
        return list(families.values())

    @property
    def members(self) -> list[str]:
        return sorted({n for kind in KINDS[:2] for family in self.of(kind) for n in family})


def table(
    traces: pa.Table,
    candidates: Sequence[str],
    thresholds: float | Thresholds,
    strata: Sequence[str] = (ALL,),
    *,
    families: Families | None = None,
    days: Mapping[str, Scores] | None = None,
    leave_out: Sequence[str] = (),
    seed: int,
    replicates: int = REPLICATES,
) -> pa.Table:
    """Every bin and measure of a labelled benchmark: SNR_SCHEMA.

    traces: TRACE_SCHEMA, of the candidates and all members of families, on the same traces.
    candidates: whose differences are the signal; a family of checkpoints or seeds is one candidate
    at most. thresholds: of equal false picks per hour. days: phase -> scores on held-out continuous
    days. leave_out: candidates known to be degenerate, in addition to those that are found to be
    (`eval.snr.ratio.degenerate`, by recall and timing over all traces).
    """
    families = families or Families()
    rows: list[dict[str, object]] = []
    for phase in PHASES:
        names = list(dict.fromkeys([*candidates, *families.members]))
        every = labelled(traces, phase, names, strata)
        if not every.keys:
            continue
        kept, out = usable(every.of(candidates), thresholds, leave_out)
        if len(kept) < 2:
            raise ValueError(
                f"candidates: {out} are degenerate, which leaves {kept}; a signal needs two"
            )
        together = every.of(list(dict.fromkeys([*kept, *families.members])))
        target = (days or {}).get(phase)
        measures = together.measures(thresholds)
        for stratum in strata:
            bins = together.bins[stratum]
            for name in sorted(set(bins)):
                inside = [measure.take(bins == name) for measure in measures]
                where = {"stratum": stratum, "bin": name, "excluded": ", ".join(out)}
                found = judged(inside, kept, families, target, seed=seed, replicates=replicates)
                rows += [where | row for row in found]
    return pa.Table.from_pylist(rows, SNR_SCHEMA)


def usable(
    every: Labelled, thresholds: float | Thresholds, leave_out: Sequence[str] = ()
) -> tuple[list[str], list[str]]:
    """(candidates that are a signal, those that are degenerate or to be left out)."""
    out = set(leave_out)
    for measure in (every.measures(thresholds)[0], every.own_timing(thresholds)):
        scores = dict(zip(every.candidates, measure.values.tolist(), strict=True))
        # A candidate that found nothing has no timing: it is as bad as can be.
        out |= {name for name, value in scores.items() if math.isnan(value)}
        known = {name: value for name, value in scores.items() if not math.isnan(value)}
        out |= set(degenerate(known, less_is_better=measure.less_is_better))
    return [name for name in every.candidates if name not in out], sorted(out)


def judged(
    measures: Sequence[Measure],
    candidates: Sequence[str],
    families: Families,
    days: Scores | None,
    *,
    seed: int,
    replicates: int = REPLICATES,
) -> list[dict[str, object]]:
    """A row of SNR_SCHEMA for each measure, without its bin. All are of the same rows."""
    return [
        _row(measure, scores.of(candidates), scores, families, days, seed)
        for measure, scores in zip(
            measures, scored(measures, seed=seed, replicates=replicates), strict=True
        )
    ]


def _row(
    measure: Measure,
    own: Scores,
    every: Scores,
    families: Families,
    days: Scores | None,
    seed: int,
) -> dict[str, object]:
    row: dict[str, object] = {
        "phase": measure.phase,
        "measure": measure.name,
        "less_is_better": measure.less_is_better,
        "traces": measure.rows,
        "clusters": max(own.freedom + 1, 0),
        "interval_over": measure.clusters.over,
        "candidates": len(own.candidates),
    }
    if np.isnan(every.values).any():
        return row | {"undefined": "a model has no score here", "verdict": "too small"}
    gains = own.gains
    gap = float(np.ptp(gains))
    best, worst = (own.candidates[int(at)] for at in (gains.argmax(), gains.argmin()))
    mean = abs(float(own.values.mean()))
    why = []
    noises = _noises(own, every, families)
    for kind, noise in noises.items():
        signal_to = ratio(relative_signal(own.values), noise)
        row[f"noise_{kind}"] = None if math.isnan(noise) else noise * mean
        row[f"snr_{kind}"] = signal_to
        if signal_to is None:
            why.append(f"{kind}: {UNKNOWN[kind] if math.isnan(noise) else 'no noise'}")
    separated = own.separated()
    row |= {
        "best": best if gap > 0 else None,
        "worst": worst if gap > 0 else None,
        "gap": gap,
        "undefined": "; ".join(why),
        "pairs_separated": float(np.mean(list(separated.values()))),
    }
    if days is not None:
        accuracy = decision(own, days, seed=seed)
        ends = (accuracy.value, accuracy.low, accuracy.high)
        for name, end in zip(("accuracy", "low", "high"), ends, strict=True):
            row[f"decision_{name}"] = None if math.isnan(end) else end
    needed = _traces_needed(measure, own)
    apart = separated.get((best, worst), False) or separated.get((worst, best), False)
    retraining = all(
        gap > _range_of_equals(len(own.candidates), families.of(kind)) * noises[kind] * mean
        for kind in KINDS[:2]
        if families.of(kind)
    )
    if apart:
        verdict = "separates" if retraining else "inconclusive"
    elif math.isnan(needed) or needed > measure.rows or gap > measure.margin:
        verdict = "too small"
    else:
        verdict = "inconclusive"
    return row | {
        "traces_needed": None if math.isnan(needed) else needed,
        "verdict": verdict,
    }


def _noises(own: Scores, every: Scores, families: Families) -> dict[str, float]:
    """Relative noise of each kind; NaN where it is not known."""
    noises = {}
    for kind in KINDS[:2]:
        noises[kind] = relative_noise([every.of(each).values for each in families.of(kind)])
    error = math.sqrt(max(float(np.diag(own.covariance).mean()), 0.0))
    mean = abs(float(own.values.mean()))
    known = own.freedom > 0 and mean > 0
    return noises | {"sampling": error / mean if known else math.nan}


def _range_of_equals(candidates: int, families: Sequence[Sequence[str]]) -> float:
    """The gap, in deviations (ddof 0), that as many equal models exceed once in twenty times."""
    sizes = np.array([len(family) for family in families])
    unbiased = math.sqrt(float(np.mean(sizes / (sizes - 1))))
    freedom = int((sizes - 1).sum())
    return unbiased * float(stats.studentized_range.ppf(CONFIDENCE, candidates, freedom))


def _traces_needed(measure: Measure, own: Scores) -> float:
    """Traces for 80 % power at the margin, of two candidates as alike as these are."""
    errors = [difference.error for difference in own.pairs().values()]
    square = float(np.mean(np.square(errors)))
    if math.isnan(square) or square == 0:
        return math.nan
    clusters = own.freedom + 1
    needed = clusters_needed(math.sqrt(square), clusters, measure.margin)
    return math.ceil(needed * measure.rows / clusters)
