"""Thresholds: which one a candidate is judged at, and how it was found.

A pick stands at threshold t where its probability reaches t and its saddle is below t / 2 (see
`catalog.query`), so raising t can also split one pick into two. Counts are therefore exact at each
threshold, and a threshold that meets a count meets it at every higher threshold too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import PHASES, digest
from eval.metrics import Sample

TIMELY_S = 0.5
"""How near its label a peak is a hit, as on continuous days."""

LEAST = 1e-6
"""A threshold is above 0."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A threshold for each candidate and phase. candidate -> phase -> probability."""

    each: Mapping[str, Mapping[str, float]]
    otherwise: float | None = None

    @classmethod
    def of(cls, given: float | Thresholds) -> Thresholds:
        return given if isinstance(given, Thresholds) else cls({}, float(given))

    def at(self, candidate: str, phase: str) -> float:
        """Raises ValueError, naming candidate and phase, where there is none or it is no share."""
        threshold = self.each.get(candidate, {}).get(phase, self.otherwise)
        if threshold is None:
            raise ValueError(f"thresholds: none for candidate {candidate!r}, phase {phase}")
        if not 0.0 < threshold <= 1.0:
            raise ValueError(f"threshold {threshold!r} of {candidate!r}, {phase}: give (0, 1]")
        return threshold


def named(threshold: float) -> str:
    """A threshold in a metric's name: `t0.30`, `t0.275`."""
    return f"t{threshold:.2f}" if round(threshold, 2) == threshold else f"t{threshold:g}"


def picks_at(picks: pa.Table, thresholds: float | Thresholds) -> pa.Table:
    """The picks that stand at each candidate's thresholds, by the rule of the catalogue's views."""
    given = Thresholds.of(thresholds)
    stand = np.zeros(picks.num_rows, bool)
    probability, saddle = (picks[name].to_numpy() for name in ("probability", "saddle"))
    candidates, phases = (
        picks[name].cast(pa.string()).to_numpy() for name in ("candidate", "phase")
    )
    for candidate in np.unique(candidates):
        for phase in PHASES:
            own = (candidates == candidate) & (phases == phase)
            if own.any():
                t = given.at(str(candidate), phase)
                reaches = probability >= np.asarray(t, probability.dtype)
                stand |= own & reaches & (saddle < np.asarray(t / 2, saddle.dtype))
    return picks.filter(pa.array(stand))


def counts_at(probability: Sample, thresholds: Sample, saddle: Sample | None = None) -> Sample:
    """How many picks stand at each threshold. probability, saddle: [picks]; returns [thresholds].

    saddle: None where a pick stands at every threshold up to its probability, as the peak of a
    labelled window does.
    """
    top, bottom = _lifetimes(probability, saddle)
    reaching = len(top) - np.searchsorted(np.sort(top), thresholds, side="left")
    merged = len(bottom) - np.searchsorted(np.sort(bottom), thresholds, side="left")
    return np.asarray(reaching - merged, np.float64)


def threshold_for_count(
    probability: Sample, count: int, saddle: Sample | None = None, floor: float = 0.0
) -> float:
    """The lowest threshold from the floor on from which at most `count` picks stand.

    It is the floor where that does, and else midway between the values that bound its count, so
    that no rounding tips a pick over. floor: what the picks were stored from. Raises ValueError
    where even 1 leaves more picks.
    """
    top, bottom = _lifetimes(probability, saddle)
    edges = np.unique(np.clip(np.concatenate([top, bottom, [floor, 1.0]]), floor, 1.0))
    middles = (edges[:-1] + edges[1:]) / 2
    within = counts_at(probability, middles, saddle) <= count
    if counts_at(probability, np.array([1.0]), saddle)[0] > count:
        raise ValueError(
            f"threshold: more than {count} picks have probability 1; no threshold does"
        )
    if floor > 0 and within.all() and counts_at(probability, np.array([floor]), saddle)[0] <= count:
        return floor
    from_here = np.logical_and.accumulate(within[::-1])[::-1]
    return float(middles[np.argmax(from_here)])


def threshold_for_rate(
    probability: Sample,
    hours: float,
    target_per_hour: float,
    saddle: Sample | None = None,
    floor: float = 0.0,
) -> float:
    """The lowest threshold from which on at most `target_per_hour` picks an hour stand.

    probability: of all picks on `hours` of verified noise.
    """
    if not (hours > 0 and target_per_hour >= 0):
        raise ValueError(f"rate {target_per_hour!r} over {hours!r} hours: give positive numbers")
    allowed = int(np.floor(target_per_hour * hours + 1e-9))
    return threshold_for_count(probability, allowed, saddle, floor)


