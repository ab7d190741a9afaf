"""Precision where the truth is incomplete: a sample of the extras is reviewed by people.

Extras (picks that no arrival explains) are sorted by probability into strata of equal size, and as
many are drawn from each. The reviewers write `real`, `false` or `unsure` beside each; then

    pi = sum over strata of (N_h / N) (real_h / answered_h)    the share of extras that are real
    P  = (TP + pi U) / (TP + U)                                the audited precision

The intervals are of these picks, not of others like them: they say how far a sample can mislead
about the extras at hand, and close when all of them have been reviewed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from eval.metrics import CONFIDENCE, Estimate, wilson

ANSWERS = ("real", "false", "unsure")
STRATA = 5

SHEET_COLUMNS = ("sample", "stratum", "extras_in_stratum", "seed", "answer")
"""Columns that `draw` adds to those of the picks. `answer` is null until it is reviewed."""


@dataclass(frozen=True, slots=True)
class Audited:
    """What a reviewed sample says about one candidate and phase."""

    extras: int
    drawn: int
    answered: int  # real or false
    unsure: int  # counted, and left out of both estimates
    real_share: Estimate  # pi; NaN where a stratum has no answer
    precision: Estimate


def draw(extras: pa.Table, size: int, *, seed: int, strata: int = STRATA) -> pa.Table:
    """A sheet to review: about `size` of the extras of one candidate and phase.

    extras: picks with `probability`, such as those of `eval.reviewed.extras`. Strata with fewer
    extras than their part are drawn whole and the rest goes to the others. The same extras and
    seed give the same sheet, whatever the order of the rows.
    """
    if size < strata:
        raise ValueError(f"size {size}: review at least one of each of the {strata} strata")
    names = [n for n in ("network", "station", "location", "time") if n in extras.column_names]
    ordered = extras.sort_by([(name, "ascending") for name in ("probability", *names)])
    rng = np.random.default_rng(seed)
    parts = np.array_split(np.arange(ordered.num_rows), strata)
    chosen, stratum, size_of = [], [], []
    left = min(size, ordered.num_rows)
    for later, part in enumerate(sorted(range(strata), key=lambda h: len(parts[h]))):
        rows = parts[part]
        take = min(len(rows), -(-left // (strata - later)))
        left -= take
        chosen += sorted(rng.choice(rows, take, replace=False).tolist())
        stratum += [part] * take
        size_of += [len(rows)] * take
    # In random order, so that a reviewer does not see the probability rise.
    order = rng.permutation(len(chosen))
    sheet = ordered.take(np.asarray(chosen, np.int64)[order])
    added = {
        "sample": pa.array(np.arange(1, len(chosen) + 1)),
        "stratum": pa.array(np.asarray(stratum, np.int64)[order]),
        "extras_in_stratum": pa.array(np.asarray(size_of, np.int64)[order]),
        "seed": pa.repeat(seed, len(chosen)),
        "answer": pa.nulls(len(chosen), pa.string()),
    }
    for name, column in added.items():
        sheet = sheet.append_column(name, column)
    return sheet


def audited(sheet: pa.Table, matched: int, extras: int) -> Audited:
    """pi and the audited precision from a reviewed sheet.

    matched: picks with an arrival (TP). extras: all extras (U), drawn or not; they must be those
    that the sheet was drawn from. An empty `answer` is an extra that was not reviewed. Raises
    ValueError for an answer that is none of ANSWERS and for another number of extras.
    """
    for name in SHEET_COLUMNS:
        if name not in sheet.column_names:
            raise ValueError(f"sheet: no column {name!r}; give the sheet that was drawn")
    answers = pc.fill_null(sheet["answer"].cast(pa.string()), "").to_pylist()
    if strange := sorted(set(answers) - {*ANSWERS, ""}):
        raise ValueError(f"sheet: column 'answer' holds {strange}; write one of {ANSWERS}")
    answer = np.array(answers, object)
    stratum, sizes = (
        sheet[name].cast(pa.int64()).to_numpy() for name in ("stratum", "extras_in_stratum")
    )
    held = {int(h): int(n) for h, n in zip(stratum, sizes, strict=True)}
    if sum(held.values()) != extras:
        raise ValueError(
            f"sheet: it was drawn from {sum(held.values())} extras, not {extras}; draw it again"
        )
    share = _stratified(
        [
            (n, int((answer[stratum == h] == "real").sum()),
             int(np.isin(answer[stratum == h], ("real", "false")).sum()))
            for h, n in sorted(held.items())
        ]
    )  # fmt: skip
    picks = matched + extras
    ends = (share.value, share.low, share.high)
    precision = Estimate(*((matched + pi * extras) / picks if picks else math.nan for pi in ends))
    if extras == 0 and picks:
        precision = Estimate(1.0, 1.0, 1.0)
    return Audited(
        extras=extras,
        drawn=sheet.num_rows,
        answered=int(np.isin(answer, ("real", "false")).sum()),
        unsure=int((answer == "unsure").sum()),
        real_share=share,
        precision=precision,
    )


def _stratified(strata: list[tuple[int, int, int]]) -> Estimate:
    """pi of (extras, real, answered) by stratum, Wilson's form with the effective sample.

    The variance of a stratum takes (real + 1) / (answered + 2) for its share, so that one that
    answered alike throughout is not taken as certain.
    """
    total = sum(n for n, _, _ in strata)
    if total == 0 or any(answered == 0 for _, _, answered in strata):
        return Estimate(math.nan, math.nan, math.nan)
    value = sum(n / total * real / answered for n, real, answered in strata)
    variance = 0.0
    for n, real, answered in strata:
        cautious = (real + 1) / (answered + 2)
        rest = 1 - answered / n  # nothing is left to chance where all were reviewed
        variance += (n / total) ** 2 * rest * cautious * (1 - cautious) / answered
    if variance == 0:
        return Estimate(value, value, value)
    # Wilson's interval of `effective` draws whose share varies by `variance`.
    reviewed = sum(answered for _, _, answered in strata)
    cautious = (value * reviewed + 1) / (reviewed + 2)
    effective = cautious * (1 - cautious) / variance
    return wilson(value, effective, float(stats.norm.ppf(0.5 + CONFIDENCE / 2)))
