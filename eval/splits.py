"""Development, tuning and test, split by event, and a test split that cannot be opened unseen.

All traces of one event fall into one split, also when the event stands in several catalogues
(`eval.leakage.components`). Thresholds are solved on tuning. The test split is kept where it is
read through `open_test` alone, which writes down who opened it and why before it reads a byte; the
seal keeps a record, not a secret.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from catalog.schema import digest, utc_now
from catalog.store import Store
from eval.leakage import components
from eval.traces import keys

SPLITS = ("development", "tuning", "test")
UNASSIGNED = "unassigned"
"""The split of a trace without an event id and without an origin: it may be any event."""

SHARES: Mapping[str, float] = {"development": 0.6, "tuning": 0.2, "test": 0.2}

OPENING_SCHEMA = pa.schema(
    [
        ("opened", pa.string()),  # UTC
        ("candidates", pa.string()),  # joined by commas
        ("why", pa.string()),
    ]
)

LOOKED_SCHEMA = pa.schema(
    [
        ("split", pa.string()),  # of the traces that were judged; `all` where there are no splits
        ("traces", pa.int64()),
        ("left_out", pa.int64()),  # traces of other splits, or of none
        ("thresholds", pa.string()),  # how they were found, in words
        ("solved_on", pa.string()),  # of which split, or noise; null where they are given
    ]
)

_ABOUT = "splits.json"


def split(index: pa.Table, *, seed: int, shares: Mapping[str, float] = SHARES) -> pa.Table:
    """The index (`eval.leakage.INDEX_SCHEMA`) with `component` and `split`.

    Whether an event is in a split depends on the seed and on its own traces alone, so that events
    added later, or another order of rows, move none of the others. Shares are met on average.
    """
    if set(shares) != set(SPLITS) or abs(sum(shares.values()) - 1) > 1e-9:
        raise ValueError(f"shares {dict(shares)}: give one for each of {SPLITS}, together 1")
    part_of = components(index)
    names = np.array(_names(index), object)
    identity = [""] * (int(part_of.max(initial=-1)) + 1)
    for component, name in zip(part_of.tolist(), names, strict=True):
        if identity[component] == "" or name < identity[component]:
            identity[component] = name
    edges = np.cumsum([shares[name] for name in SPLITS])
    edges[-1] = 1.0
    draws = np.array([int(digest([seed, name])[:13], 16) / 16**13 for name in identity])
    chosen = np.array(SPLITS, object)[np.searchsorted(edges, draws, side="right")]
    known = index["event_id"].is_valid().to_numpy()
    located = np.ones(index.num_rows, bool)
    for name in ("origin_time", "latitude", "longitude"):
        located &= index[name].is_valid().to_numpy()
    of_row = np.where(known | located, chosen[part_of], UNASSIGNED)
    return index.append_column("component", pa.array(part_of)).append_column(
        "split", pa.array(of_row.tolist(), pa.string())
    )


def write(store: Store, assigned: pa.Table, *, seed: int) -> None:
    """Keep the splits of `split` below a store's root. Raises ValueError where others are kept."""
    bodies = {
        name: _body(assigned.filter(pa.array(np.array(assigned["split"].to_pylist()) == name)))
        for name in (*SPLITS, UNASSIGNED)
    }
    about = {
        "seed": seed,
        "sha256": {name: hashlib.sha256(body).hexdigest() for name, body in bodies.items()},
    }
    text = json.dumps(about, indent=1, sort_keys=True).encode()
    if not store.create(_ABOUT, text) and store.fetch(_ABOUT)[0] != text:
        raise ValueError(f"{store.url_of(_ABOUT)}: other splits are kept there; choose a new place")
    for name, body in bodies.items():
        store.create(f"{name}.parquet", body)


def read(store: Store, name: str) -> pa.Table:
    """One split that needs no seal. The test split is `open_test`."""
    if name == "test":
        raise ValueError("split 'test' is sealed: open it with open_test, which writes it down")
    if name not in (*SPLITS, UNASSIGNED):
        raise ValueError(f"split {name!r}: there are {(*SPLITS, UNASSIGNED)}")
    return _read(store, name)


def open_test(store: Store, candidates: Sequence[str], why: str) -> pa.Table:
    """The test split. The opening is on record, durably, before anything is read."""
    if not candidates or not why.strip():
        raise ValueError("open_test: name the candidates, and say why the test split is opened")
    opened = utc_now()
    record = {"opened": opened, "candidates": sorted(candidates), "why": why}
    body = json.dumps(record, sort_keys=True).encode()
    store.create(f"openings/{opened.replace(':', '')}-{uuid.uuid4().hex}.json", body)
    return _read(store, "test")


def openings(store: Store) -> pa.Table:
    """Every opening of the test split so far, in order: OPENING_SCHEMA."""
    records = [json.loads(store.fetch(found.key)[0]) for found in store.list("openings/")]
    rows = [record | {"candidates": ", ".join(record["candidates"])} for record in records]
    return pa.Table.from_pylist(rows, OPENING_SCHEMA)


def _names(index: pa.Table) -> list[str]:
    """What identifies each row's event: its id where it has one, else the trace."""
    return [
        f"trace\x00{key}" if event is None else f"event\x00{event}"
        for event, key in zip(index["event_id"].to_pylist(), keys(index).to_pylist(), strict=True)
    ]


def _body(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def _read(store: Store, name: str) -> pa.Table:
    about = json.loads(store.fetch(_ABOUT)[0])
    body, _ = store.fetch(f"{name}.parquet")
    if hashlib.sha256(body).hexdigest() != about["sha256"][name]:
        raise ValueError(f"{store.url_of(f'{name}.parquet')}: not the split that was made; remake")
    return pq.read_table(pa.BufferReader(body))
