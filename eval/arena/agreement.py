"""How far people agree with one another, and with the rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np
import pyarrow as pa

from eval.arena.answers import Answers
from eval.intervals import Clusters, Kind, columns, ratios

AGREEMENT_SCHEMA = pa.schema(
    [
        ("judge", pa.string()),
        ("other", pa.string()),
        ("over", pa.string()),  # `every answer`, or `decisive` where both name a winner
        ("votes", pa.int64()),
        ("agreed", pa.int64()),
        ("windows", pa.int64()),
        ("rate", pa.float64()),
        ("low", pa.float64()),  # over windows; null where there is one
        ("high", pa.float64()),
    ]
)


def agreement(people: Answers, rule: Answers) -> pa.Table:
    """How often a vote says what the rule says of the same pair on the same window.

    Returns AGREEMENT_SCHEMA, two rows. The two stay apart: a vote is compared, never added.
    """
    ruling = dict(_verdicts(rule))
    said = [(key, verdict) for key, verdict in _verdicts(people) if key in ruling]
    agreed = np.array([verdict == ruling[key] for key, verdict in said], bool)
    named = set(people.candidates)
    decisive = np.array([{verdict, ruling[key]} <= named for key, verdict in said], bool)
    window = np.array([key[0] for key, _ in said], str)
    rows = []
    for over, of in (("every answer", np.ones(len(said), bool)), ("decisive", decisive)):
        codes = np.unique(window[of], return_inverse=True)[1].astype(np.int64)
        numbers = agreed[of].astype(np.float64)[:, None]
        [rate] = ratios(
            numbers, np.ones_like(numbers), [Kind.PROPORTION], Clusters(codes, None), seed=0
        )
        known = columns(rate.estimate)
        rows.append(
            {
                "judge": people.judge,
                "other": rule.judge,
                "over": over,
                "votes": int(of.sum()),
                "agreed": int(agreed[of].sum()),
                "windows": len(set(codes)),
                "rate": known["value"],
                "low": known["low"],
                "high": known["high"],
            }
        )
    return pa.Table.from_pylist(rows, AGREEMENT_SCHEMA)


BESIDE_SCHEMA = pa.schema(
    [
        ("battle", pa.string()),
        ("window", pa.string()),
        ("left", pa.string()),
        ("right", pa.string()),
        ("said", pa.string()),  # the winner's name, `tie` or `both_bad`
        ("ruled", pa.string()),  # what the rule says; null where it has not judged that battle
    ]
)


def beside(votes: pa.Table, rulings: pa.Table) -> pa.Table:
    """Every vote, JUDGED_SCHEMA, with what the rule says of the same pair: BESIDE_SCHEMA."""
    said = zip(votes["battle"].to_pylist(), _verdicts(Answers.of_people(votes)), strict=True)
    ruled = dict(_verdicts(Answers.of_rule(rulings))) if rulings.num_rows else {}
    rows = [
        {
            **{"battle": battle, "window": key[0], "left": key[1], "right": key[2]},
            **{"said": verdict, "ruled": ruled.get(key)},
        }
        for battle, (key, verdict) in said
    ]
    return pa.Table.from_pylist(rows, BESIDE_SCHEMA)


def alpha_of(people: Answers) -> float:
    """Krippendorff's alpha over the pairs and windows that were judged more than once.

    A verdict is the winner, whichever side it stood on; NaN where nothing was judged twice.
    """
    units: dict[Hashable, list[str]] = defaultdict(list)
    for key, verdict in _verdicts(people):
        units[key].append(verdict)
    return krippendorff(list(units.values()))


def repeats(votes: pa.Table) -> tuple[int, int]:
    """(how many name the winner of the battle that they repeat, of how many). votes: JUDGED_SCHEMA.

    A repeat whose first battle has no answer that stands does not count.
    """
    rows = votes.to_pylist()
    said = {row["battle"]: row.get(row["answer"], row["answer"]) for row in rows}
    pairs = [
        (said[row["battle"]], said[row["repeat_of"]]) for row in rows if row["repeat_of"] in said
    ]
    return sum(first == second for first, second in pairs), len(pairs)


def krippendorff(units: Sequence[Sequence[Hashable]]) -> float:
    """Nominal alpha of the values that each unit was given (Krippendorff 2011).

    1: always agreed, 0: as by chance. A unit with one value does not count. NaN where no unit has
    two, or all values are the same: agreement can then not be told from habit.
    """
    places: dict[Hashable, int] = {}
    for unit in units:
        for value in unit:
            places.setdefault(value, len(places))
    met = np.zeros((len(places), len(places)))
    for unit in units:
        if len(unit) > 1:
            counts = np.bincount([places[value] for value in unit], minlength=len(places))
            met += (np.outer(counts, counts) - np.diag(counts)) / (len(unit) - 1)
    each = met.sum(axis=1)
    total = each.sum()
    expected = (total**2 - (each**2).sum()) / (total - 1) if total > 1 else 0.0
    observed = total - np.trace(met)
    return float(1 - observed / expected) if expected > 0 else float("nan")


def _verdicts(answers: Answers) -> list[tuple[tuple[str, str, str], str]]:
    """((window, pair in order), the winner's name or `tie` or `both_bad`) of each answer."""
    names = answers.candidates
    found = []
    for left, right, answer, window in zip(
        answers.left, answers.right, answers.answer, answers.window, strict=True
    ):
        first, second = sorted((names[left], names[right]))
        winner = {"left": names[left], "right": names[right]}
        found.append(((window, first, second), winner.get(answer, answer)))
    return found
