"""The tasks of Muenchmeyer et al. beside the oracle-window benchmark: table `muenchmeyer`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from catalog.schema import Outcome
from catalog.store import open_store
from eval.muenchmeyer import (
    DECISION_SCHEMA,
    ONSET_SCHEMA,
    REGIONAL_OUTLIER_S,
    TASK_SCHEMA,
    detection,
    onsets,
    phase_identification,
)
from service.evaluate.config import Evaluation
from service.evaluate.labelled.sealed import OPEN, among, split_of
from service.evaluate.labelled.traces import answers
from service.evaluate.tables import keep

SPLITS = {"dev": "development", "development": "development", "val": "development", "test": "test"}
"""Of a benchmark -> of the tasks; training traces are in none."""


@dataclass(slots=True)
class Tasks:
    """table: TASK_SCHEMA. unfinished: pieces, and why. undefined: what cannot be judged, and why.
    not_run: windows without an answer, in no figure."""

    table: pa.Table
    unfinished: Mapping[str, str]
    undefined: list[str] = field(default_factory=list)
    not_run: int = 0


def tasks(evaluation: Evaluation, console: Console, address: str | None) -> Tasks:
    """Runs what is not committed yet; keeps the table. The sealed test split is not looked at."""
    tables, unfinished = answers("tasks", evaluation, console, address)
    found = Tasks(TASK_SCHEMA.empty_table(), unfinished)
    if tables:
        rows = _unsealed(evaluation, pa.concat_tables(tables))
        ran = rows.filter(pc.equal(rows["outcome"], Outcome.PICKED.value))
        found.not_run = rows.num_rows - ran.num_rows
        found.table = pa.concat_tables(
            [TASK_SCHEMA.empty_table(), *_judged(evaluation, ran, found)]
        )
    why = pa.table({"why": pa.array(found.undefined, pa.string())})
    keep(Path(evaluation.out), "muenchmeyer", found.table)
    keep(Path(evaluation.out), "muenchmeyer_undefined", why)
    return found


def _unsealed(evaluation: Evaluation, rows: pa.Table) -> pa.Table:
    """Noise has no event, and so is in no split; of the rest what development and tuning hold."""
    if evaluation.splits is None:
        return rows
    store = open_store(evaluation.splits)
    members = pa.concat_tables([split_of(store, name) for name in OPEN])
    noise = (pc.field("task") == "detection") & ~pc.field("positive")
    return pa.concat_tables([rows.filter(noise), among(rows.filter(~noise), members)])


def _judged(evaluation: Evaluation, rows: pa.Table, found: Tasks) -> Iterator[pa.Table]:
    how = {"seed": evaluation.seed, "replicates": evaluation.replicates}
    names = [SPLITS.get(str(split).lower()) for split in rows["split"].to_pylist()]
    rows = rows.set_column(rows.column_names.index("split"), "split", pa.array(names, pa.string()))
    for benchmark in evaluation.benchmark:
        own = rows.filter(pc.field("dataset") == benchmark.name)
        for number, task, judge in (
            (1, "detection", detection),
            (2, "phase_id", phase_identification),
        ):
            windows = own.filter(pc.field("task") == task)
            if why := _lacking(windows, task):
                found.undefined.append(f"task {number} ({task}) of {benchmark.name}: {why}")
            else:
                yield judge(windows.select(DECISION_SCHEMA.names).cast(DECISION_SCHEMA), **how)
        windows = own.filter(pc.field("task") == "onset")
        if "test" in windows["split"].to_pylist():
            windows = windows.filter(pc.field("split") == "test")
        limits = {benchmark.name: REGIONAL_OUTLIER_S} if benchmark.regional else {}
        if windows.num_rows:
            given = windows.select(ONSET_SCHEMA.names).cast(ONSET_SCHEMA)
            yield onsets(given, limits, **how)
        elif benchmark.kind != "table":
            found.undefined.append(f"task 3 (onset) of {benchmark.name}: no window of one arrival")


def _lacking(windows: pa.Table, task: str) -> str:
    """What a decision needs and the windows do not have; empty where nothing lacks."""
    kinds = ("events", "noise traces") if task == "detection" else ("windows of P", "windows of S")
    for kind, positive in zip(kinds, (True, False), strict=True):
        own = windows.filter(pc.field("positive") == positive)
        if own.num_rows == 0:
            return f"no {kind}"
        for split in ("development", "test"):
            if split not in own["split"].to_pylist():
                return f"no {kind} in its {split} split"
    return ""
