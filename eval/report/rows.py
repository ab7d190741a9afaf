"""Rows of a table that know where they stand, and numbers of the page that say where they are from.

Every number that the page quotes is `<data value="0.8812" data-of="oracle/17/value">0.881</data>`:
all its digits, and the table, row and column (of the csv and parquet beside the page) it stands in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from markupsafe import Markup

UNDEFINED = Markup('<span class="undefined">undefined</span>')
DASH = "\N{EN DASH}"

FORMS: Mapping[str, str] = {
    "share": ".3f",
    "seconds": ".3f",
    "difference": "+.3f",
    "rate": ".3g",
    "probability": ".3g",
    "count": ",.0f",
}
"""How a number is written, by what it is."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table. source: the text of the columns that the table has beyond its schema, such
    as the name of a benchmark."""

    table: str
    number: int
    values: Mapping[str, Any]
    source: tuple[str, ...] = ()

    def __getitem__(self, column: str) -> Any:
        return self.values[column]

    def known(self, column: str) -> bool:
        """Whether the column holds a number."""
        value = self.values.get(column)
        return value is not None and not math.isnan(value)


def rows_of(tables: Mapping[str, pa.Table], name: str, schema: pa.Schema) -> list[Row]:
    """The rows of a table, none where there is no such table.

    Raises ValueError, naming table and column, where a column of the schema lacks.
    """
    table = tables.get(name)
    if table is None:
        return []
    if lacking := [column for column in schema.names if column not in table.column_names]:
        raise ValueError(
            f"table {name!r}: no column {lacking[0]!r}; it has {table.column_names}; make it anew"
        )
    more = [
        field.name
        for field in table.schema
        if field.name not in schema.names and pa.types.is_string(field.type)
    ]
    return [
        Row(name, number, values, tuple(str(values[column]) for column in more if values[column]))
        for number, values in enumerate(table.to_pylist())
    ]


def of(rows: Sequence[Row], **where: object) -> Iterator[Row]:
    """The rows whose columns hold these values."""
    for row in rows:
        if all(row.values.get(column) == value for column, value in where.items()):
            yield row


def first(rows: Sequence[Row], **where: object) -> Row | None:
    return next(of(rows, **where), None)


def distinct(rows: Sequence[Row], column: str) -> list[Any]:
    """The values of a column, in order of appearance."""
    return list(dict.fromkeys(row[column] for row in rows))


def sources(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    return list(dict.fromkeys(row.source for row in rows))


def from_source(rows: Sequence[Row], source: tuple[str, ...]) -> list[Row]:
    return [row for row in rows if row.source == source]


def quote(row: Row, column: str, form: str) -> Markup:
    """A number of a table, rounded, with what it was; `undefined` where there is none."""
    if not row.known(column):
        return UNDEFINED
    value = row[column]
    whole = form == "rate" and abs(value) >= 1000  # 2,070 and not 2.07e+03
    text = format(value, FORMS["count" if whole else form]).replace("-", "\N{MINUS SIGN}")
    return Markup('<data value="{}" data-of="{}/{}/{}">{}</data>').format(
        repr(value), row.table, row.number, column, text
    )


def interval(row: Row, form: str, low: str = "low", high: str = "high") -> Markup:
    if not (row.known(low) and row.known(high)):
        return Markup('<span class="interval">no interval</span>')
    joint = " to " if form == "difference" else f"\N{THIN SPACE}{DASH}\N{THIN SPACE}"
    return Markup('<span class="interval">{}{}{}</span>').format(
        quote(row, low, form), joint, quote(row, high, form)
    )


def counted(row: Row, *parts: str | Markup) -> Markup:
    """`1,203 of 1,480`: parts are columns that hold counts, or Markup."""
    said = [
        part if isinstance(part, Markup) else quote(row, part, _counting(part)) for part in parts
    ]
    return Markup('<span class="count">{}</span>').format(Markup(" ").join(said))


def _counting(column: str) -> str:
    """Hours are no whole numbers."""
    return "rate" if column.endswith("hours") else "count"


def estimate(row: Row | None, form: str, column: str = "value") -> Markup:
    """A value with its interval and its counts, one under another."""
    if row is None:
        return Markup('<span class="undefined">not measured</span>')
    lines = [Markup("<b>{}</b>").format(quote(row, column, form))]
    if row.known(column):
        lines.append(interval(row, form))
    if row.values.get("count") is not None and "hours" not in row.values:
        lines.append(counted(row, "count", Markup("of"), "n"))
    else:
        lines.append(counted(row, Markup("n ="), "n"))
    return Markup("").join(lines)


def code(name: object) -> Markup:
    """A name of the user's, as it is written."""
    return Markup("<code>{}</code>").format(name)
