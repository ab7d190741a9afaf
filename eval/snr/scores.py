"""Scores of several candidates on the same rows, with the covariance that sampling gives them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
import numpy.typing as npt

from eval.comparison import holm
from eval.intervals import (
    REPLICATES,
    Clustered,
    Clusters,
    cluster_sums,
    joint,
    resampled,
)
from eval.metrics import CONFIDENCE, Estimate, Sample

Rows = npt.NDArray[np.bool_] | npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Scores:
    """One figure of each candidate [k]. covariance: [k, k], NaN where unknown; freedom: of it."""

    candidates: tuple[str, ...]
    values: Sample
    covariance: Sample
    freedom: int
    less_is_better: bool

    @property
    def gains(self) -> Sample:
        """The scores [k], so turned that more is better."""
        return -self.values if self.less_is_better else self.values

    @property
    def known(self) -> bool:
        """Whether it is known what sampling does to them."""
        return self.freedom > 0 and not np.isnan(self.covariance).any()

    def of(self, candidates: Sequence[str]) -> Scores:
        """The same of some candidates, in this order. Raises ValueError for one without a score."""
        if lacking := set(candidates) - set(self.candidates):
            raise ValueError(f"scores: none of {sorted(lacking)}; there are {self.candidates}")
        at = [self.candidates.index(name) for name in candidates]
        return replace(
            self,
            candidates=tuple(candidates),
            values=self.values[at],
            covariance=self.covariance[np.ix_(at, at)],
        )

    def pairs(self) -> dict[tuple[str, str], Clustered]:
        """Difference of every two candidates, first minus second, with its standard error."""
        found = {}
        c = self.covariance
        for i, j in combinations(range(len(self.candidates)), 2):
            value = float(self.values[i] - self.values[j])
            variance = float(c[i, i] + c[j, j] - 2 * c[i, j])
            error = math.sqrt(max(variance, 0.0)) if self.freedom > 0 else math.nan
            difference = Clustered(Estimate(value, math.nan, math.nan), error, self.freedom, 0)
            found[self.candidates[i], self.candidates[j]] = difference
        return found

    def separated(self) -> dict[tuple[str, str], bool]:
        """Whether each pair differs at 5 %, Holm over the pairs."""
        pairs = self.pairs()
        adjusted = holm([difference.p_value for difference in pairs.values()])
        return {pair: p < 1 - CONFIDENCE for pair, p in zip(pairs, adjusted, strict=True)}

    def drawn(self, draws: int, generator: np.random.Generator) -> Sample:
        """Scores [draws, k] as sampling may have given them, more is better.

        Student's t of the covariance's freedom: a few clusters tell little of their own spread.
        """
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        shifts = generator.normal(size=(draws, len(values))) @ root.T
        wider = np.sqrt(self.freedom / generator.chisquare(self.freedom, size=(draws, 1)))
        return np.asarray(self.gains + wider * shifts, np.float64)


@dataclass(frozen=True, slots=True)
class Measure:
    """One figure of every candidate, row by row: sum(of) / sum(over) of each column.

    of, over: float64 [rows, k]; a row with `over` 0 does not count. margin: the difference that
    matters, in the figure's unit.
    """

    name: str
    phase: str
    candidates: tuple[str, ...]
    of: Sample
    over: Sample
    clusters: Clusters
    less_is_better: bool
    margin: float

    def take(self, rows: Rows) -> Measure:
        """The same over some of the rows."""
        clusters = self.clusters.take(rows)
        return replace(self, of=self.of[rows], over=self.over[rows], clusters=clusters)

    def among(self, candidates: Sequence[str]) -> Measure:
        """The same of some candidates, in this order."""
        at = [self.candidates.index(name) for name in candidates]
        return replace(self, candidates=tuple(candidates), of=self.of[:, at], over=self.over[:, at])

    @property
    def rows(self) -> int:
        """Rows that count for at least one candidate."""
        return int((self.over != 0).any(axis=1).sum())

    @property
    def values(self) -> Sample:
        """[k]; NaN where no row counts."""
        return _divided(self.of.sum(axis=0), self.over.sum(axis=0))

    def scores(self, *, seed: int, replicates: int = REPLICATES) -> Scores:
        """The figures, with their covariance by the clustered bootstrap."""
        [found] = scored([self], seed=seed, replicates=replicates)
        return found


def scored(measures: Sequence[Measure], *, seed: int, replicates: int = REPLICATES) -> list[Scores]:
    """Scores of measures over the same rows and clusters; they share their replicates."""
    of, over = (
        np.concatenate([getattr(m, side) for m in measures], axis=1) for side in ("of", "over")
    )
    clusters, k = measures[0].clusters, of.shape[1]
    both = np.concatenate([of, over], axis=1)
    values = _divided(of.sum(axis=0), over.sum(axis=0))
    terms: list[tuple[int, Sample]] = []
    holding = []
    for level, (sign, codes) in enumerate(clusters.levels(len(both))):
        sums = cluster_sums(both, codes)
        count = max(len(sums) - 1, 1)
        if len(sums) == len(both):  # single rows: what resampling them tends to
            own = _influence(sums, values)
        else:
            totals = resampled(sums, replicates, np.random.default_rng([seed, level]))
            own = _covariance(_divided(totals[:, :k], totals[:, k:]))
        terms.append((sign, own * len(sums) / count))
        if sign > 0:
            counted = cluster_sums((over != 0).astype(np.float64), codes) > 0
            holding.append(counted.sum(axis=0))
    fewest = np.min(holding, axis=0)
    found, start = [], 0
    for measure in measures:
        part = slice(start, start := start + len(measure.candidates))
        covariance = joint([(sign, own[part, part]) for sign, own in terms])
        freedom = int(fewest[part].min()) - 1
        found.append(
            Scores(measure.candidates, values[part], covariance, freedom, measure.less_is_better)
        )
    return found


def _covariance(drawn: Sample) -> Sample:
    """[k, k] of the replicates in which both figures are defined; NaN where a tenth are not."""
    defined = ~np.isnan(drawn)
    middle = np.where(defined, drawn, 0.0).sum(axis=0) / np.maximum(defined.sum(axis=0), 1)
    apart = np.where(defined, drawn - middle, 0.0)
    both = (defined.T.astype(np.float64)) @ defined
    covariance = apart.T @ apart / np.maximum(both - 1, 1)
    return np.where(both > 0.9 * len(drawn), covariance, np.nan)


def _influence(rows: Sample, values: Sample) -> Sample:
    """Covariance [k, k] of ratios of sums over independent rows, linearised."""
    k = len(values)
    below = rows[:, k:].sum(axis=0)
    each = _divided(rows[:, :k] - np.nan_to_num(values) * rows[:, k:], below)
    return np.asarray(each.T @ each, np.float64)


def _divided(above: Sample, below: Sample) -> Sample:
    below = np.broadcast_to(below, above.shape)
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)
