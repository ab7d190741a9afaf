"""The per-trace table of an evaluation: what is not committed yet is run, then all is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console

from catalog.errors import Refusal
from catalog.examined import EXAMINED_SCHEMA, TRACE_SCHEMA
from catalog.schema import PHASES, Outcome
from catalog.store import Store
from eval.traces import conformed
from service.campaign import Compute
from service.evaluate.config import Benchmark, Evaluation, Judged
from service.evaluate.pieces import Committed, Workbench
from service.prepare import candidate_weights
from workers.examiner import Source
from workers.labelled import open_labelled
from workers.labelled.traces import Labelled, Piece
from workers.oracle import facts
from workers.picker import StoredCandidate, store_weights
from workers.trace_pieces import QUESTIONS, TracePiece, folder, key_of

PIECE = 512
"""Traces of a piece: committed every few seconds."""


@dataclass(frozen=True, slots=True)
class Traces:
    """table: TRACE_SCHEMA and the strata that benchmarks name, all benchmarks together.

    unfinished: pieces without a table, and why; their traces are in the table as failed.
    """

    table: pa.Table
    unfinished: Mapping[str, str]


def per_trace(evaluation: Evaluation, console: Console, address: str | None = None) -> Traces:
    """Every candidate on every trace of every benchmark. What is committed is not run again.

    Raises BenchmarkError, WeightsError, StoreError.
    """
    made = [table_of(each) for each in evaluation.benchmark if each.kind == "table"]
    ran, unfinished = answers("traces", evaluation, console, address)
    tables = [_with_strata(each, evaluation) for each in (*made, *ran)]
    if not tables:
        raise Refusal("benchmark: none is named; add a [[benchmark]] with name, kind and path")
    return Traces(pa.concat_tables(tables, promote_options="default"), unfinished)


def table_of(benchmark: Benchmark) -> pa.Table:
    """A per-trace table that was made elsewhere. Raises Refusal."""
    table = read_table(benchmark.path)
    if "trace_name" not in table.column_names and "trace_id" in table.column_names:
        table = table.rename_columns(
            ["trace_name" if name == "trace_id" else name for name in table.column_names]
        )
    if "dataset" not in table.column_names:
        table = table.append_column("dataset", pa.repeat(benchmark.name, table.num_rows))
    for field in TRACE_SCHEMA:
        if field.name in table.column_names and pa.types.is_large_string(table[field.name].type):
            at = table.column_names.index(field.name)
            table = table.set_column(at, field.name, table[field.name].cast(field.type))
    try:
        conformed(table)
    except ValueError as error:
        raise Refusal(f"benchmark {benchmark.path}: {error}") from error
    return table


def read_table(path: str) -> pa.Table:
    """A csv or parquet file. Raises Refusal, naming it."""
    readers = {".parquet": pq.read_table, ".csv": pa.csv.read_csv}
    file = Path(path).expanduser()
    if file.suffix not in readers:
        raise Refusal(f"{path}: a table is a .parquet or .csv file")
    try:
        return readers[file.suffix](file)
    except (OSError, pa.ArrowException) as error:
        raise Refusal(f"{path}: cannot be read: {' '.join(str(error).split())}") from error


def read_names(path: str) -> pa.Table:
    """`read_table`, every column as text: names that look like numbers, or are all empty."""
    table = read_table(path)
    return table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))


def answers(
    question: str, evaluation: Evaluation, console: Console, address: str | None
) -> tuple[list[pa.Table], dict[str, str]]:
    """What every candidate says of every benchmark, with `weight` and `dataset`; and the pieces
    that nobody could finish, with the reason. question: of workers.trace_pieces.QUESTIONS."""
    sources = [
        Source(each.name, each.kind, each.path, tuple(each.strata))
        for each in evaluation.benchmark
        if each.kind != "table"
    ]
    if not sources:
        return [], {}
    bench = Workbench.of(evaluation, console, address)
    stored = [_stored(bench.store, each, evaluation.compute) for each in evaluation.candidate]
    labelled = {
        source: open_labelled(source.kind, source.path, source.strata) for source in sources
    }
    pieces = {
        source: list(_pieces(question, source, labelled[source], stored)) for source in sources
    }
    found = bench.examine("examining", list(chain.from_iterable(pieces.values())), stored)
    tables = [
        _named(
            _collected(question, found, labelled[source], own, each.name), each.name, source.name
        )
        for source, own in pieces.items()
        for each in stored
    ]
    return tables, bench.unfinished


def _stored(store: Store, config: Judged, compute: Compute) -> StoredCandidate:
    """A candidate with its weights in the store. Windows are judged by themselves: its stacking and
    blinding, which are of continuous data, do not count."""
    ensemble = candidate_weights(config)
    settings = {
        "engine": config.engine or compute.resolved_engine,
        "floors": {phase: getattr(config, f"{phase}_threshold") for phase in PHASES},
        "stacking": "avg",
        "blinding": [0, 0],
        "preparation": ensemble.preparation,
        "quality": "strict",
    }
    kept = tuple(store_weights(store, member) for member in ensemble.members)
    return StoredCandidate(config.name, ensemble.sha256, kept, settings)


def _pieces(
    question: str, source: Source, labelled: Labelled, stored: Sequence[StoredCandidate]
) -> Iterator[TracePiece]:
    folders = {c.name: folder(question, labelled.fingerprint, source.strata, c) for c in stored}
    for piece in labelled.pieces(PIECE):
        keys = {name: key_of(each, piece) for name, each in folders.items()}
        yield TracePiece(question, source, piece, keys)


def _collected(
    question: str,
    found: Committed,
    labelled: Labelled,
    pieces: Sequence[TracePiece],
    candidate: str,
) -> pa.Table:
    """What is committed, and after it the traces of pieces that were lost."""
    tables = found.tables(each.keys[candidate] for each in pieces)
    for each in pieces:
        over = found.undone.get(each.keys[candidate])
        if over is not None and question == "traces":
            tables.append(_lost(labelled, each.piece, over.why))
    return pa.concat_tables([QUESTIONS[question].schema.empty_table(), *tables])


def _lost(labelled: Labelled, piece: Piece, why: str) -> pa.Table:
    end = {"outcome": Outcome.FAILED.value, "detail": why, "p_in_window": -1, "s_in_window": -1}
    rows = [facts(about) | end for about in labelled.describe(piece) if not about.noise]
    return pa.Table.from_pylist(rows, EXAMINED_SCHEMA)


def _named(examined: pa.Table, weight: str, dataset: str) -> pa.Table:
    for name, value in (("dataset", dataset), ("weight", weight)):
        examined = examined.append_column(name, pa.repeat(value, examined.num_rows))
    first = [name for name in TRACE_SCHEMA.names if name in examined.column_names]
    return examined.select(first + [n for n in examined.column_names if n not in first])


def _with_strata(table: pa.Table, evaluation: Evaluation) -> pa.Table:
    """The map of strata as columns of text, so that bins can be named by them."""
    if "strata" not in table.column_names:
        return table
    for name in extra_strata(evaluation):
        if name not in table.column_names:
            values = pc.map_lookup(table["strata"], name, "first")
            table = table.append_column(name, values)
    return table.drop_columns("strata")


def extra_strata(evaluation: Evaluation) -> list[str]:
    """The columns that benchmarks name beside distance, depth, magnitude and signal to noise."""
    return list(dict.fromkeys(name for each in evaluation.benchmark for name in each.strata))
