"""Some traces of a benchmark, examined: what each candidate says of them, a table each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import pyarrow as pa

from catalog.examined import EXAMINED_SCHEMA, TASK_WINDOW_SCHEMA
from catalog.schema import digest
from workers.candidate import Candidate
from workers.examiner import Examiner, Source
from workers.labelled.traces import LabelledTrace, Piece, Unreadable
from workers.oracle import RULE, examine
from workers.picker import StoredCandidate
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
class TracePiece:
    """question: of QUESTIONS. keys: candidate -> where its table goes."""

    question: str
    source: Source
    piece: Piece
    keys: Mapping[str, str]

    @property
    def name(self) -> str:
        chunk = f" {self.piece.chunk}" if self.piece.chunk else ""
        return f"{self.source.name}{chunk} {self.piece.start}-{self.piece.stop}"

    def tables(self, examiner: Examiner) -> dict[str, pa.Table]:
        question = QUESTIONS[self.question]
        candidates = [examiner.candidate(name) for name in self.keys]
        parts = {name: [question.schema.empty_table()] for name in self.keys}
        for few in _few(examiner.labelled(self.source).read(self.piece), TOGETHER):
            for name, table in question.answer(few, candidates).items():
                parts[name].append(table)
        return {name: pa.concat_tables(tables) for name, tables in parts.items()}


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


def _few(items: Iterable[T], size: int) -> Iterator[list[T]]:
    left = iter(items)
    while few := list(islice(left, size)):
        yield few
