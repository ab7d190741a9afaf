"""One worker's share of an evaluation: a piece of it in, its tables committed.

A piece is some traces of a benchmark (workers/trace_pieces.py), or what is asked of one station-day
(workers/day_pieces.py). Its tables lie under the identity of all that went into them, each put
once: it is there whole, or not at all, and whoever comes second finds it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from catalog.store import AccessDenied, S3Options, Store, open_store
from workers.archives import Archive, ArchiveConfig, FilesArchive, open_archive
from workers.archives.files import Index
from workers.candidate import Candidate
from workers.decoded import BadFormat
from workers.engines import Engine, open_engine, use_threads
from workers.labelled import open_labelled
from workers.labelled.traces import Labelled
from workers.picker import StoredCandidate, load_candidate


@dataclass(frozen=True, slots=True)
class Examination:
    """What every worker is told once. store: where weights lie and tables go. file_indexes: of
    `files` archives, what the driver found in each object."""

    store: str
    options: S3Options
    candidates: Sequence[StoredCandidate] = ()
    file_indexes: Mapping[ArchiveConfig, Index] = field(default_factory=dict)
    device: str = "cpu"
    threads: int = 1


@dataclass(frozen=True, slots=True)
class Source:
    """A benchmark by name. strata: its columns to take along."""

    name: str
    kind: str
    path: str
    strata: tuple[str, ...] = ()


class Task(Protocol):
    """A piece of an examination: a dataclass that travels to a worker."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """As it is called where it could not be done."""
        ...

    @property
    def keys(self) -> Mapping[str, str]:
        """Candidate -> where its table goes; "" for a table that is no candidate's."""
        ...

    def tables(self, examiner: Examiner) -> dict[str, pa.Table]:
        """A table for each of `keys`, by the same name.

        Raises AccessDenied and BadFormat where what it is of cannot be read.
        """
        ...


class Examiner:
    """Holds networks, benchmarks and archives; examines one piece at a time."""

    def __init__(self, examination: Examination) -> None:
        use_threads(examination.threads)
        self._store = open_store(examination.store, examination.options)
        self._file_indexes = examination.file_indexes
        self._archives: dict[ArchiveConfig, Archive] = {}
        self._labelled: dict[Source, Labelled] = {}
        engines: dict[str, Engine] = {}
        self._ready: dict[str, Candidate] = {}
        for stored in examination.candidates:
            name = stored.settings["engine"]
            if name not in engines:
                engines[name] = open_engine(name, examination.device)
            self._ready[stored.name] = load_candidate(self._store, stored, engines[name])

    def candidate(self, name: str) -> Candidate:
        """A candidate of the examination, loaded."""
        return self._ready[name]

    def labelled(self, source: Source) -> Labelled:
        """Opened once. Raises BenchmarkError."""
        if source not in self._labelled:
            self._labelled[source] = open_labelled(source.kind, source.path, source.strata)
        return self._labelled[source]

    def archive(self, config: ArchiveConfig) -> Archive:
        """Opened once."""
        if config not in self._archives:
            archive = open_archive(config)
            if isinstance(archive, FilesArchive) and config in self._file_indexes:
                archive.index = self._file_indexes[config]
            self._archives[config] = archive
        return self._archives[config]

    def examine(self, task: Task) -> str:
        """Nothing once all tables of the piece are there; else why it cannot be read: then none of
        them is, and a later examination looks again."""
        try:
            made = task.tables(self)
        except (AccessDenied, BadFormat) as error:
            return str(error)
        for name, key in task.keys.items():
            put(self._store, key, made[name])
        return ""


def put(store: Store, key: str, table: pa.Table) -> None:
    """Whoever comes second leaves what is there: it was made of the same."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    store.create(key, sink.getvalue())
