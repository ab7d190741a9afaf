"""The per-trace table of an evaluation: what is not committed yet is run, then all is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track

from catalog.errors import Refusal
from catalog.schema import EXAMINED_SCHEMA, PHASES, TRACE_SCHEMA, Outcome
from catalog.store import S3Options, Store, fetch_all, open_store
from eval.traces import conformed
from service.campaign import Compute
from service.evaluate.config import Benchmark, Evaluation, Judged
from service.evaluate.pool import examined
from service.prepare import candidate_weights
from workers.examiner import QUESTIONS, Examination, Source, Task, folder, key_of
from workers.labelled import open_labelled
from workers.labelled.traces import Labelled, Piece
from workers.oracle import facts
from workers.picker import StoredCandidate, store_weights

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
    that nobody could finish, with the reason. question: of workers.examiner.QUESTIONS."""
    sources = [
        Source(each.name, each.kind, each.path, tuple(each.strata))
        for each in evaluation.benchmark
        if each.kind != "table"
    ]
    if not sources:
        return [], {}
    where = evaluation.traces or str(Path(evaluation.out) / "traces")
    store = open_store(where)
    stored = [_stored(store, each, evaluation.compute) for each in evaluation.candidate]
    labelled = {s.name: open_labelled(s.kind, s.path, s.strata) for s in sources}
    compute = evaluation.compute
    examination = Examination(
        where,
        S3Options(),
        stored,
        sources,
        compute.device,
        max(1, int(compute.cpus_per_worker)),
    )
    tasks = [
        task
        for source in sources
        for task in _due(question, store, source, labelled[source.name], stored)
    ]
    failed: dict[str, dict[Piece, str]] = {source.name: {} for source in sources}
    over = examined(examination, tasks, compute, address) if tasks else iter(())
    for task, why in track(over, "examining", total=len(tasks), console=console, disable=not tasks):
        if why:
            failed[task.source][task.piece] = why
    tables = []
    for source in sources:
        its = labelled[source.name], failed[source.name]
        for each in stored:
            said = _collected(question, store, source, each, *its)
            tables.append(_named(said, each.name, source.name))
    unfinished = {
        f"{source} {piece.chunk} {piece.start}-{piece.stop}".replace("  ", " "): why
        for source, pieces in failed.items()
        for piece, why in pieces.items()
    }
    return tables, unfinished


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


def _due(
    question: str,
    store: Store,
    source: Source,
    labelled: Labelled,
    stored: Sequence[StoredCandidate],
) -> Iterator[Task]:
    """The pieces that some candidate has no table of."""
    folders = {c.name: folder(question, labelled.fingerprint, source.strata, c) for c in stored}
    there = {found.key for each in folders.values() for found in store.list(f"{each}/")}
    for piece in labelled.pieces(PIECE):
        keys = {name: key_of(each, piece) for name, each in folders.items()}
        lacking = {name: key for name, key in keys.items() if key not in there}
        if lacking:
            yield Task(question, source.name, piece, lacking)


def _collected(
    question: str,
    store: Store,
    source: Source,
    candidate: StoredCandidate,
    labelled: Labelled,
    failed: Mapping[Piece, str],
) -> pa.Table:
    under = folder(question, labelled.fingerprint, source.strata, candidate)
    there = {found.key for found in store.list(f"{under}/")}
    pieces = list(labelled.pieces(PIECE))
    keys = [key for piece in pieces if (key := key_of(under, piece)) in there]
    tables = [pq.read_table(pa.BufferReader(body)) for body in fetch_all(store, keys)]
    for piece in pieces:
        if key_of(under, piece) not in there and question == "traces":
            tables.append(_lost(labelled, piece, failed[piece]))
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
