"""The ledger: what all commits of a calendar month say, as one table.

A commit is a small object, and a large catalogue has millions of them. So a run leaves summaries,

    ledger/<month>/<number of commits>-<digest of their keys>.parquet

each made of exactly the commits that its name stands for, and never changed. The commits alone are
the truth: whoever reads a month lists its commits, takes from a summary what that holds of them,
and fetches the rest. A summary that is removed is made again. Memory is one month of the network.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from catalog.commits import CatalogError, Commit, read_commits
from catalog.schema import COVERAGE_SCHEMA, LEDGER_SCHEMA, digest
from catalog.store import Store

BATCH = 2000
"""Commits that are held as Python objects at a time."""

AHEAD = 8
"""Months that are listed at a time."""

ROW_GROUP = 122_880

_CELL = ("candidate", "network", "station", "location", "band", "day")
_CODED = [field.name for field in LEDGER_SCHEMA if pa.types.is_string(field.type)]
_OF_COMMIT = ("candidate", "run", "shard", "generation", "file", "standing")
_OF_ROW = [name for name in COVERAGE_SCHEMA.names if name not in _OF_COMMIT]


@dataclass(frozen=True, slots=True)
class Month:
    """What a catalogue holds of a month. commits: names, sorted; summaries: keys, oldest first."""

    name: str
    commits: Sequence[str]
    summaries: Sequence[str]

    @property
    def summary(self) -> str:
        """Key of the summary of exactly these commits, be it there or not."""
        return f"ledger/{self.name}/{len(self.commits):09d}-{digest(self.commits)}.parquet"

    @property
    def summarised(self) -> bool:
        """Whether a summary holds exactly these commits."""
        return self.summary in self.summaries


def months(store: Store) -> Sequence[str]:
    """The months that have commits, `YYYY-MM`, sorted."""
    return store.folders("commits/")


def list_months(store: Store, names: Iterable[str]) -> Iterator[Month]:
    """The listings of some months, in their order; a few are asked for ahead."""
    waiting: deque[Future[Month]] = deque()
    with ThreadPoolExecutor(AHEAD) as pool:
        for name in names:
            waiting.append(pool.submit(_list_month, store, name))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def read_month(store: Store, month: Month) -> pa.Table:
    """LEDGER_SCHEMA: every row of every commit of a month, by candidate, trace and day.

    Text is dictionary-encoded. Raises CatalogError where a commit or a summary is damaged.
    """
    if month.summarised:
        return _read_summary(store, month.summary)
    wanted = pa.array(month.commits, pa.string())
    tables = []
    if month.summaries:
        known = _read_summary(store, month.summaries[-1])
        names = _commit_names(known)
        tables = [known.filter(pc.is_in(names, wanted))]  # nothing outlives its commit
        wanted = wanted.filter(pc.invert(pc.is_in(wanted, names.unique())))
    for start in range(0, len(wanted), BATCH):
        names = wanted.slice(start, BATCH).to_pylist()
        keys = [f"commits/{month.name}/{name}.json" for name in names]
        tables.append(tabulate(read_commits(store, keys)))
    return resolve(pa.concat_tables(tables) if tables else _encoded(LEDGER_SCHEMA.empty_table()))


def summarise(store: Store, month: Month) -> pa.Table:
    """As `read_month`, and leaves a summary for the next reader unless there is one."""
    rows = read_month(store, month)
    if not month.summarised and month.commits:
        sink = io.BytesIO()
        write_summary(rows, sink)
        store.create(month.summary, sink.getvalue())
    return rows


def write_summary(rows: pa.Table, sink: Any) -> None:
    """Rows of a month as parquet, to a path or a file."""
    pq.write_table(
        rows,
        sink,
        compression="zstd",
        row_group_size=ROW_GROUP,
        write_page_checksum=True,
        store_schema=False,
    )


def tabulate(records: Iterable[Commit]) -> pa.Table:
    """LEDGER_SCHEMA of some commits, unresolved. Raises CatalogError where a row is not whole."""
    columns: dict[str, list[Any]] = {name: [] for name in LEDGER_SCHEMA.names}
    for record in records:
        try:
            for name in _OF_ROW:
                columns[name] += [row[name] for row in record.coverage]
        except KeyError as error:
            raise CatalogError(
                f"{record.key}: damaged (coverage lacks {error}); restore it from a copy of the "
                "catalogue"
            ) from error
        path = record.files[0]["path"] if record.files else ""
        own = (record.candidate, record.run, record.shard, record.generation, path, False)
        for name, value in zip(_OF_COMMIT, own, strict=True):
            columns[name] += [value] * len(record.coverage)
    columns["day"] = [date.fromisoformat(day) for day in columns["day"]]
    return _encoded(pa.table(columns, schema=LEDGER_SCHEMA))


def resolve(rows: pa.Table) -> pa.Table:
    """Sort, and mark the one row that speaks for each candidate and station-day as standing.

    It is that of the highest generation, then of the smallest shard.
    """
    rows = rows.unify_dictionaries()
    cell = np.zeros(rows.num_rows, np.int64)
    for name in _CELL:
        rank, count = _ranks(rows[name])
        cell = cell * count + rank
    newest = -rows["generation"].to_numpy().astype(np.int64)
    order = np.lexsort([_ranks(rows["shard"])[0], newest, cell])
    cell = cell[order]
    standing = np.ones(len(cell), bool)
    standing[1:] = cell[1:] != cell[:-1]
    return rows.take(order).set_column(
        rows.column_names.index("standing"), "standing", pa.array(standing)
    )


def _list_month(store: Store, name: str) -> Month:
    # summaries first: one made meanwhile then stands for no more than is listed
    summaries = [e.key for e in store.list(f"ledger/{name}/") if e.key.endswith(".parquet")]
    folder = f"commits/{name}/"
    commits = [
        entry.key.removeprefix(folder).removesuffix(".json")
        for entry in store.list(folder)
        if entry.key.endswith(".json")
    ]
    return Month(name, commits, summaries)


def _read_summary(store: Store, key: str) -> pa.Table:
    body, _ = store.fetch(key)
    try:
        rows = pq.read_table(
            io.BytesIO(body), read_dictionary=_CODED, page_checksum_verification=True
        )
        return rows.select(LEDGER_SCHEMA.names)
    except (pa.ArrowException, OSError, KeyError) as error:
        why = " ".join(str(error).split())
        raise CatalogError(
            f"{store.url_of(key)}: damaged ({why}); remove it, the next run makes it again"
        ) from error


def _commit_names(rows: pa.Table) -> pa.ChunkedArray:
    generation = pc.utf8_lpad(pc.cast(rows["generation"], pa.string()), 6, "0")
    return pc.binary_join_element_wise(pc.cast(rows["shard"], pa.string()), generation, ".")


def _encoded(rows: pa.Table) -> pa.Table:
    for k, field in enumerate(LEDGER_SCHEMA):
        if field.name in _CODED:
            rows = rows.set_column(k, field.name, rows[field.name].dictionary_encode())
    return rows


def _ranks(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], int]:
    """Where the value of each row stands among the distinct ones, and how many those are."""
    coded = column.combine_chunks()
    if not pa.types.is_dictionary(coded.type):
        coded = coded.dictionary_encode()
    place = np.empty(len(coded.dictionary), np.int64)
    place[pc.sort_indices(coded.dictionary).to_numpy()] = np.arange(len(place))
    return place[coded.indices.to_numpy()], max(1, len(place))
