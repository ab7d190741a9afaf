"""What one judge answered: people, or one rule, and never both.

`Answers` is the only thing that is rated. It is made of votes alone or of rulings alone, told apart
by their schemas, so that there is no way to pool the two.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from catalog.battles import ANSWERS, JUDGED_SCHEMA, RULED_SCHEMA
from eval.intervals import Clusters, Codes
from eval.strata import UNKNOWN, Bins
from eval.traces import few

PEOPLE = "people"

OUTCOME = {"left": 1.0, "right": 0.0, "tie": 0.5, "both_bad": 0.5}
"""What the left side scores."""

OVER = ("window", "annotator", "window+annotator", "battle")
"""What errors may be clustered over; `battle` takes every answer as independent."""

Numbers = npt.NDArray[np.float64]
Rows = npt.NDArray[np.bool_] | npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers [n] of one judge.

    judge: PEOPLE or `auto:...`. candidates: their names, in order. left, right: int64 [n], places
    in `candidates`. answer, window: text [n]. annotator: text [n], None for a rule.
    """

    judge: str
    candidates: tuple[str, ...]
    left: Codes
    right: Codes
    answer: Bins
    window: Bins
    annotator: Bins | None

    @classmethod
    def of_people(cls, votes: pa.Table) -> Answers:
        """votes: JUDGED_SCHEMA (`catalog.votes.Votes.judged`). Raises ValueError for any other
        table, a vote or battle that stands twice, an unknown answer, a candidate against itself."""
        _of_schema(votes, JUDGED_SCHEMA, "votes")
        for name in ("vote", "battle"):
            _distinct(votes[name].to_pylist(), f"votes: {name}")
        return cls._of(PEOPLE, votes, _text(votes, "annotator"))

    @classmethod
    def of_rule(cls, rulings: pa.Table) -> Answers:
        """rulings: RULED_SCHEMA, of one rule. Raises ValueError as `of_people`, and for rulings
        of several rules or the same window and pair twice."""
        _of_schema(rulings, RULED_SCHEMA, "rulings")
        rules = sorted(set(rulings["rule"].to_pylist()))
        if len(rules) != 1 or not rules[0].startswith("auto:"):
            raise ValueError(f"rulings: rule holds {rules}; give those of one rule, `auto:...`")
        answers = cls._of(rules[0], rulings, None)
        pairs = zip(rulings["left"].to_pylist(), rulings["right"].to_pylist(), strict=True)
        battles = zip(answers.window, map(sorted, pairs), strict=True)
        _distinct([f"{window}: {a} and {b}" for window, (a, b) in battles], "rulings: battle")
        return answers

    @classmethod
    def _of(cls, judge: str, table: pa.Table, annotator: Bins | None) -> Answers:
        left, right, answer = (_text(table, name) for name in ("left", "right", "answer"))
        if strange := sorted(set(answer) - set(ANSWERS)):
            raise ValueError(f"{judge}: answer holds {strange}; use {ANSWERS}")
        if (selves := left == right).any():
            raise ValueError(f"{judge}: {left[selves][0]!r} against itself says nothing; leave out")
        candidates = tuple(sorted({*left, *right}))
        place = {name: k for k, name in enumerate(candidates)}
        i, j = (np.array([place[name] for name in side], np.int64) for side in (left, right))
        return cls(judge, candidates, i, j, answer, _text(table, "window"), annotator)

    def __len__(self) -> int:
        return len(self.left)

    @property
    def outcome(self) -> Numbers:
        """What the left side scores [n]: 1, 0, and half for a tie or two bad sides."""
        return np.array([OUTCOME[answer] for answer in self.answer], np.float64)

    def take(self, rows: Rows) -> Answers:
        """Some of the answers; candidates that are in none of them are gone."""
        left, right = self.left[rows], self.right[rows]
        kept = np.unique(np.concatenate([left, right]))
        return replace(
            self,
            candidates=tuple(self.candidates[k] for k in kept),
            left=np.searchsorted(kept, left).astype(np.int64),
            right=np.searchsorted(kept, right).astype(np.int64),
            answer=self.answer[rows],
            window=self.window[rows],
            annotator=None if self.annotator is None else self.annotator[rows],
        )

    def without(self, names: Collection[str]) -> Answers:
        """The battles that none of these candidates fought."""
        out = [k for k, name in enumerate(self.candidates) if name in names]
        return self.take(~(np.isin(self.left, out) | np.isin(self.right, out)))

    def clusters(self, over: str) -> Clusters:
        """Which answers err together. over: one of OVER; a rule has no annotators."""
        if over not in OVER or ("annotator" in over and self.annotator is None):
            raise ValueError(f"{self.judge}: errors over {over!r}; use one of {OVER}, or window")
        named = over.split("+")
        window = _codes(self.window) if "window" in named else None
        has_people = "annotator" in named and self.annotator is not None
        return Clusters(window, _codes(self.annotator) if has_people else None)

    def strata(self, windows: pa.Table, names: Sequence[str]) -> dict[str, Bins]:
        """The bin [n] of each answer's window in each stratum.

        windows: `window` and the columns `names`, text; a window that is not there is unknown.
        """
        keys = windows["window"].to_pylist()
        _distinct(keys, "windows: window")
        bins = {}
        for name in names:
            bin_of = dict(zip(keys, windows[name].to_pylist(), strict=True))
            found = [bin_of.get(window) or UNKNOWN for window in self.window]
            bins[name] = np.array(found, object)
        return bins


def _of_schema(table: pa.Table, schema: pa.Schema, called: str) -> None:
    if not table.schema.equals(schema):
        wrong = sorted({*table.schema.names} ^ {*schema.names}) or "types"
        raise ValueError(
            f"{called}: not a table of {called}: {wrong} differ; votes and rulings are never pooled"
        )


def _distinct(names: Sequence[str], called: str) -> None:
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"{called} {few(twice)} stands more than once")


def _text(table: pa.Table, name: str) -> Bins:
    if table[name].null_count:
        raise ValueError(f"column {name!r} holds nulls")
    return np.array(table[name].to_pylist(), object)


def _codes(names: Bins | None) -> Codes:
    return np.unique(np.asarray(names, str), return_inverse=True)[1].astype(np.int64)
