"""Battles decided by rule: whose picks of a window are nearer to the reference arrivals.

1. Fewer misses and extras win.
2. Else the smaller mean |residual| of what was matched, if smaller by more than 0.05 s.
3. Else both are bad if neither matched anything and both have errors; else it is a tie.

The rule is no person: its rulings have a schema of their own, and no board is of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import pyarrow as pa

from catalog.battles import RULED_SCHEMA
from catalog.schema import digest
from eval.arena.tallies import MATCH_S, TALLY_SCHEMA

DEAD_BAND_S = 0.05
RULE = f"auto:match{MATCH_S:g}s+dead{DEAD_BAND_S:g}s"

DISAGREEMENT_SCHEMA = pa.schema(
    [
        ("window", pa.string()),
        ("left", pa.string()),  # the candidates, in order of their names
        ("right", pa.string()),
        ("score", pa.float64()),  # of [0, 1); 0 where both fared alike
    ]
)


@dataclass(frozen=True, slots=True)
class Tally:
    """One candidate on one window; see TALLY_SCHEMA."""

    matched: int
    errors: int
    residual_s: float | None


def ruled(left: Tally, right: Tally) -> str:
    """The rule's answer, one of `catalog.battles.ANSWERS`."""
    if left.errors != right.errors:
        return "left" if left.errors < right.errors else "right"
    if (later := _later(left, right)) and abs(later) > DEAD_BAND_S:
        return "left" if later < 0 else "right"
    nothing_right = left.errors > 0 and left.matched == right.matched == 0
    return "both_bad" if nothing_right else "tie"


def battles(tallies: pa.Table) -> pa.Table:
    """Every pair of candidates on every window that both were judged on: RULED_SCHEMA.

    tallies: TALLY_SCHEMA. Raises ValueError where thresholds were solved by several rules, or a
    candidate stands twice on a window.
    """
    solved = sorted(set(tallies["thresholds"].to_pylist()))
    if len(solved) > 1:
        raise ValueError(f"tallies: thresholds were solved by {solved}; battles need one rule")
    rows = []
    for window, stratum, names, (left, right) in _pairs(tallies):
        rows.append(
            {
                "rule": RULE,
                "window": window,
                "stratum": stratum,
                "left": names[0],
                "right": names[1],
                "answer": ruled(left, right),
                "left_errors": left.errors,
                "right_errors": right.errors,
                "left_residual_s": left.residual_s,
                "right_residual_s": right.residual_s,
                "thresholds": solved[0],
            }
        )
    return pa.Table.from_pylist(rows, RULED_SCHEMA)


def ruling_id(ruling: Mapping[str, str]) -> str:
    """The address of a battle by rule; it names neither window nor candidates."""
    return f"rule-{digest([ruling[name] for name in ('window', 'left', 'right')])}"


def disagreement(tallies: pa.Table) -> pa.Table:
    """How differently two candidates fared on each window, for people to judge the most telling
    first: DISAGREEMENT_SCHEMA. With d errors between them d / (1 + d), without any the difference
    of their residuals in seconds, which is at most 0.5."""
    rows = []
    for window, _, names, (left, right) in _pairs(tallies):
        apart = abs(left.errors - right.errors)
        score = apart / (1 + apart) if apart else abs(_later(left, right) or 0.0)
        rows.append({"window": window, "left": names[0], "right": names[1], "score": score})
    return pa.Table.from_pylist(rows, DISAGREEMENT_SCHEMA)


def _later(left: Tally, right: Tally) -> float | None:
    """Mean |residual| of the left side less the right's, s; None where either matched nothing."""
    if left.residual_s is None or right.residual_s is None:
        return None
    return left.residual_s - right.residual_s


def _pairs(
    tallies: pa.Table,
) -> Iterator[tuple[str, str, tuple[str, str], tuple[Tally, Tally]]]:
    """(window, stratum, names, tallies) of every two candidates of every window."""
    windows: dict[str, tuple[str, dict[str, Tally]]] = {}
    for row in tallies.cast(TALLY_SCHEMA).to_pylist():
        _, each = windows.setdefault(row["window"], (row["stratum"], {}))
        if row["candidate"] in each:
            raise ValueError(f"tallies: {row['candidate']!r} stands twice on {row['window']!r}")
        each[row["candidate"]] = Tally(row["matched"], row["errors"], row["residual_s"])
    for window, (stratum, each) in sorted(windows.items()):
        for left, right in combinations(sorted(each), 2):
            yield window, stratum, (left, right), (each[left], each[right])
