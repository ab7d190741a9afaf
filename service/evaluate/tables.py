"""Tables of an evaluation, parquet and csv below its `out`: what the report is made of."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

FOLDER = "tables"


def keep(out: Path, name: str, table: pa.Table) -> None:
    """Replaces the table of that name; who reads meanwhile sees the old one or the new."""
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, write in ((".parquet", pq.write_table), (".csv", pa.csv.write_csv)):
        fresh = folder / f".{name}{suffix}"
        write(table, fresh)
        os.replace(fresh, folder / f"{name}{suffix}")


def kept(out: Path, name: str) -> pa.Table | None:
    """The table of that name, or None where there is none yet."""
    path = out / FOLDER / f"{name}.parquet"
    return pq.read_table(path) if path.exists() else None
