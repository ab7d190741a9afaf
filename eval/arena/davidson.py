"""Davidson's model of ties (1970), to see how far ratings rest on a tie being half a win.

A tie has probability proportional to nu sqrt(strength of either side), instead of none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import optimize
from scipy.special import logsumexp, softmax

from eval.arena.answers import Answers, Numbers
from eval.arena.ratings import CENTRE, RATED, SCALE, judged_enough


@dataclass(frozen=True, slots=True)
class Davidson:
    """ratings: candidate -> Elo points, 1000 on average. nu: how often equals tie. nll: of all."""

    ratings: dict[str, float]
    nu: float
    nll: float


def davidson(answers: Answers) -> Davidson:
    """Raises ValueError where the likelihood has no maximum, also for want of a tie."""
    status, detail = judged_enough(answers)
    outcome = answers.outcome
    tied = outcome == 0.5
    if status != RATED or not tied.any() or tied.all():
        raise ValueError(f"davidson: not fitted, {detail or 'some but not all must be ties'}")
    k = len(answers.candidates)
    unit = np.eye(k + 1)
    left, right = unit[answers.left], unit[answers.right]
    designs = np.stack([left, right, (left + right) / 2 + unit[k]], axis=1)  # [n, 3, k + 1]
    happened = np.where(tied, 2, np.where(outcome == 1.0, 0, 1))
    each = np.arange(len(answers))

    def nll(strengths: Numbers) -> tuple[float, Numbers]:
        odds = designs @ strengths
        excess = softmax(odds, axis=1)
        excess[each, happened] -= 1
        value = float((logsumexp(odds, axis=1) - odds[each, happened]).sum())
        return value, np.einsum("nc,nck->k", excess, designs)

    start = np.zeros(k + 1)
    found = optimize.minimize(nll, start, jac=True, method="BFGS", options={"gtol": 1e-8})
    strengths = found.x[:k] - found.x[:k].mean()
    ratings = CENTRE + SCALE * strengths
    named = dict(zip(answers.candidates, ratings.tolist(), strict=True))
    return Davidson(named, float(np.exp(found.x[k])), float(found.fun))
