"""Single battles of the arena, each a link to where a server shows it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from markupsafe import Markup

from catalog.battles import RULED_SCHEMA
from eval.arena.agreement import BESIDE_SCHEMA
from eval.arena.battles import ruling_id
from eval.report.rows import Row, code, quote, rows_of
from eval.report.section import Grid, Subject

SHOWN = 20
"""So many of people's, and of the rule's."""


def battle_grids(subject: Subject) -> Iterator[Grid]:
    """Of people's battles those first where the rule says otherwise, of the rule's those whose
    sides are farthest apart."""
    said = rows_of(subject.tables, "voted_battles", BESIDE_SCHEMA)
    if said:
        apart = sorted(said, key=lambda row: (row["ruled"] is None, row["ruled"] == row["said"]))
        yield Grid(
            "Battles of people, first where the rule says otherwise",
            ("window", "one", "other", "people", "the rule"),
            [
                [
                    _address(subject, row["window"], row["battle"]),
                    code(row["left"]),
                    code(row["right"]),
                    code(row["said"]),
                    code(row["ruled"]) if row["ruled"] else "not judged",
                ]
                for row in apart[:SHOWN]
            ],
            folded=True,
        )
    for name, where in (("rulings", "labelled traces"), ("day_rulings", "continuous days")):
        if name in subject.tables:
            yield Grid(
                f"Battles of the rule on {where}, the most telling",
                ("window", "one, errors", "other, errors", "the rule"),
                [_ruled(subject, row) for row in _telling(name, subject.tables[name])],
                folded=True,
            )


def _ruled(subject: Subject, row: Row) -> list[str | Markup]:
    answer = row["answer"]
    sides = [
        Markup("{} {}").format(code(row[side]), quote(row, f"{side}_errors", "count"))
        for side in ("left", "right")
    ]
    winner = row[answer] if answer in ("left", "right") else answer
    return [_address(subject, row["window"], ruling_id(row.values)), *sides, code(winner)]


def _telling(name: str, rulings: pa.Table) -> list[Row]:
    """By errors between the sides, then by seconds; one of each window."""
    table = rulings.select(RULED_SCHEMA.names)
    left, right = (table[f"{side}_errors"].to_numpy() for side in ("left", "right"))
    near, far = (
        table[f"{side}_residual_s"].to_numpy(zero_copy_only=False).astype(np.float64)
        for side in ("left", "right")
    )
    seconds = np.nan_to_num(np.abs(near - far))
    rows: dict[str, Row] = {}
    for k in np.lexsort((-seconds, -np.abs(left - right))).tolist():
        window = table["window"][k].as_py()
        if window not in rows:
            rows[window] = Row(name, k, table.slice(k, 1).to_pylist()[0])
        if len(rows) == SHOWN:
            break
    return list(rows.values())


def _address(subject: Subject, window: str, battle: str) -> Markup:
    if not subject.serve:
        return code(window)
    return Markup('<a href="{}/arena/battle/{}">{}</a>').format(
        subject.serve.rstrip("/"), battle, window
    )
