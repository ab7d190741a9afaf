"""Objects that told nothing when an earlier run was planned, and tell something now.

Of a `files` archive nobody knows which station-days such an object holds: they are picked without
it, like any that lack a component. Once it is mended they are due again, and those beside it whose
halo it reaches into, until commits stand that have read it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.commits import commit_key, read_commits
from catalog.runs import runs_table
from catalog.schema import DAY_NS, EPOCH, Outcome
from catalog.store import Store
from catalog.verbs import printable
from service.prepare import Prepared
from workers.archives.files import Index
from workers.span import margin_ns

BATCH = 1000
"""Commits that are held at a time; each names all that it read."""

LEFT_TO_RETRY = (Outcome.FAILED, Outcome.ACCESS_DENIED)
"""Outcomes that say themselves what is lacking, and are tried again when they are named."""

Cell = tuple[str, int]
"""NET.STA.LOC.BAND and a day, counted from EPOCH."""


@dataclass(frozen=True, slots=True)
class Mended:
    """versions: of the mended objects that picking a station-day reads, URL -> ETag."""

    store: Store
    versions: Mapping[Cell, Mapping[str, str]]

    def missed(self, rows: pa.Table, names: pa.ChunkedArray) -> NDArray[np.bool_]:
        """bool [row] of standing rows (LEDGER_SCHEMA), True where the commit did not read them all,
        as they are now.

        names: NET.STA.LOC.BAND [row]. Raises CatalogError where a commit is damaged.
        """
        known = pc.is_in(names, pa.array({name for name, _ in self.versions}, pa.string()))
        left = pc.is_in(rows["outcome"].cast(pa.string()), pa.array(LEFT_TO_RETRY, pa.string()))
        places = np.flatnonzero(pc.and_not(known, left).to_numpy())
        some = rows.select(["shard", "generation", "day"]).take(places)
        some = some.append_column("place", pa.array(places)).append_column(
            "name", names.take(places)
        )
        asked: dict[str, dict[int, Mapping[str, str]]] = defaultdict(dict)
        for row in some.to_pylist():
            if versions := self.versions.get((row["name"], (row["day"] - EPOCH).days)):
                asked[commit_key(row["shard"], row["generation"])][row["place"]] = versions
        missed = np.zeros(rows.num_rows, bool)
        keys = list(asked)
        for first in range(0, len(keys), BATCH):
            for record in read_commits(self.store, keys[first : first + BATCH]):
                for place, versions in asked[record.key].items():
                    missed[place] = not versions.items() <= record.inputs.items()
        return missed


def mended(prepared: Prepared) -> Mended | None:
    """What of its archive could not be looked into for an earlier run and can be now, or None."""
    assignment, plan = prepared.assignment, prepared.plan
    if assignment.file_index is None:
        return None
    traces = set(map(str, plan.traces))
    margin = max(margin_ns(rate) for c in assignment.candidates for rate in _rates(c.settings))
    first, last = ((day - EPOCH).days for day in (plan.start, plan.end))
    archive = assignment.archive.store()
    versions: dict[Cell, dict[str, str]] = defaultdict(dict)
    for key in _once_unlooked(prepared.store, assignment.file_index):
        for trace, start_ns, end_ns in assignment.file_index[key].get("spans", ()):
            if trace in traces:
                low, high = (start_ns - margin) // DAY_NS, -(-(end_ns + margin) // DAY_NS)
                for day in range(max(low, first), min(high, last)):
                    versions[trace, day][archive.url_of(key)] = assignment.file_index[key]["etag"]
    return Mended(prepared.store, versions) if versions else None


def _once_unlooked(store: Store, index: Index) -> Set[str]:
    """Keys of all objects that a record says told nothing, and tell something now.

    A run's record belongs to one plan, and a mended object may make another: every run counts.
    A record that names not all of them may mean any object.
    """
    named: set[str] = set()
    for row in runs_table(store).select(["unlooked", "unlooked_objects"]).to_pylist():
        names = json.loads(row["unlooked_objects"])
        if row["unlooked"] > len(names):
            return index.keys()
        named.update(names)
    return {key for key in index if printable(key) in named} if named else named


def _rates(settings: Mapping[str, Any]) -> set[int]:
    """Hz, of a candidate's networks."""
    use = settings["preparation"]
    return {each["sampling_rate"] for each in (use if isinstance(use, list) else [use])}
