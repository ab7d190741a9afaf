"""Intervals that know which rows err together: bootstrap over events, over stations, over both.

One event is seen by many stations and one station sees many events, so rows are not independent.
Every figure here is a ratio of two sums over rows, so a replicate needs only each cluster's two
sums and how often the cluster was drawn: one matrix product makes all figures of all replicates.

The two-way variance is V = V_event + V_station - V_pair (Cameron, Gelbach and Miller 2011), each
from its own bootstrap, B >= 2000; pairs are many, and V_pair is what a bootstrap tends to. Each is
enlarged by G / (G - 1), and intervals use Student's t with one degree of freedom less than the
fewer of the two clusters (Cameron and Miller 2015, J. Hum. Resour. 50, 317). Sums over few clusters
are skewed, so the form of an interval is that of the figure:

- proportions: Wilson's (1927) with the effective number of rows, p (1 - p) / V, so that none leaves
  [0, 1] or shrinks to nothing at 0 and 1;
- rates, means of sizes, roots of mean squares: Student's for the logarithm (Meeker, Hahn and
  Escobar 2017, Statistical Intervals), so that the upper end is the farther one. Sizes need 8
  clusters: a few residuals of seconds make most of a mean, and fewer clusters miss them;
- other means, such as differences: Student's.

`python -m tests.eval.coverage` measures how often each holds the truth (docs/evaluation.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt
from scipy import stats

from eval.metrics import CONFIDENCE, Estimate, Sample, rate_per_hour, wilson

REPLICATES = 2000
FEWEST_OF_SIZES = 8
"""Clusters that the interval of a mean of sizes, or of its root, needs to cover as stated."""
FEWEST_TO_TELL = 6
"""Clusters that a p-value needs. Even if all agreed, a sign test over fewer is above 5 %; Student's
would say more of two that happen to be alike, by resting on their being normal."""

_TAIL = (1 - CONFIDENCE) / 2
_BLOCK = 4_000_000  # weights in memory at a time

Codes = npt.NDArray[np.int64]


class Kind(Enum):
    """What a ratio of sums is, and so the form of its interval."""

    PROPORTION = "proportion"  # of rows: Wilson's interval
    MEAN = "mean"  # of any numbers: Student's interval
    MAGNITUDE = "magnitude"  # mean of numbers that are never negative: Student's for the logarithm
    RATE = "rate"  # counts an hour, which differ by factors: likewise
    ROOT = "root"  # root of a mean of squares: likewise


@dataclass(frozen=True, slots=True)
class Clusters:
    """Which rows err together.

    event, station: integer codes [rows], from 0; None where the rows have none. A row that shares
    its code with no other is a cluster of its own. A row of event -1 belongs to no event, as a pick
    that no arrival explains: it stays as it is while events are drawn.
    """

    event: Codes | None
    station: Codes | None

    @property
    def over(self) -> str:
        """What intervals are over: `event+station`, `event`, `station`, or `row` (independent)."""
        named = (("event", self.event), ("station", self.station))
        return "+".join(name for name, codes in named if codes is not None) or "row"

    def take(self, rows: npt.NDArray[np.bool_] | npt.NDArray[np.intp]) -> Clusters:
        return Clusters(
            None if self.event is None else self.event[rows],
            None if self.station is None else self.station[rows],
        )

    def levels(self, rows: int) -> list[tuple[int, Codes]]:
        """(sign, codes from 0, or -1) of each term of the variance."""
        if self.event is not None and self.station is not None:
            event, station = _dense(self.event), _dense(self.station)
            pair = np.where(event < 0, -1, event * (int(station.max(initial=0)) + 1) + station)
            return [(1, event), (1, station), (-1, _dense(pair))]
        one = self.event if self.event is not None else self.station
        return [(1, np.arange(rows) if one is None else _dense(one))]


@dataclass(frozen=True, slots=True)
class Clustered:
    """An estimate, its standard error over clusters, degrees of freedom, and rows counted."""

    estimate: Estimate
    error: float
    freedom: int
    rows: int

    @property
    def p_value(self) -> float:
        """Two-sided, of the value being zero; NaN where the error is not known, or where clusters
        are fewer than FEWEST_TO_TELL.

        Where all clusters gave the same value the error is 0 and the p-value is the sign test's.
        """
        if math.isnan(self.error) or self.freedom + 1 < FEWEST_TO_TELL:
            return math.nan
        if self.error == 0:
            return float(0.5**self.freedom) if self.estimate.value else 1.0
        return float(2 * stats.t.sf(abs(self.estimate.value) / self.error, self.freedom))

    @property
    def columns(self) -> dict[str, float | int | None]:
        """The columns `value`, `low`, `high`, `n` and `clusters` of a table; null for NaN."""
        return columns(self.estimate) | {
            "n": self.rows,
            "clusters": self.freedom + 1 if self.rows else 0,
        }


def columns(estimate: Estimate) -> dict[str, float | int | None]:
    """The columns `value`, `low` and `high` of a table; null for NaN."""
    ends = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: None if math.isnan(end) else end for name, end in ends.items()}


UNDEFINED = Clustered(Estimate(math.nan, math.nan, math.nan), math.nan, 0, 0)


def ratios(
    numerators: Sample,
    denominators: Sample,
    kinds: list[Kind],
    clusters: Clusters,
    *,
    seed: int,
    replicates: int = REPLICATES,
) -> list[Clustered]:
    """Sum of numerators over sum of denominators, column by column, with clustered intervals.

    numerators, denominators: float64 [rows, k]. A row with denominator 0 does not count in that
    column. kinds: [k]. The columns share their replicates. A column without rows is UNDEFINED; one
    whose rows all lie in one cluster, or sizes in fewer than FEWEST_OF_SIZES, has a value and no
    interval.
    """
    if replicates < REPLICATES:
        raise ValueError(f"replicates {replicates}: give at least {REPLICATES}")
    numerators = np.asarray(numerators, np.float64)
    denominators = np.asarray(denominators, np.float64)
    columns = numerators.shape[1]
    counted = (denominators != 0).astype(np.float64)
    both = np.concatenate([numerators, denominators], axis=1)
    values = _divided(both.sum(axis=0))

    variance, widest = np.zeros((2, columns))
    fewest = np.full(columns, len(both))
    for level, (sign, codes) in enumerate(clusters.levels(len(both))):
        drawn = codes >= 0
        if not drawn.any():
            continue
        sums = cluster_sums(both[drawn], codes[drawn])
        if sign < 0 or clusters.over == "row":
            own = _linearised(sums, both.sum(axis=0))
        else:
            totals = resampled(sums, replicates, np.random.default_rng([seed, level]))
            own = _variance(_divided(totals + both[~drawn].sum(axis=0)))
        holding = (cluster_sums(counted[drawn], codes[drawn]) > 0).sum(axis=0)
        own *= holding / np.maximum(holding - 1, 1)
        variance += sign * own
        if sign > 0:
            widest = np.fmax(widest, own)
            # Rows of no event at all are not limited by the number of events.
            only_still = (holding == 0) & (counted[~drawn].sum(axis=0) > 0)
            fewest = np.where(only_still, fewest, np.minimum(fewest, holding))
    # The difference of two estimated variances can be negative; then the wider one stands. Where
    # it is next to nothing, the interval is at least half as wide as by that one.
    variance = np.where(variance > 0, np.fmax(variance, widest / 4), widest)
    moments = zip(kinds, values, variance, fewest, counted.sum(axis=0), strict=True)
    return [
        _interval(kind, float(value), float(v), int(few), int(rows))
        for kind, value, v, few, rows in moments
    ]


def figure(
    columns: Sample,
    of: Callable[[Sample], Sample],
    kind: Kind,
    clusters: Clusters,
    *,
    seed: int,
    replicates: int = REPLICATES,
) -> Clustered:
    """Any figure that depends on sums over rows alone, such as a correlation of counts.

    columns: float64 [rows, k]. of: sums [..., k] to figures [...], NaN where undefined. kind: MEAN
    or PROPORTION.
    """
    value = float(of(columns.sum(axis=0)))
    variance, widest, fewest = 0.0, 0.0, len(columns)
    for level, (sign, codes) in enumerate(clusters.levels(len(columns))):
        drawn = codes >= 0
        if not drawn.any():
            continue
        sums = cluster_sums(columns[drawn], codes[drawn])
        totals = resampled(sums, replicates, np.random.default_rng([seed, level]))
        figures = of(totals + columns[~drawn].sum(axis=0))
        own = float(_variance(figures[:, None])[0]) * len(sums) / max(len(sums) - 1, 1)
        variance += sign * own
        if sign > 0:
            widest, fewest = max(widest, own), min(fewest, len(sums))
    rows = 0 if math.isnan(value) else len(columns)
    variance = max(variance, widest / 4) if variance > 0 else widest
    return _interval(kind, value, variance, fewest, rows)


def joint(levels: list[tuple[int, Sample]]) -> Sample:
    """One covariance [k, k] of the terms (sign, covariance) of `Clusters.levels`.

    A difference of covariances need not be one; then the widest of the positive terms stands.
    """
    total = np.zeros_like(levels[0][1])
    for sign, own in levels:
        total = total + sign * own
    if np.isnan(total).any():
        return np.full_like(total, np.nan)
    if np.linalg.eigvalsh(total).min() > -1e-9 * np.abs(total).max():
        return total
    return max((own for sign, own in levels if sign > 0), key=np.trace)


def cluster_sums(values: Sample, codes: Codes) -> Sample:
    """Sums [clusters, k] of the rows [rows, k] of each cluster; codes count from 0."""
    clusters = int(codes.max(initial=-1)) + 1
    if clusters == len(codes):
        sums = np.empty_like(values)
        sums[codes] = values
        return sums
    columns = [np.bincount(codes, column, minlength=clusters) for column in values.T]
    return np.stack(columns, axis=1)


def resampled(sums: Sample, replicates: int, generator: np.random.Generator) -> Sample:
    """Totals [replicates, k] of as many clusters as there are, drawn with replacement."""
    clusters = len(sums)
    block = max(1, _BLOCK // max(clusters, 1))
    totals = []
    for start in range(0, replicates, block):
        size = min(block, replicates - start)
        drawn = generator.integers(clusters, size=(size, clusters), dtype=np.int64)
        drawn += np.arange(size)[:, None] * clusters
        times = np.bincount(drawn.ravel(), minlength=size * clusters).reshape(size, clusters)
        totals.append(times.astype(np.float64) @ sums)
    return np.concatenate(totals)


def rate(
    counts: Sample, hours: Sample, clusters: Clusters, *, seed: int, replicates: int = REPLICATES
) -> tuple[Estimate, Clustered]:
    """Events per hour: Garwood's interval (independent events), and the clustered one.

    counts, hours: float64 [rows], one row a stretch of data, such as a station's hours. Without
    any event the clustered interval is Garwood's: there is nothing to resample.
    """
    garwood = rate_per_hour(int(counts.sum()), float(hours.sum()))
    [clustered] = ratios(
        counts[:, None],
        hours[:, None],
        [Kind.RATE],
        clusters,
        seed=seed,
        replicates=replicates,
    )
    if not counts.any():
        clustered = Clustered(garwood, math.nan, clustered.freedom, clustered.rows)
    return garwood, clustered


def _dense(codes: Codes) -> Codes:
    """The codes from 0 without a hole; -1 stays."""
    dense = np.full(len(codes), -1, np.int64)
    given = codes >= 0
    dense[given] = np.unique(codes[given], return_inverse=True)[1]
    return dense


def _divided(totals: Sample) -> Sample:
    """[..., 2 k] sums to [..., k] ratios; NaN where the denominator is 0."""
    above, below = np.split(totals, 2, axis=-1)
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below != 0)


def _variance(drawn: Sample) -> Sample:
    """Variance of each column over its defined replicates; NaN where a tenth are undefined."""
    defined = ~np.isnan(drawn)
    n = defined.sum(axis=0)
    mean = np.where(defined, drawn, 0.0).sum(axis=0) / np.maximum(n, 1)
    square = np.where(defined, drawn - mean, 0.0) ** 2
    variance = square.sum(axis=0) / np.maximum(n - 1, 1)
    return np.where(n > 0.9 * len(drawn), variance, np.nan)


def _linearised(sums: Sample, totals: Sample) -> Sample:
    """`_variance` of resampled sums where they are many, without resampling them."""
    above, below = np.split(sums, 2, axis=1)
    parts = above - _divided(totals) * below
    parts -= parts.mean(axis=0)
    whole = np.split(totals, 2)[1]
    square = np.square(parts).sum(axis=0)
    variance: Sample = np.divide(
        square, whole**2, out=np.full_like(whole, np.nan), where=whole != 0
    )
    return variance


def _interval(kind: Kind, value: float, variance: float, clusters: int, rows: int) -> Clustered:
    """value and variance of the mean of squares where the kind is ROOT."""
    if rows == 0:
        return UNDEFINED
    error = math.sqrt(variance)
    if kind is Kind.ROOT:
        value = math.sqrt(value)
        error = error / (2 * value) if value > 0 else 0.0
    freedom = clusters - 1
    fewest = FEWEST_OF_SIZES if kind in (Kind.MAGNITUDE, Kind.ROOT) else 2
    if clusters < fewest or math.isnan(error):
        return Clustered(Estimate(value, math.nan, math.nan), math.nan, freedom, rows)
    t = float(stats.t.ppf(1 - _TAIL, freedom))
    if kind is Kind.PROPORTION:
        # Where every cluster agrees each counts as one row: it may have answered as a whole.
        spread = value * (1 - value)
        effective = spread / variance if variance > 0 and spread > 0 else float(clusters)
        return Clustered(wilson(value, effective, t), error, freedom, rows)
    if kind is not Kind.MEAN and value > 0:
        # The few stations that make most of it are as likely as not among those missing.
        factor = math.exp(min(t * error / value, 700.0))
        return Clustered(Estimate(value, value / factor, value * factor), error, freedom, rows)
    return Clustered(Estimate(value, value - t * error, value + t * error), error, freedom, rows)
