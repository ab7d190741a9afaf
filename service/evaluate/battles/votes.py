"""What people said in an arena, from its file or from an export of it."""

from __future__ import annotations

import sqlite3
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from catalog.battles import JUDGED_SCHEMA
from catalog.errors import Refusal
from catalog.votes import Votes, read_export

SQLITE = b"SQLite format 3\x00"


def read_votes(path: Path) -> pa.Table:
    """JUDGED_SCHEMA, the answers that stand, in order. Raises Refusal, naming the file."""
    if path.is_dir():
        return _restored(path)
    if path.suffix in (".parquet", ".csv"):
        return _exported(path)
    return open_votes(path).judged()


def open_votes(path: Path) -> Votes:
    """An arena's file that is there: none is made. Raises Refusal."""
    try:
        with path.open("rb") as file:
            head = file.read(len(SQLITE))
    except OSError as error:
        raise Refusal(f"votes {path}: {error.strerror}; name the arena's file") from error
    if head != SQLITE:
        raise Refusal(f"votes {path}: not an arena's file (SQLite); name one, or its export")
    try:
        return Votes(path)
    except sqlite3.Error as error:
        raise Refusal(f"votes {path}: {error}") from error


def write_votes(votes: Votes, path: Path) -> int:
    """The answers that stand as one file, or the log and the battles whole as a folder. Returns
    the rows written."""
    if path.suffix == ".parquet":
        pq.write_table(found := votes.judged(), path)
    elif path.suffix == ".csv":
        pa.csv.write_csv(found := votes.judged(), path)
    elif path.suffix:
        raise Refusal(f"output {path}: end it in .parquet or .csv, or name a folder")
    else:
        votes.export(path)
        found = votes.log()
    return int(found.num_rows)


def _exported(path: Path) -> pa.Table:
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path, schema=JUDGED_SCHEMA)
        reading = pa.csv.ConvertOptions(
            column_types=JUDGED_SCHEMA, strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        parsing = pa.csv.ParseOptions(newlines_in_values=True)
        table = pa.csv.read_csv(path, convert_options=reading, parse_options=parsing)
    except (OSError, pa.ArrowException) as error:
        raise Refusal(f"votes {path}: {error}; export them with `tidepick arena export`") from error
    if lacking := [name for name in JUDGED_SCHEMA.names if name not in table.column_names]:
        raise Refusal(
            f"votes {path}: no column {lacking[0]!r}; export them with `tidepick arena export`"
        )
    return table.select(JUDGED_SCHEMA.names)


def _restored(folder: Path) -> pa.Table:
    """The answers that stand, of a whole export."""
    try:
        battles, log = read_export(folder, "parquet")
    except (OSError, pa.ArrowException) as error:
        raise Refusal(f"votes {folder}: {error}; a folder must be a whole export") from error
    with tempfile.TemporaryDirectory() as scratch:
        votes = Votes(Path(scratch) / "arena.db")
        votes.restore(battles, log)
        return votes.judged()
