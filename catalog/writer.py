"""Picks -> one parquet file of an attempt, about 11 bytes a pick."""

from __future__ import annotations

import hashlib
import io
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.schema import PICK_ORDER, PICK_SCHEMA
from catalog.store import Store

ROW_GROUP = 122_880

_DICTIONARY = [field.name for field in PICK_SCHEMA if pa.types.is_string(field.type)]
_ENCODING = {"time": "DELTA_BINARY_PACKED"} | {
    field.name: "BYTE_STREAM_SPLIT" for field in PICK_SCHEMA if pa.types.is_float32(field.type)
}


def partition(candidate: str, day: date) -> str:
    """Folder of a candidate's picks of the month that holds a day."""
    return f"picks/candidate={candidate}/year={day.year:04d}/month={day.month:02d}"


def encode(picks: pa.Table) -> bytes:
    """A PICK_SCHEMA table as parquet, sorted by trace and time."""
    picks = picks.cast(PICK_SCHEMA).sort_by([(name, "ascending") for name in PICK_ORDER])
    sink = io.BytesIO()
    pq.write_table(
        picks,
        sink,
        compression="zstd",
        use_dictionary=_DICTIONARY,
        column_encoding=_ENCODING,
        row_group_size=ROW_GROUP,
        data_page_version="2.0",
    )
    return sink.getvalue()


def write_attempt(store: Store, key: str, picks: pa.Table) -> dict[str, Any]:
    """Write picks (PICK_SCHEMA) under a fresh key; returns what a commit says of the file.

    Raises FileExistsError for a key that has been used, and StoreError.
    """
    body = encode(picks)
    if not store.create(key, body):
        raise FileExistsError(f"{store.url_of(key)}: an attempt's key is never used twice")
    return {
        "path": key,
        "rows": picks.num_rows,
        "bytes": len(body),
        "sha256": hashlib.sha256(body).hexdigest(),
    }
