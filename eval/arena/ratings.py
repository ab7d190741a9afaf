"""Bradley-Terry ratings with errors that know which answers err together.

The left side wins with probability 1 / (1 + exp(-(rating difference + left bias))), fitted by
maximum likelihood with ties as half a win for either; ratings sum to zero before they are put on
Elo's scale (400 points for odds of ten to one, 1000 on average). The covariance is the sandwich
over clusters. Where the likelihood has no maximum (somebody wins everything, or two groups never
met) there are no ratings, and the reason is given.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import optimize, sparse, stats
from scipy.sparse import csgraph
from scipy.special import expit

from eval.arena.answers import Answers, Numbers
from eval.intervals import REPLICATES, Clustered, Clusters, cluster_sums, joint, resampled
from eval.metrics import CONFIDENCE, Estimate
from eval.traces import few

SCALE = 400 / math.log(10)
"""Elo points of one natural log of the odds."""

CENTRE = 1000.0

RATED = "rated"
SEPARATED = "separated"
DISCONNECTED = "disconnected"
CONFOUNDED = "confounded"
"""Whether there is a rating, and if not why not: the board's `status`."""


@dataclass(frozen=True, slots=True)
class Rating:
    """Ratings of the candidates [k], in Elo points, or why there are none.

    status: RATED, or SEPARATED, DISCONNECTED, CONFOUNDED with `detail` in words; then ratings and
    covariance [k, k] are NaN. left_bias: in points, None where it was not fitted. freedom: clusters
    less one.
    """

    candidates: tuple[str, ...]
    status: str
    detail: str
    ratings: Numbers
    covariance: Numbers
    left_bias: Clustered | None
    freedom: int
    over: str

    def of(self, candidate: str) -> Clustered:
        k = self.candidates.index(candidate)
        return self._estimate(float(self.ratings[k]), float(self.covariance[k, k]))

    def difference(self, first: str, second: str) -> Clustered:
        """Rating of the first minus the second, with the covariance of the two."""
        i, j = self.candidates.index(first), self.candidates.index(second)
        c = self.covariance
        variance = float(c[i, i] + c[j, j] - 2 * c[i, j])
        return self._estimate(float(self.ratings[i] - self.ratings[j]), variance)

    def _estimate(self, value: float, variance: float) -> Clustered:
        return clustered(value, variance, self.freedom)


def rate(answers: Answers, *, over: str = "window", side: bool = False) -> Rating:
    """Fit the ratings. over: what errors are clustered over (`eval.arena.answers.OVER`).

    side: fit a left bias too; never for a rule, which sees no sides. Ratings do not depend on the
    order of the answers, nor, without the side, on which candidate stood left.
    """
    k = len(answers.candidates)
    clusters = answers.clusters(over)
    freedom = _fewest(clusters, len(answers)) - 1
    unknown = np.full(k, np.nan)
    status, detail = judged_enough(answers, side)
    if status != RATED:
        covariance = np.full((k, k), np.nan)
        bias = clustered(math.nan, math.nan, 0) if side else None
        return Rating(answers.candidates, status, detail, unknown, covariance, bias, freedom, over)
    design = _design(answers, side)
    strengths = fit(design, answers.outcome, np.ones(len(answers)))
    covariance = SCALE**2 * _sandwich(design, answers.outcome, strengths, clusters)
    bias = (
        clustered(SCALE * float(strengths[k]), float(covariance[k, k]), freedom) if side else None
    )
    ratings = CENTRE + SCALE * strengths[:k]
    return Rating(answers.candidates, RATED, "", ratings, covariance[:k, :k], bias, freedom, over)


def fit(design: Numbers, outcome: Numbers, weight: Numbers) -> Numbers:
    """Logistic maximum likelihood by Newton's method: strengths [columns].

    design: [rows, columns]; a direction that no row measures is left at zero, which makes ratings
    sum to zero. outcome: [rows], of [0, 1]. weight: [rows]. The maximum must exist.
    """
    strengths: Numbers = np.zeros(design.shape[1])
    likelihood = _likelihood(design, outcome, weight, strengths)
    for _ in range(200):
        chance = expit(design @ strengths)
        slope = design.T @ (weight * (outcome - chance))
        curvature = (design.T * (weight * chance * (1 - chance))) @ design
        step = _inverse(curvature) @ slope
        least = likelihood - 1e-12 * weight.sum()  # rounding
        while (new := _likelihood(design, outcome, weight, strengths + step)) < least:
            step /= 2
        strengths, likelihood = strengths + step, new
        if np.abs(step).max(initial=0.0) < 1e-11:
            return strengths
    raise ArithmeticError("ratings: Newton's method did not settle; the likelihood has no maximum")


