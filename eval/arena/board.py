"""The leaderboard of one judge, bin by bin, and how often each candidate beats each other.

Candidates whose difference is not separated from zero share a rank. A bin with too few battles
says `insufficient`, and one without a rating says why; neither is ranked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from scipy import stats

from eval.arena.answers import Answers, Numbers, Rows
from eval.arena.ratings import RATED, SCALE, Rating, rate
from eval.intervals import Clustered, Kind, columns, ratios
from eval.metrics import proportion
from eval.strata import ALL, Bins

INSUFFICIENT = "insufficient"

MINIMUM_BATTLES = 50
MINIMUM_WINDOWS = 10
"""Below either, a bin is INSUFFICIENT. They are the least at which the intervals mean something;
to tell a candidate that wins 55 % from its equal takes some 780 decisive battles."""

BOARD_SCHEMA = pa.schema(
    [
        ("judge", pa.string()),  # `people`, or `auto:...`; a board has one
        ("stratum", pa.string()),
        ("bin", pa.string()),
        ("candidate", pa.string()),
        ("status", pa.string()),  # rated, insufficient, separated, disconnected, confounded
        ("detail", pa.string()),
        ("rank", pa.int64()),  # 1 + how many are separated above it; null unless rated
        ("rating", pa.float64()),  # Elo points, 1000 on average over the bin's candidates
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("battles", pa.int64()),
        ("wins", pa.int64()),
        ("losses", pa.int64()),
        ("ties", pa.int64()),
        ("both_bad", pa.int64()),
        ("windows", pa.int64()),
        ("interval_over", pa.string()),
    ]
)

PAIR_SCHEMA = pa.schema(
    [
        ("judge", pa.string()),
        ("stratum", pa.string()),
        ("bin", pa.string()),
        ("candidate", pa.string()),
        ("opponent", pa.string()),
        ("battles", pa.int64()),
        ("wins", pa.int64()),
        ("losses", pa.int64()),
        ("ties", pa.int64()),
        ("both_bad", pa.int64()),
        ("win_rate", pa.float64()),  # as fought, a tie is half a win; null if they never met
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("expected", pa.float64()),  # of the ratings; null where there are none
        ("difference", pa.float64()),  # of the ratings, Elo points
        ("difference_low", pa.float64()),
        ("difference_high", pa.float64()),
        ("separated", pa.bool_()),  # whether the difference is
    ]
)

SIDE_SCHEMA = pa.schema(
    [
        ("judge", pa.string()),
        ("left", pa.int64()),  # battles that the left side won
        ("right", pa.int64()),
        ("left_share", pa.float64()),
        ("share_low", pa.float64()),
        ("share_high", pa.float64()),
        ("sign_p", pa.float64()),  # exact, of no preference; takes answers as independent
        ("left_bias", pa.float64()),  # Elo points, beside the ratings; null where not fitted
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("alarm", pa.bool_()),  # the bias is separated from zero
    ]
)


def leaderboard(
    answers: Answers, strata: Mapping[str, Bins] | None = None, *, over: str = "window"
) -> pa.Table:
    """Every candidate in every bin: BOARD_SCHEMA, best first.

    strata: stratum -> bin [n] of each answer (`Answers.strata`); the whole is always there.
    """
    rows = []
    for where, own in _bins(answers, strata):
        rating = rate(own, over=over)
        status, detail = _status(own, rating)
        board = [_candidate(own, rating, candidate, status) for candidate in own.candidates]
        board.sort(key=_place)
        more = {"status": status, "detail": detail, "interval_over": over}
        rows += [where | row | more for row in board]
    return pa.Table.from_pylist(rows, BOARD_SCHEMA)


def matrix(
    answers: Answers,
    strata: Mapping[str, Bins] | None = None,
    *,
    over: str = "window",
    seed: int = 0,
) -> pa.Table:
    """Every candidate against every other, both ways round: PAIR_SCHEMA."""
    rows = []
    for where, own in _bins(answers, strata):
        rating = rate(own, over=over)
        status, _ = _status(own, rating)
        for i, candidate in enumerate(own.candidates):
            for j, opponent in enumerate(own.candidates):
                if i != j:
                    row: dict[str, object] = {"candidate": candidate, "opponent": opponent}
                    row |= _met(own, i, j, over, seed)
                    if status == RATED:
                        row |= _expected(rating.difference(candidate, opponent))
                    rows.append(where | row)
    return pa.Table.from_pylist(rows, PAIR_SCHEMA)


def side_test(answers: Answers, *, over: str = "window") -> pa.Table:
    """Whether voters prefer a side whoever stands there: SIDE_SCHEMA, one row.

    Raises ValueError for a rule, which sees no sides.
    """
    if answers.annotator is None:
        raise ValueError(f"side test: {answers.judge} sees no sides")
    left, right = (int((answers.answer == side).sum()) for side in ("left", "right"))
    share = proportion(left, left + right)
    bias = rate(answers, over=over, side=True).left_bias
    assert bias is not None
    known = columns(bias.estimate)
    row = {
        "judge": answers.judge,
        "left": left,
        "right": right,
        "sign_p": float(stats.binomtest(left, left + right).pvalue) if left + right else 1.0,
        **dict(
            zip(("left_share", "share_low", "share_high"), columns(share).values(), strict=True)
        ),
        "left_bias": known["value"],
        "low": known["low"],
        "high": known["high"],
        "alarm": is_separated(bias),
    }
    return pa.Table.from_pylist([row], SIDE_SCHEMA)


def is_separated(difference: Clustered) -> bool:
    """Whether zero lies outside the interval; not where there is none."""
    return bool(difference.estimate.low > 0 or difference.estimate.high < 0)


def _bins(
    answers: Answers, strata: Mapping[str, Bins] | None
) -> Iterator[tuple[dict[str, str], Answers]]:
    whole = {ALL: np.full(len(answers), ALL, object)}
    for stratum, bins in (whole | dict(strata or {})).items():
        for name in sorted(set(bins)):
            where = {"judge": answers.judge, "stratum": stratum, "bin": name}
            yield where, answers.take(bins == name)


def _place(row: Mapping[str, Any]) -> tuple[float, str]:
    return -(row["rating"] or 0.0), row["candidate"]


def _status(own: Answers, rating: Rating) -> tuple[str, str]:
    windows = len(set(own.window))
    if len(own) < MINIMUM_BATTLES or windows < MINIMUM_WINDOWS:
        return INSUFFICIENT, (
            f"{len(own)} battles on {windows} windows; a rating needs {MINIMUM_BATTLES} on "
            f"{MINIMUM_WINDOWS}"
        )
    return rating.status, rating.detail


def _candidate(own: Answers, rating: Rating, candidate: str, status: str) -> dict[str, object]:
    k = own.candidates.index(candidate)
    mine = (own.left == k) | (own.right == k)
    row: dict[str, object] = {
        "candidate": candidate,
        "battles": int(mine.sum()),
        "windows": len(set(own.window[mine])),
        **_record(own, mine, own.left == k),
        "rank": None,
        "rating": None,
    }
    if status != RATED:
        return row
    above = [
        other
        for other in own.candidates
        if other != candidate and rating.difference(other, candidate).estimate.low > 0
    ]
    known = columns(rating.of(candidate).estimate)
    return row | {
        "rank": 1 + len(above),
        "rating": known["value"],
        "low": known["low"],
        "high": known["high"],
    }


def _record(own: Answers, rows: Rows, is_left: Rows) -> dict[str, object]:
    """How the candidate that stands left where `is_left` fared in these rows."""
    won = np.where(is_left, own.answer == "left", own.answer == "right")
    lost = np.where(is_left, own.answer == "right", own.answer == "left")
    counted = {"wins": won, "losses": lost, "ties": own.answer == "tie"}
    counted["both_bad"] = own.answer == "both_bad"
    return {name: int((truths & rows).sum()) for name, truths in counted.items()}


def _met(own: Answers, i: int, j: int, over: str, seed: int) -> dict[str, object]:
    first = (own.left == i) & (own.right == j)
    rows = first | ((own.left == j) & (own.right == i))
    record = {"battles": int(rows.sum()), **_record(own, rows, first)}
    if not rows.any():
        return record
    points: Numbers = np.where(first, own.outcome, 1 - own.outcome)[rows]
    [rate_of] = ratios(
        points[:, None],
        np.ones((len(points), 1)),
        [Kind.PROPORTION],
        own.take(rows).clusters(over),
        seed=seed,
    )
    known = columns(rate_of.estimate)
    return record | {"win_rate": known["value"], "low": known["low"], "high": known["high"]}


def _expected(difference: Clustered) -> dict[str, object]:
    known = columns(difference.estimate)
    return {
        "expected": float(1 / (1 + np.exp(-difference.estimate.value / SCALE))),
        "difference": known["value"],
        "difference_low": known["low"],
        "difference_high": known["high"],
        "separated": is_separated(difference),
    }
