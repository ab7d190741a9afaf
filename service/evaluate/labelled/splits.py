"""`tidepick eval splits`: development, tuning and test by event, and who was trained on what.

Tables: `splits` (traces and events of each), `leakage` (fractions a candidate and data set),
`leakage_status` (a row a candidate and trace), `openings` (of the test split).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from catalog.errors import Refusal
from catalog.store import open_store
from eval import splits
from eval.leakage import audit, check_manifest
from eval.traces import keys
from service.evaluate.config import Evaluation, load_evaluation
from service.evaluate.labelled.index import benchmark_index, training_index
from service.evaluate.labelled.traces import read_names
from service.evaluate.tables import keep
from service.terminal import rows_table

SPLIT_SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("split", pa.string()),
        ("traces", pa.int64()),
        ("events", pa.int64()),  # connected components
    ]
)


def eval_splits(options: argparse.Namespace, out: Console) -> int:
    evaluation = load_evaluation(options.evaluation)
    if evaluation.splits is None:
        raise Refusal(
            f"evaluation {options.evaluation}: splits: missing; name the place that keeps them"
        )
    try:
        tables = _made(evaluation, evaluation.splits)
    except ValueError as error:
        raise Refusal(str(error)) from error
    for name, table in tables.items():
        keep(Path(evaluation.out), name, table)
    shown = {name: table for name, table in tables.items() if name != "leakage_status"}
    if options.json:
        facts = {name: table.to_pylist() for name, table in shown.items()}
        print(json.dumps({"splits_at": evaluation.splits} | facts, indent=1, allow_nan=False))
        return 0
    for name, table in shown.items():
        if table.num_rows:
            out.print(name)
            rows = [_short(row) for row in table.to_pylist()] if name == "leakage" else None
            rows = rows or table.to_pylist()
            out.print(rows_table(rows, list(rows[0])))
    out.print(f"kept at {evaluation.splits}; the test split is sealed: --open-test WHY opens it")
    return 0


def _made(evaluation: Evaluation, where: str) -> dict[str, pa.Table]:
    judged, trained = benchmark_index(evaluation), training_index(evaluation)
    fresh = trained.filter(pc.invert(pc.is_in(keys(trained), keys(judged))))
    every = pa.concat_tables([judged, fresh])
    assigned = splits.split(every, seed=evaluation.seed).slice(0, judged.num_rows)
    store = open_store(where)
    splits.write(store, assigned, seed=evaluation.seed)
    found = audit(judged, every, _manifests(evaluation))
    return {
        "splits": _counted(assigned),
        "leakage": found.fractions,
        "leakage_status": found.status,
        "openings": splits.openings(store),
    }


def _manifests(evaluation: Evaluation) -> dict[str, pa.Table | None]:
    """What each candidate was trained on, several files of one together; None: it says nothing."""
    given: dict[str, pa.Table | None] = {each.name: None for each in evaluation.candidate}
    for manifest in evaluation.manifest:
        parts = [read_names(manifest.path)]
        try:
            check_manifest(parts[0])
        except ValueError as error:
            raise Refusal(f"{manifest.path}: {error}") from error
        if (before := given[manifest.candidate]) is not None:
            parts.append(before)
        given[manifest.candidate] = pa.concat_tables(parts, promote_options="default")
    return given


def _short(row: dict[str, Any]) -> dict[str, Any]:
    """A row of FRACTION_SCHEMA that fits a terminal; n of the share are leaked and clean."""
    ends = [row["value"], row["low"], row["high"]]
    share = "unknown" if None in ends else "{:.3f} [{:.3f}, {:.3f}]".format(*ends)
    names = ("candidate", "dataset", "events", "leaked", "clean", "unverifiable")
    return {name: row[name] for name in names} | {"share leaked": share}


def _counted(assigned: pa.Table) -> pa.Table:
    groups = assigned.group_by(["dataset", "split"]).aggregate(
        [("trace_name", "count"), ("component", "count_distinct")]
    )
    names = {"trace_name_count": "traces", "component_count_distinct": "events"}
    renamed = groups.rename_columns([names.get(name, name) for name in groups.column_names])
    ordered = renamed.select(SPLIT_SCHEMA.names).cast(SPLIT_SCHEMA)
    return ordered.sort_by([("dataset", "ascending"), ("split", "ascending")])