def judged_enough(answers: Answers, side: bool = False) -> tuple[str, str]:
    """(status, detail): whether the likelihood has a maximum, before it is looked for.

    It has one exactly if the graph of who took a point from whom is strongly connected (Ford
    1957); with a left bias, if no direction of strengths explains every answer (a linear program).
    """
    k = len(answers.candidates)
    if k < 2:
        return DISCONNECTED, "there are fewer than two candidates"
    took = np.zeros((k, k))
    np.add.at(took, (answers.left, answers.right), answers.outcome)
    np.add.at(took, (answers.right, answers.left), 1 - answers.outcome)
    groups = _groups(answers, took, "weak")
    if len(groups) > 1:
        return DISCONNECTED, f"never met in battle: {_told(groups)}"
    groups = _groups(answers, took, "strong")
    if len(groups) > 1:
        # A group that the graph leaves nowhere or enters nowhere is all above or all below.
        return SEPARATED, f"one side won every battle between {_told(groups)}"
    if not side:
        return RATED, ""
    design = _design(answers, side)
    if np.linalg.matrix_rank(design) < k:
        return CONFOUNDED, "each candidate kept to its side; the left bias cannot be told apart"
    if _explained(design, answers.outcome):
        return SEPARATED, "ratings and left bias together explain every answer without error"
    return RATED, ""


def bootstrap(
    answers: Answers, *, over: str = "window", seed: int, replicates: int = REPLICATES
) -> Numbers:
    """Ratings [replicates, k] of clusters drawn with replacement; NaN where a draw is not ratable.

    over: one kind of cluster. A replicate needs only each ordered pair's battles and points.
    """
    k = len(answers.candidates)
    [(_, codes)] = answers.clusters(over).levels(len(answers))
    pair = answers.left * k + answers.right
    points = np.zeros((len(answers), 2 * k * k))
    points[np.arange(len(answers)), pair] = 1.0
    points[np.arange(len(answers)), k * k + pair] = answers.outcome
    totals = resampled(cluster_sums(points, codes), replicates, np.random.default_rng(seed))
    left, right = np.divmod(np.arange(k * k), k)
    design = np.eye(k)[left] - np.eye(k)[right]
    ratings = np.full((replicates, k), np.nan)
    for row, (fought, won) in enumerate(zip(totals[:, : k * k], totals[:, k * k :], strict=True)):
        took = won.reshape(k, k) + (fought - won).reshape(k, k).T
        if csgraph.connected_components(sparse.csr_array(took), True, "strong")[0] == 1:
            share = np.divide(won, fought, out=np.zeros(k * k), where=fought > 0)
            ratings[row] = CENTRE + SCALE * fit(design, share, fought)
    return ratings


def clustered(value: float, variance: float, freedom: int) -> Clustered:
    """A value with Student's interval; without one where the variance is unknown."""
    if math.isnan(value) or math.isnan(variance) or freedom < 1:
        return Clustered(Estimate(value, math.nan, math.nan), math.nan, max(freedom, 0), 0)
    error = math.sqrt(max(variance, 0.0))
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * error
    return Clustered(Estimate(value, value - half, value + half), error, freedom, freedom + 1)


def _design(answers: Answers, side: bool) -> Numbers:
    """[n, k] of +1 for the left and -1 for the right candidate, and a column of ones for side."""
    unit = np.eye(len(answers.candidates))
    design = unit[answers.left] - unit[answers.right]
    return np.column_stack([design, np.ones(len(design))]) if side else design


def _likelihood(design: Numbers, outcome: Numbers, weight: Numbers, strengths: Numbers) -> float:
    odds = design @ strengths
    return float(weight @ (outcome * odds - np.logaddexp(0.0, odds)))


def _sandwich(design: Numbers, outcome: Numbers, strengths: Numbers, clusters: Clusters) -> Numbers:
    """Covariance over clusters, each level with its G / (G - 1)."""
    chance = expit(design @ strengths)
    bread = _inverse((design.T * (chance * (1 - chance))) @ design)
    scores = design * (outcome - chance)[:, None]
    terms = []
    for sign, codes in clusters.levels(len(design)):
        sums = cluster_sums(scores, codes)
        own = bread @ (sums.T @ sums) @ bread * len(sums) / max(len(sums) - 1, 1)
        terms.append((sign, own))
    return joint(terms)


def _inverse(curvature: Numbers) -> Numbers:
    """Inverse, but for the one direction that no battle measures: all strengths alike."""
    return np.asarray(np.linalg.pinv(curvature, rcond=1e-10, hermitian=True), np.float64)


def _fewest(clusters: Clusters, rows: int) -> int:
    levels = [len(np.unique(codes)) for sign, codes in clusters.levels(rows) if sign > 0]
    return min(levels)


def _groups(answers: Answers, took: Numbers, connection: str) -> list[list[str]]:
    count, label = csgraph.connected_components(sparse.csr_array(took), True, connection)
    names = np.array(answers.candidates, object)
    return [list(names[label == group]) for group in range(count)]


def _told(groups: list[list[str]]) -> str:
    return " and ".join(f"[{few(group)}]" for group in groups)


def _explained(design: Numbers, outcome: Numbers) -> bool:
    """Whether some direction has no answer against it and some answer for it (Konis 2007)."""
    rows = np.unique(np.column_stack([design, outcome]), axis=0)
    design, outcome = rows[:, :-1], rows[:, -1]
    decisive = outcome != 0.5
    for_it = design[decisive] * np.sign(outcome[decisive] - 0.5)[:, None]
    tied = design[~decisive]
    found = optimize.linprog(
        -for_it.sum(axis=0),
        A_ub=-for_it,
        b_ub=np.zeros(len(for_it)),
        A_eq=tied if len(tied) else None,
        b_eq=np.zeros(len(tied)) if len(tied) else None,
        bounds=(-1, 1),
    )
    return bool(-found.fun > 1e-7)
