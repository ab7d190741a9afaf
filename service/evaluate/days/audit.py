"""`tidepick eval audit`: a sheet of extras to review, and what the reviewers' answers say.

A reviewer sees where and when, and not whose pick it is nor how sure of it; that is kept in the
table `audit_key`. The sheet is a csv with the columns of SHEET; `answer` becomes `real`, `false` or
`unsure`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from catalog.errors import Refusal
from catalog.schema import PHASES
from eval.audit import SHEET_COLUMNS, audited, draw
from eval.intervals import columns
from service.evaluate.read.columns import InputError, rows_of
from service.evaluate.tables import keep, kept

KEY_TABLE = "audit_key"
SHEET = ("sample", "network", "station", "location", "band", "phase", "time", "answer")
SHEET_FILE = "audit.csv"

AUDIT_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("phase", pa.string()),
        ("metric", pa.string()),  # `real_share` of the extras, `precision_audited_0.5s`
        ("value", pa.float64()),  # null until every stratum has an answer
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("matched", pa.int64()),
        ("extras", pa.int64()),
        ("drawn", pa.int64()),
        ("answered", pa.int64()),
        ("unsure", pa.int64()),
    ]
)

_IDENTITY = ("candidate", "network", "station", "location", "band", "phase", "time")


def draw_sheet(extras: pa.Table, size: int, out: Path, seed: int) -> Path:
    """Writes the sheet, `size` extras of each candidate and phase (fewer where there are fewer).

    Returns its path. Raises Refusal where a sheet lies there: it may hold answers.
    """
    path = out / SHEET_FILE
    if path.exists():
        raise Refusal(f"{path}: it is there and may hold answers; name it as continuous.reviewed")
    parts = []
    for candidate in sorted(pc.unique(extras["candidate"]).to_pylist()):
        for phase in PHASES:
            own = _of(extras, candidate, phase)
            if own.num_rows:
                parts.append(_drawn(own, size, seed))
    if not parts:
        raise Refusal("audit: no candidate has an extra; there is nothing to review")
    key = pa.concat_tables(parts)
    order = np.random.default_rng(seed).permutation(key.num_rows)
    key = key.take(order)
    k = key.column_names.index("sample")
    key = key.set_column(k, "sample", pa.array(np.arange(1, key.num_rows + 1)))
    keep(out, KEY_TABLE, key)
    fresh = path.with_name(f".{SHEET_FILE}")
    blind = {n: key[n].cast(pa.string()) for n in SHEET if n != "answer"}
    blank = pa.repeat("", key.num_rows)
    pa.csv.write_csv(pa.table(blind | {"answer": blank}), fresh)
    os.replace(fresh, path)
    return path


def read_back(
    sheet: Path, out: Path, extras: pa.Table, matched: dict[tuple[str, str], int], tolerance: float,
    names: Sequence[str],
) -> pa.Table:  # fmt: skip
    """AUDIT_SCHEMA from a reviewed sheet. matched: (candidate, phase) -> picks with an arrival.

    Raises InputError for a sheet that its key does not know, Refusal for one that was drawn from
    other extras than these.
    """
    key = kept(out, KEY_TABLE)
    if key is None:
        raise Refusal(f"{sheet}: no table {KEY_TABLE} in {out}; draw it with `tidepick eval audit`")
    answers = {
        row["sample"]: (where, row["answer"].lower())
        for where, row in rows_of(sheet, {n: (n,) for n in SHEET}, ("sample",))
    }
    known = {str(number) for number in key["sample"].to_pylist()}
    if strange := sorted(answers.keys() - known):
        raise InputError(f"{answers[strange[0]][0]}: no sample {strange[0]!r} was drawn")
    given = [answers.get(str(number), ("", ""))[1] or None for number in key["sample"].to_pylist()]
    k = key.column_names.index("answer")
    key = key.set_column(k, "answer", pa.array(given, pa.string()))
    rows = []
    for candidate in names:
        for phase in PHASES:
            own, now = _of(key, candidate, phase), _of(extras, candidate, phase)
            if gone := _identities(own) - _identities(now):
                raise Refusal(
                    f"{sheet}: {len(gone)} of {candidate!r}, {phase}, are no extras any more; "
                    "threshold, arrivals or picks have changed: draw it again"
                )
            if not own.num_rows and now.num_rows:
                raise Refusal(f"{sheet}: nothing of {candidate!r}, {phase}; draw it again")
            tp = matched[candidate, phase]
            try:
                found = audited(own.select(SHEET_COLUMNS), tp, now.num_rows)
            except ValueError as error:
                raise Refusal(f"{sheet}: {candidate!r}, {phase}: {error}") from error
            counts = {
                "candidate": candidate,
                "phase": phase,
                "matched": tp,
                "extras": found.extras,
                "drawn": found.drawn,
                "answered": found.answered,
                "unsure": found.unsure,
            }
            for metric, estimate in (
                ("real_share", found.real_share),
                (f"precision_audited_{tolerance:g}s", found.precision),
            ):
                rows.append(counts | {"metric": metric} | columns(estimate))
    return pa.Table.from_pylist(rows, AUDIT_SCHEMA)


def _drawn(extras: pa.Table, size: int, seed: int) -> pa.Table:
    try:
        return draw(extras, size, seed=seed)
    except ValueError as error:
        raise Refusal(f"--draw: {error}") from error


def _of(table: pa.Table, candidate: str, phase: str) -> pa.Table:
    return table.filter((pc.field("candidate") == candidate) & (pc.field("phase") == phase))


def _identities(table: pa.Table) -> set[tuple[str, ...]]:
    texts = [table[name].cast(pa.string()).to_pylist() for name in _IDENTITY]
    return set(zip(*texts, strict=True))
