"""A csv that someone else wrote, read by the names of its columns and refused where they fail."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

from catalog.codes import BLANK, safe_code
from catalog.errors import Refusal

NS = 1_000_000_000

Row = Mapping[str, str]

_ISO = re.compile(r"(\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2})(?:\.(\d+))?(Z|[+-]\d{2}:?\d{2})?")


class InputError(Refusal):
    """A table that cannot be read; the message names the file, the row or field, and the fix."""


def text_of(path: Path) -> str:
    """A text file. Raises InputError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error}") from error


def header_of(path: Path) -> list[str]:
    """The names of a csv's columns, in lower case."""
    lines = _lines(path)
    return [name.strip().lower() for name in next(csv.reader(lines), [])]


def rows_of(
    path: Path, names: Mapping[str, Sequence[str]], needed: Sequence[str]
) -> Iterator[tuple[str, Row]]:
    """(where it stands, column -> text) of each row; a column that the file lacks is empty text.

    names: column -> what a file may call it, in lower case, the preferred first. Columns that
    nobody asks for are left alone. Raises InputError for a missing column, for two that mean the
    same, and for a row with another number of fields.
    """
    header = header_of(path)
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise InputError(f"{path}: column {twice[0]!r} stands twice in the header; rename one")
    place: dict[str, int] = {}
    for column, spellings in names.items():
        found = [name for name in spellings if name in header]
        if len(found) > 1:
            raise InputError(f"{path}: columns {found} both mean the {column}; keep one")
        if found:
            place[column] = header.index(found[0])
        elif column in needed:
            raise InputError(
                f"{path}: no column for the {column}; name it {' or '.join(spellings)}"
            )
    for number, fields in enumerate(csv.reader(_lines(path)[1:]), 2):
        where = f"{path}, row {number}"
        if len(fields) != len(header):
            raise InputError(f"{where}: {len(fields)} fields under {len(header)} columns")
        row = {column: fields[k].strip() for column, k in place.items()}
        for column in needed:
            if not row[column] and column not in MAY_BE_BLANK:
                raise InputError(f"{where}: no {column}; fill it in")
        yield where, dict.fromkeys(names, "") | row


MAY_BE_BLANK = ("network", "location")


def number(text: str, column: str, where: str, least: float, most: float) -> float:
    """A number of [least, most]. Raises InputError."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not least <= value <= most:
        raise InputError(f"{where}: {column} {text!r}: write a number from {least:g} to {most:g}")
    return value


def instant(text: str, column: str, where: str) -> int:
    """ns since the Unix epoch, of ISO 8601 (UTC where no zone stands) or of seconds since it."""
    found = _ISO.fullmatch(text)
    try:
        if found is None:
            ns = int(Decimal(text) * NS)
        else:
            zone = (found[3] or "Z").replace("Z", "+00:00")
            whole = datetime.fromisoformat(found[1] + zone).astimezone(UTC)
            ns = round(whole.timestamp()) * NS + int((found[2] or "0").ljust(9, "0")[:9])
    except (ValueError, InvalidOperation, OverflowError):
        ns = 1 << 63
    if not abs(ns) < 1 << 63:
        raise InputError(
            f"{where}: {column} {text!r}: write 2022-02-06T02:15:00.09 or seconds since 1970"
        )
    return ns


def station_code(code: str) -> str:
    """A network or station as the catalogue spells it."""
    return safe_code(code) or BLANK


def location_code(code: str) -> str:
    """A location as the catalogue spells it: `--` is an empty one."""
    return "" if code in ("--", "None") else safe_code(code)


def _lines(path: Path) -> list[str]:
    lines = text_of(path).splitlines()
    return [line for line in lines if line.strip() and not line.startswith("#")]
