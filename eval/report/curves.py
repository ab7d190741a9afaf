"""A line a candidate, from rows of a table."""

from __future__ import annotations

from collections.abc import Sequence

from eval.report.panels import Line
from eval.report.rows import Row, distinct, of
from eval.report.section import Subject


def curves(subject: Subject, rows: Sequence[Row], x: str, y: str) -> list[Line]:
    """Through columns x and y, in the order of the rows, with the interval where the table has one;
    judged where its threshold is the evaluation's."""
    return [
        Line(
            subject.rank(candidate),
            [row[x] for row in mine],
            [row[y] for row in mine],
            [row.values.get("low") for row in mine],
            [row.values.get("high") for row in mine],
            [(row[x], row[y]) for row in mine if row.values.get("threshold") == subject.threshold],
        )
        for candidate in subject.in_order(distinct(rows, "candidate"))
        if (mine := list(of(rows, candidate=candidate)))
    ]
