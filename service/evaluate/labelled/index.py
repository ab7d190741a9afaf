"""Every trace that an evaluation knows of, with its event: what splits and leakage are asked of."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from catalog.errors import Refusal
from eval.leakage import INDEX_SCHEMA
from service.evaluate.config import Benchmark, Evaluation
from service.evaluate.labelled.traces import PIECE, read_table, table_of
from workers.labelled import open_labelled
from workers.labelled.traces import Description


def benchmark_index(evaluation: Evaluation) -> pa.Table:
    """The traces of the benchmarks, each once: INDEX_SCHEMA."""
    tables = [INDEX_SCHEMA.empty_table(), *(_of(each) for each in evaluation.benchmark)]
    return pa.concat_tables(tables)


def training_index(evaluation: Evaluation) -> pa.Table:
    """The traces of the tables that `index` names: INDEX_SCHEMA. Raises Refusal."""
    return pa.concat_tables(
        [INDEX_SCHEMA.empty_table(), *(_conformed(read_table(p), p) for p in evaluation.index)]
    )


def _of(benchmark: Benchmark) -> pa.Table:
    if benchmark.kind == "table":
        rows = table_of(benchmark)
        names = [name for name in ("dataset", "chunk", "trace_name") if name in rows.column_names]
        rest = [name for name in INDEX_SCHEMA.names if name in rows.column_names]
        once = rows.select(rest).group_by(names, use_threads=False)
        others = [(name, "min") for name in rest if name not in names]
        found = once.aggregate(others)
        renamed = [name.removesuffix("_min") for name in found.column_names]
        return _conformed(found.rename_columns(renamed), benchmark.path)
    labelled = open_labelled(benchmark.kind, benchmark.path)
    rows = (
        _row(benchmark.name, about)
        for piece in labelled.pieces(PIECE)
        for about in labelled.describe(piece)
        if not about.noise
    )
    return pa.concat_tables([INDEX_SCHEMA.empty_table(), *_batches(rows)])


def _batches(rows: Iterator[dict[str, object]]) -> Iterator[pa.Table]:
    held: list[dict[str, object]] = []
    for row in rows:
        held.append(row)
        if len(held) == 10_000:
            yield pa.Table.from_pylist(held, INDEX_SCHEMA)
            held = []
    yield pa.Table.from_pylist(held, INDEX_SCHEMA)


def _row(dataset: str, about: Description) -> dict[str, object]:
    return {
        "dataset": dataset,
        "chunk": about.chunk,
        "trace_name": about.trace_name,
        "event_id": about.event_id,
        "origin_time": about.origin_ns,
        "latitude": about.latitude,
        "longitude": about.longitude,
    }


def _conformed(table: pa.Table, path: str) -> pa.Table:
    for name in ("dataset", "trace_name"):
        if name not in table.column_names:
            raise Refusal(f"{path}: no column {name!r}; it needs one of {INDEX_SCHEMA.names}")
    try:
        columns = [
            table[field.name].cast(field.type)
            if field.name in table.column_names
            else pa.nulls(table.num_rows, field.type)
            for field in INDEX_SCHEMA
        ]
    except pa.ArrowException as error:
        raise Refusal(f"{path}: a column of another type: {error}") from error
    return pa.table(columns, schema=INDEX_SCHEMA)
