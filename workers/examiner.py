"""One worker's share of a benchmark: a piece of it in, a per-trace table per candidate committed.

A table is one object under the identity of all that went into it, put once: it is there whole, or
not at all, and whoever comes second finds it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.examined import EXAMINED_SCHEMA, TASK_WINDOW_SCHEMA
from catalog.schema import digest
from catalog.store import S3Options, Store, open_store
from workers.candidate import Candidate
from workers.engines import Engine, open_engine, use_threads
from workers.labelled import open_labelled
from workers.labelled.traces import LabelledTrace, Piece, Unreadable
from workers.oracle import RULE, examine
from workers.picker import StoredCandidate, load_candidate
from workers.tasks import TASK_RULE, task_windows

TOGETHER = 64
"""Traces in memory at a time: as many windows as an engine takes at once on a CPU."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of the candidates. answer: traces, candidates -> a table each, of `schema`."""

    rule: int
    schema: pa.Schema
    answer: Callable[[Sequence[LabelledTrace | Unreadable], Sequence[Candidate]], dict[str, Any]]


QUESTIONS = {
    "traces": Question(RULE, EXAMINED_SCHEMA, examine),
    "tasks": Question(TASK_RULE, TASK_WINDOW_SCHEMA, task_windows),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A benchmark by name. strata: its columns to take along."""

    name: str
    kind: str
    path: str
    strata: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Examination:
    """What every worker is told once."""

    store: str
    options: S3Options
    candidates: Sequence[StoredCandidate]
    sources: Sequence[Source]
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Task:
    """One piece of a benchmark, for those candidates that have no table of it yet.

    question: of QUESTIONS. keys: candidate -> where its table goes.
    """

    question: str
    source: str
    piece: Piece
    keys: Mapping[str, str]


def folder(
    question: str, fingerprint: str, strata: Sequence[str], candidate: StoredCandidate
) -> str:
    """Where the tables of one benchmark and one candidate lie: named by what determines them."""
    what = {
        "benchmark": fingerprint,
        "strata": sorted(strata),
        "weights": candidate.weights_sha256,
        "engine": candidate.settings["engine"],
        "preparation": candidate.settings["preparation"],
        "rule": QUESTIONS[question].rule,
        "columns": QUESTIONS[question].schema.names,
    }
    return f"{question}/{digest(what)}"


def key_of(folder: str, piece: Piece) -> str:
    return f"{folder}/{digest(piece.chunk)[:12]}-{piece.start:09d}-{piece.stop:09d}.parquet"


class Examiner:
    """Holds the networks and the benchmarks; examines one piece at a time."""

    def __init__(self, examination: Examination) -> None:
        use_threads(examination.threads)
        self._store = open_store(examination.store, examination.options)
        engines: dict[str, Engine] = {}
        self._ready: dict[str, Candidate] = {}
        for stored in examination.candidates:
            name = stored.settings["engine"]
            if name not in engines:
                engines[name] = open_engine(name, examination.device)
            self._ready[stored.name] = load_candidate(self._store, stored, engines[name])
        self._labelled = {
            source.name: open_labelled(source.kind, source.path, source.strata)
            for source in examination.sources
        }

    def examine(self, task: Task) -> int:
        """Returns the traces of the piece, once all its tables are there."""
        labelled, question = self._labelled[task.source], QUESTIONS[task.question]
        candidates = [self._ready[name] for name in task.keys]
        parts: dict[str, list[pa.Table]] = {name: [] for name in task.keys}
        for few in _few(labelled.read(task.piece), TOGETHER):
            for name, table in question.answer(few, candidates).items():
                parts[name].append(table)
        for name, key in task.keys.items():
            put(self._store, key, pa.concat_tables([question.schema.empty_table(), *parts[name]]))
        return task.piece.stop - task.piece.start


def put(store: Store, key: str, table: pa.Table) -> None:
    """Whoever comes second leaves what is there: it was made of the same."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    store.create(key, sink.getvalue())


def _few(items: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while few := list(islice(left, size)):
        yield few