def equal_counts(
    picks: pa.Table,
    count: Mapping[str, int],
    floors: Mapping[str, Mapping[str, float]] | None = None,
) -> Thresholds:
    """Thresholds at which every candidate emits as many picks of a phase.

    picks: `candidate`, `phase`, `probability` and, of continuous days, `saddle`; of labelled
    windows `eval.traces.peaks`. count: phase -> picks. floors: candidate -> phase -> what its picks
    were stored from. Equal probabilities, or a floor, may leave a candidate with fewer.
    """
    each: dict[str, dict[str, float]] = {}
    for candidate in sorted(pc.unique(picks["candidate"].cast(pa.string())).to_pylist()):
        own = picks.filter(pc.field("candidate") == candidate)
        each[candidate] = {}
        for phase, wanted in count.items():
            of_phase = own.filter(pc.field("phase") == phase)
            saddle = of_phase["saddle"].to_numpy() if "saddle" in own.column_names else None
            each[candidate][phase] = threshold_for_count(
                of_phase["probability"].to_numpy(),
                wanted,
                saddle,
                floors[candidate][phase] if floors else 0.0,
            )
    return Thresholds(each)


def f1_optimal(positive: Sample, negative: Sample, sought: int | None = None) -> float:
    """The threshold of the best F1 of a detector, inclusive; the highest such one.

    positive, negative: scores [n] of examples with and without what is to be detected. sought: how
    many there were to be detected, where that is more than the positive examples.
    """
    if len(positive) == 0:
        raise ValueError("f1_optimal: no positive examples; F1 is not defined")
    sought = len(positive) if sought is None else sought
    thresholds = np.unique(positive)
    hits, alarms = (counts_at(scores, thresholds) for scores in (positive, negative))
    f1 = 2 * hits / (hits + alarms + sought)
    return float(thresholds[len(f1) - 1 - np.argmax(f1[::-1])])


def f1_timed(peaks: pa.Table, otherwise: float) -> Thresholds:
    """Each candidate's and phase's threshold of the best F1 on labelled windows.

    peaks: `eval.traces.peaks`. A peak within TIMELY_S of its label is a hit, one further off is
    an extra pick, and what has no peak in time is missed. No window is without an arrival, so the
    threshold says nothing of picks on noise. A candidate without any peak in time gets 1;
    otherwise: for a phase that nobody labelled.
    """
    each: dict[str, dict[str, float]] = {}
    for candidate in sorted(pc.unique(peaks["candidate"].cast(pa.string())).to_pylist()):
        each[candidate] = {}
        for phase in PHASES:
            own = peaks.filter((pc.field("candidate") == candidate) & (pc.field("phase") == phase))
            score = own["probability"].to_numpy()
            timely = np.abs(own["residual_s"].to_numpy()) <= TIMELY_S
            if timely.any():
                best = f1_optimal(score[timely], score[~timely], len(score))
            else:
                best = 1.0 if len(score) else otherwise
            each[candidate][phase] = max(best, LEAST)
    return Thresholds(each)


@dataclass(frozen=True, slots=True)
class Frozen:
    """Thresholds with how they came to be; part of every report that uses them.

    rule: what they meet, in words ("1 false P an hour"). split: the events they were solved on,
    never the test split. rows, rows_digest: of the arrivals or hours that they were solved on.
    weights: candidate -> sha256 of the weights that they are of; empty where that is not known.
    """

    thresholds: Thresholds
    rule: str
    split: str
    rows: int
    rows_digest: str
    weights: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.split == "test":
            raise ValueError("thresholds: solved on the test split; solve them on tuning")

    @classmethod
    def solved(
        cls,
        thresholds: Thresholds,
        rule: str,
        split: str,
        keys: Sequence[str],
        weights: Mapping[str, str] | None = None,
    ) -> Frozen:
        """keys: names of the rows the thresholds were solved on, in any order."""
        return cls(thresholds, rule, split, len(keys), digest(sorted(keys)), dict(weights or {}))

    def to_json(self) -> str:
        """Text from which `from_json` gives an equal record, to the last bit."""
        each = {name: dict(phases) for name, phases in sorted(self.thresholds.each.items())}
        fields: dict[str, Any] = {
            "thresholds": each,
            "rule": self.rule,
            "split": self.split,
            "rows": self.rows,
            "rows_digest": self.rows_digest,
            "weights": dict(self.weights),
        }
        return json.dumps(fields, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Frozen:
        """Raises ValueError where the text is no such record."""
        fields = json.loads(text)
        known = {"thresholds", "rule", "split", "rows", "rows_digest"}
        if not isinstance(fields, dict) or not known <= set(fields) <= known | {"weights"}:
            raise ValueError(f"not frozen thresholds: it needs {sorted(known)}")
        each = fields.pop("thresholds")
        for candidate, phases in each.items():
            if strange := set(phases) - set(PHASES):
                raise ValueError(f"thresholds of {candidate!r}: unknown phases {sorted(strange)}")
        return cls(Thresholds(each), **fields)


def _lifetimes(probability: Sample, saddle: Sample | None) -> tuple[Sample, Sample]:
    """A pick stands at the thresholds of (bottom, top]; those that never stand are left out."""
    top = np.asarray(probability, np.float64)
    # It stands where saddle < t / 2, the same as 2 saddle < t.
    bottom = np.zeros(len(top)) if saddle is None else 2.0 * np.asarray(saddle, np.float64)
    stands = bottom < top
    return top[stands], np.maximum(bottom[stands], 0.0)
