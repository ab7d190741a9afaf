"""Tables of an evaluation, parquet and csv below its `out`: what the report is made of.

A parquet says in its metadata what it was made by: the version of tidepick and that of the meaning
of its numbers.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from eval.semantics import SEMANTICS
from service.provenance import version

FOLDER = "tables"
MADE_BY = b"tidepick_made_by"


def keep(out: Path, name: str, table: pa.Table) -> None:
    """Replaces the table of that name; who reads meanwhile sees the old one or the new. Columns of
    lists are in the parquet alone."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    table = table.replace_schema_metadata((table.schema.metadata or {}) | {MADE_BY: _maker()})
    flat = table.select([f.name for f in table.schema if not pa.types.is_nested(f.type)])
    for suffix, write, given in (
        (".parquet", pq.write_table, table),
        (".csv", pa.csv.write_csv, flat),
    ):
        fresh = folder / f".{name}{suffix}"
        write(given, fresh)
        os.replace(fresh, folder / f"{name}{suffix}")


def kept(out: Path, name: str) -> pa.Table | None:
    """The table of that name, or None where there is none yet."""
    path = out / FOLDER / f"{name}.parquet"
    return pq.read_table(path) if path.exists() else None


def forget(out: Path, name: str) -> None:
    """Removes the table of that name, if there is one: what it said no longer holds."""
    for suffix in (".parquet", ".csv"):
        (out / FOLDER / f"{name}{suffix}").unlink(missing_ok=True)


def outdated(out: Path, name: str) -> bool:
    """Whether there is a table of that name that other code made, whose numbers may mean something
    else."""
    path = out / FOLDER / f"{name}.parquet"
    return path.exists() and (pq.read_schema(path).metadata or {}).get(MADE_BY) != _maker()


def _maker() -> bytes:
    return f"tidepick {version('tidepick')}, semantics {SEMANTICS}".encode()
