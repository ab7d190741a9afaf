"""Pieces of an evaluation, each examined once: what is committed is read back, the rest is run.

All that reads waveforms or runs networks over many traces or station-days goes this way; tables are
put together from the pieces in the order in which these are asked for, whoever did them and when.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from posixpath import dirname

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track

from catalog.store import S3Options, Store, fetch_all, open_store
from service.campaign import Compute
from service.evaluate.config import Evaluation
from service.evaluate.pool import Over, examined
from workers.archives import Archive, ArchiveConfig, FilesArchive
from workers.examiner import Examination, Task
from workers.picker import StoredCandidate


@dataclass(frozen=True, slots=True)
class Committed:
    """keys: of the tables that are there. undone: key -> the piece that has none, and why."""

    store: Store
    keys: frozenset[str]
    undone: Mapping[str, Over]

    def tables(self, keys: Iterable[str]) -> list[pa.Table]:
        """Those of the keys that are there, in order."""
        there = [key for key in keys if key in self.keys]
        return [pq.read_table(pa.BufferReader(body)) for body in fetch_all(self.store, there)]


@dataclass(frozen=True, slots=True)
class Workbench:
    """Where pieces of an evaluation are examined, and kept.

    where: a path or s3:// URL that all workers reach. unfinished: pieces that were lost with their
    workers, and why; they are run again by the next invocation.
    """

    where: str
    store: Store
    compute: Compute
    console: Console
    address: str | None = None
    unfinished: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, evaluation: Evaluation, console: Console, address: str | None = None) -> Workbench:
        where = evaluation.traces or str(Path(evaluation.out) / "traces")
        return cls(where, open_store(where), evaluation.compute, console, address)

    def examine(
        self,
        doing: str,
        tasks: Sequence[Task],
        candidates: Sequence[StoredCandidate] = (),
        archives: Mapping[ArchiveConfig, Archive] | None = None,
    ) -> Committed:
        """Runs those that are not committed yet. doing: what the progress bar calls it."""
        there = self._there(tasks)
        due = []
        for task in tasks:
            lacking = {name: key for name, key in task.keys.items() if key not in there}
            if lacking:
                due.append(replace(task, keys=lacking))
        undone: dict[str, Over] = {}
        if due:
            told = self._examination(candidates, archives or {})
            over = examined(told, due, self.compute, self.address)
            for each in track(over, doing, total=len(due), console=self.console):
                keys = each.task.keys.values()
                if each.why:
                    undone.update(dict.fromkeys(keys, each))
                else:
                    there.update(keys)
                if each.lost:
                    self.unfinished[each.task.name] = each.why
        return Committed(self.store, frozenset(there), undone)

    def tell_unfinished(self) -> int:
        """The exit code: 1 where a piece was lost, and each of them on stderr."""
        for piece, why in self.unfinished.items():
            print(f"tidepick: {piece}: {why}; run the same command again", file=sys.stderr)
        return 1 if self.unfinished else 0

    def _there(self, tasks: Sequence[Task]) -> set[str]:
        folders = sorted({dirname(key) for task in tasks for key in task.keys.values()})
        return {found.key for each in folders for found in self.store.list(f"{each}/")}

    def _examination(
        self, candidates: Sequence[StoredCandidate], archives: Mapping[ArchiveConfig, Archive]
    ) -> Examination:
        return Examination(
            self.where,
            S3Options(),
            candidates,
            {c: each.index for c, each in archives.items() if isinstance(each, FilesArchive)},
            self.compute.device,
            max(1, int(self.compute.cpus_per_worker)),
        )
