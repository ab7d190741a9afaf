"""`tidepick eval oracle`: candidates over labelled traces; recall and timing side by side.

Tables: `traces`, `oracle` and `composition`, `looked` (which split it is of) and `unread` (what
could not be run, and why), where the evaluation names label errors or manifests
`oracle_without_label_errors` and `oracle_clean`, and `muenchmeyer` where it asks for those tasks.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console

from catalog.errors import Refusal
from eval.oracle import STRATA, composition, score
from eval.thresholds import Frozen
from eval.unread import unread
from service.evaluate.config import Evaluation, load_evaluation
from service.evaluate.labelled.judged import listed_errors, selections
from service.evaluate.labelled.muenchmeyer import tasks
from service.evaluate.labelled.screen import (
    composition_table,
    oracle_tables,
    tasks_table,
    unread_table,
)
from service.evaluate.labelled.sealed import Looked, check_made, looked_at
from service.evaluate.labelled.thresholds import thresholds_of
from service.evaluate.labelled.traces import Traces, extra_strata, per_trace
from service.evaluate.tables import keep


def eval_oracle(options: argparse.Namespace, out: Console) -> int:
    """Returns 1 where a trace could not be examined because its worker died."""
    evaluation = load_evaluation(options.evaluation)
    check_made(evaluation, options.open_test)
    listed_errors(evaluation)
    console = Console(stderr=True) if options.json else out
    with redirect_stdout(sys.stderr if options.json else sys.stdout):  # Ray writes there
        traces = per_trace(evaluation, console, options.address)
        beside = tasks(evaluation, console, options.address) if evaluation.muenchmeyer else None
    looked = looked_at(evaluation, traces.table, options.open_test)
    try:
        facts = _judge(evaluation, traces, looked, None if options.json else out)
    except ValueError as error:
        raise Refusal(str(error)) from error
    if beside is not None:
        facts["muenchmeyer"] = {
            "rows": beside.table.to_pylist(),
            "undefined": beside.undefined,
            "windows_not_run": beside.not_run,
        }
        if not options.json:
            out.print(tasks_table(beside.table))
            for why in beside.undefined:
                out.print(f"undefined: {why}")
    if options.json:
        print(json.dumps(facts, indent=1, allow_nan=False))
    unfinished = dict(traces.unfinished) | dict(beside.unfinished if beside else {})
    for piece, why in unfinished.items():
        print(f"tidepick: {piece}: {why}; run the same command again", file=sys.stderr)
    return 1 if unfinished else 0


def _judge(
    evaluation: Evaluation, traces: Traces, looked: Looked, out: Console | None
) -> dict[str, Any]:
    folder = Path(evaluation.out)
    thresholds, frozen = thresholds_of(evaluation, traces.table)
    strata = (*STRATA, *extra_strata(evaluation))
    not_run = unread(looked.table)
    for name, kept in (
        ("traces", looked.table),
        ("looked", looked.facts(frozen, evaluation.threshold)),
        ("unread", not_run),
    ):
        keep(folder, name, kept)
    facts: dict[str, Any] = {
        "evaluation": evaluation.name,
        "out": str(folder),
        "split": looked.split,
        "left_out": looked.left_out,
        "test_openings": looked.openings,
        "threshold": evaluation.threshold if frozen is None else json.loads(frozen.to_json()),
        "unfinished": dict(traces.unfinished),
        "not_run": not_run.to_pylist(),
        "scores": {},
    }
    for each in selections(evaluation, looked.table):
        scores = score(
            each.table, thresholds, strata, seed=evaluation.seed, replicates=evaluation.replicates
        )
        made_of = composition(each.table, strata)
        ending = f"_{each.name}" if each.name else ""
        keep(folder, f"oracle{ending}", scores)
        keep(folder, f"composition{ending}", made_of)
        facts["scores"][each.name or "all"] = {
            "about": each.about,
            "oracle": scores.to_pylist(),
            "composition": made_of.to_pylist(),
        }
        if out is not None:
            title = f"Told where to look: {_heading(each.about, frozen, evaluation)}"
            out.print(oracle_tables(scores, thresholds, strata, title))
            out.print(composition_table(made_of))
    if out is not None and not_run.num_rows:
        out.print(unread_table(not_run))
    if out is not None:
        out.print(_about(looked, folder))
    return facts


def _heading(about: str, frozen: Frozen | None, evaluation: Evaluation) -> str:
    at = f"threshold {evaluation.threshold:g}" if frozen is None else f"thresholds: {frozen.rule}"
    return f"{about}, {at}"


def _about(looked: Looked, folder: Path) -> str:
    text = f"tables: {folder / 'tables'}"
    if looked.split != "all":
        text += (
            f"\nsplit: {looked.split}; {looked.left_out:,} traces of others are left out; the test "
            f"split has been opened {looked.openings} times"
        )
    return text
