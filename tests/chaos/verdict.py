"""Two catalogues, row for row; and every object that the disturbed one is made of."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from catalog.commits import read_commits
from catalog.query import Catalog
from catalog.store import S3Options, Store

CELL = ("candidate", "network", "station", "location", "band", "day")
PEAK = ("candidate", "network", "station", "location", "band", "phase", "time")


@dataclass(frozen=True, slots=True)
class Verdict:
    """rows: of picks and coverage together, in the undisturbed catalogue and in the other.

    lost, strange: rows of the one that the other has not. twice: picks or station-days too many.
    without: planned station-days x candidates that have no outcome. orphans: attempts that no
    commit names, which are allowed; torn: committed files that are not what their commit says.
    """

    expected: int
    found: int
    lost: int
    strange: int
    twice: int
    without: int
    retried: int
    commits: int
    orphans: int
    torn: int

    @property
    def holds(self) -> bool:
        return not (self.lost or self.strange or self.twice or self.without or self.torn)


def judge(undisturbed: str, disturbed: str, planned: int, options: S3Options) -> Verdict:
    """Compare two catalogues, by URL; planned: station-days x candidates of the campaign."""
    catalog = Catalog(disturbed, options)
    views = _views(catalog)
    wanted, found = _rows(_views(Catalog(undisturbed, options))), _rows(views)
    picks, coverage = views["picks"], views["coverage"]
    cells = _counted(coverage, CELL)
    commits, orphans, torn = _objects(catalog.store)
    return Verdict(
        expected=wanted.total(),
        found=found.total(),
        lost=(wanted - found).total(),
        strange=(found - wanted).total(),
        twice=_surplus(cells) + _surplus(_counted(picks, PEAK)),
        without=planned - len(cells),
        retried=sum(generation > 0 for generation in coverage["generation"].to_pylist()),
        commits=commits,
        orphans=orphans,
        torn=torn,
    )


def _views(catalog: Catalog) -> dict[str, pa.Table]:
    """Each read once: a catalogue of many small files takes its time."""
    return {view: catalog.sql(f"SELECT * FROM {view}") for view in ("picks", "coverage")}


def _rows(views: Mapping[str, pa.Table]) -> Counter[tuple[Any, ...]]:
    """Every row of both, whole but for the generation: a retry may have brought it."""
    rows: Counter[tuple[Any, ...]] = Counter()
    for table in views.values():
        rows += _counted(table, [name for name in table.column_names if name != "generation"])
    return rows


def _counted(table: pa.Table, columns: Sequence[str]) -> Counter[tuple[Any, ...]]:
    times = [
        table[name].cast(pa.int64()) if pa.types.is_timestamp(table[name].type) else table[name]
        for name in columns
    ]
    return Counter(zip(*(column.to_pylist() for column in times), strict=True))


def _surplus(counted: Counter[tuple[Any, ...]]) -> int:
    return counted.total() - len(counted)


def _objects(store: Store) -> tuple[int, int, int]:
    """How many commits there are; attempts that none names; named files that are not whole."""
    keys = [entry.key for entry in store.list("commits/")]
    files = {file["path"]: file for c in read_commits(store, keys) for file in c.files}
    attempts = {entry.key for entry in store.list("picks/")}
    torn = files.keys() - attempts
    for path in files.keys() & attempts:
        if hashlib.sha256(store.fetch(path)[0]).hexdigest() != files[path]["sha256"]:
            torn = torn | {path}
    return len(keys), len(attempts - files.keys()), len(torn)
