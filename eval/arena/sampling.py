"""Which battle is shown next: the most telling, above a floor for all; and what its chance was.

A turn is a repeat with probability 0.1, where somebody's battle can be repeated to another
annotator. Else a stratum is drawn, each alike; then, with probability FLOOR, any open window and
pair of it, and otherwise the one that tells most: expected gain of the pair times disagreement on
the window. Sides are drawn by a coin. The probability of the draw, sides aside, is kept with the
battle, so that what was seldom drawn can be weighted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pyarrow as pa
from scipy.special import expit

from eval.arena.answers import Answers, Numbers
from eval.arena.battles import DISAGREEMENT_SCHEMA
from eval.strata import UNKNOWN

FLOOR = 0.2
REPEATS = 0.1
PRIOR = 1.0
"""Standard deviation of a candidate's strength before any battle, natural log of odds (174 Elo
points): it keeps the gain finite where a candidate has won all or none."""

LEAST_SCORE = 0.05
"""Two that fared alike still tell a little: people see what no reference holds."""


@dataclass(frozen=True, slots=True)
class Draw:
    """What is to be shown. repeat_of: the battle that is repeated, or None."""

    window: str
    stratum: str
    left: str
    right: str
    probability: float
    repeat_of: str | None


def draw(
    windows: pa.Table,
    disagreements: pa.Table,
    battles: pa.Table,
    votes: pa.Table,
    annotator: str,
    generator: np.random.Generator,
) -> Draw | None:
    """The next battle for an annotator; None where nothing is left to show.

    windows: `window`, `stratum`. disagreements: DISAGREEMENT_SCHEMA, its rows are what can be
    shown. battles: BATTLE_SCHEMA of what has been issued, answered or not: a window and pair is
    issued once, repeats aside. votes: the answers so far, JUDGED_SCHEMA.
    """
    table = disagreements.cast(DISAGREEMENT_SCHEMA)
    stratum_of = dict(
        zip(windows["window"].to_pylist(), windows["stratum"].to_pylist(), strict=True)
    )
    issued = battles.to_pylist()
    used = {_key(row) for row in issued}
    open_rows = [row for row in table.to_pylist() if _key(row) not in used]
    repeatable = _repeatable(issued, set(votes["battle"].to_pylist()), annotator)
    share = REPEATS if repeatable and open_rows else float(bool(repeatable))
    if generator.random() < share:
        row = repeatable[int(generator.integers(len(repeatable)))]
        return _sided(row, row["stratum"], share / len(repeatable), row["battle"], generator)
    if not open_rows:
        return None
    people = Answers.of_people(votes)
    gain = gains(people, sorted({row[side] for row in open_rows for side in ("left", "right")}))
    strata = [stratum_of.get(row["window"]) or UNKNOWN for row in open_rows]
    tells = np.array(
        [max(row["score"], LEAST_SCORE) * gain[row["left"], row["right"]] for row in open_rows]
    )
    chance = (1 - share) * chances(np.array(strata, object), tells)
    k = int(generator.choice(len(open_rows), p=chance / chance.sum()))
    return _sided(open_rows[k], strata[k], float(chance[k]), None, generator)


def chances(strata: np.ndarray[tuple[int], np.dtype[np.object_]], tells: Numbers) -> Numbers:
    """The probability [n] of each open window and pair, with sum 1. tells: [n], what it tells."""
    names = sorted(set(strata))
    chance = np.zeros(len(tells))
    for name in names:
        own = strata == name
        best = own & (tells >= tells[own].max())
        chance += own * FLOOR / own.sum() + best * (1 - FLOOR) / best.sum()
    return chance / len(names)


def gains(people: Answers, candidates: list[str]) -> Mapping[tuple[str, str], float]:
    """By how much one battle of a pair is expected to lower the variance of its difference.

    With variance V and information I = p (1 - p) of a battle: V^2 I / (1 + V I), of a fit that
    begins from PRIOR. Both orders of a pair are there.
    """
    names = sorted({*candidates, *people.candidates})
    strengths, covariance = _posterior(people, names)
    found = {}
    for first, second in combinations(names, 2):
        i, j = names.index(first), names.index(second)
        variance = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
        p = expit(strengths[i] - strengths[j])
        information = p * (1 - p)
        gain = float(variance**2 * information / (1 + variance * information))
        found[first, second] = found[second, first] = gain
    return found


def _posterior(people: Answers, names: list[str]) -> tuple[Numbers, Numbers]:
    strengths: Numbers = np.zeros(len(names))
    precision: Numbers = np.eye(len(names)) / PRIOR**2
    unit = np.zeros((len(people.candidates), len(names)))
    for row, name in enumerate(people.candidates):
        unit[row, names.index(name)] = 1.0
    design, outcome = unit[people.left] - unit[people.right], people.outcome
    for _ in range(50):
        chance = expit(design @ strengths)
        curvature = precision + (design.T * (chance * (1 - chance))) @ design
        slope = design.T @ (outcome - chance) - precision @ strengths
        step = np.linalg.solve(curvature, slope)
        strengths += step
        if np.abs(step).max() < 1e-9:
            break
    return strengths, np.asarray(np.linalg.inv(curvature), np.float64)


def _key(row: Mapping[str, str]) -> tuple[str, frozenset[str]]:
    return row["window"], frozenset((row["left"], row["right"]))


def _repeatable(
    issued: list[dict[str, Any]], answered: set[str], annotator: str
) -> list[dict[str, Any]]:
    """Answered first issues, of what this annotator was not shown and nobody was shown again."""
    seen = {_key(row) for row in issued if row["annotator"] == annotator}
    again = {row["repeat_of"] for row in issued}
    return [
        row
        for row in issued
        if row["repeat_of"] is None and row["battle"] in answered - again and _key(row) not in seen
    ]


def _sided(
    row: Mapping[str, str],
    stratum: str,
    probability: float,
    repeat_of: str | None,
    generator: np.random.Generator,
) -> Draw:
    left, right = row["left"], row["right"]
    if generator.random() < 0.5:
        left, right = right, left
    return Draw(row["window"], stratum, left, right, probability, repeat_of)
