"""`tidepick eval compare`: which candidate is better than the baseline, and how surely.

Table: `comparison` (and `comparison_without_label_errors`, `comparison_clean`): on the labelled
traces that `tidepick eval oracle` kept, and, where `tidepick eval noise` kept its counts, false
picks per hour on the same stations' noise; half the target rate is the difference that matters.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from catalog.errors import Refusal
from eval.comparison import compare, found_in
from eval.thresholds import Frozen, Thresholds
from service.evaluate.config import Evaluation, load_evaluation
from service.evaluate.labelled.judged import selections
from service.evaluate.labelled.thresholds import thresholds_of
from service.evaluate.noise.compared import compared_rates
from service.evaluate.tables import keep, kept

UNDEFINED = "undefined"


def eval_compare(options: argparse.Namespace, out: Console) -> int:
    evaluation = load_evaluation(options.evaluation)
    folder = Path(evaluation.out)
    traces = kept(folder, "traces")
    if traces is None:
        raise Refusal(f"{folder}: no per-trace table yet; make it with `tidepick eval oracle`")
    facts: dict[str, Any] = {"baseline": evaluation.against, "comparison": {}}
    try:
        thresholds, frozen = thresholds_of(evaluation, traces)
        facts["threshold"] = _told(evaluation, frozen)
        for each in selections(evaluation, traces):
            if evaluation.against not in set(pc.unique(each.table["weight"]).to_pylist()):
                facts["comparison"][each.name or "all"] = {"about": each.about, "rows": []}
                continue  # a baseline without a manifest: nothing is known to be clean for it
            table = _compared(evaluation, each.table, thresholds, each.name == "")
            keep(folder, f"comparison_{each.name}" if each.name else "comparison", table)
            rows = table.to_pylist()
            facts["comparison"][each.name or "all"] = {"about": each.about, "rows": rows}
            if not options.json:
                out.print(verdicts_table(table, f"Against {evaluation.against}: {each.about}"))
    except ValueError as error:
        raise Refusal(str(error)) from error
    if options.json:
        print(json.dumps(facts, indent=1, allow_nan=False))
    return 0


def _told(evaluation: Evaluation, frozen: Frozen | None) -> Any:
    return evaluation.threshold if frozen is None else json.loads(frozen.to_json())


def _compared(
    evaluation: Evaluation, traces: pa.Table, thresholds: Thresholds, with_rates: bool
) -> pa.Table:
    seed, replicates = evaluation.seed, evaluation.replicates
    found = found_in(traces, thresholds)
    tables = [compare(found, evaluation.against, seed=seed, replicates=replicates)]
    if with_rates and evaluation.thresholds == "fixed":  # which the counts are at
        tables += compared_rates(evaluation)
    return pa.concat_tables(tables)


def verdicts_table(comparison: pa.Table, title: str) -> Table:
    """A row a candidate, phase and measure: the difference, its interval and the verdict."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)  # of 80 columns there are 22 for it
    for heading in ("difference", "95%", "n", "p (Holm)"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    styles = {"better": "green", "worse": "red"}
    previous = None
    for row in comparison.sort_by("candidate").to_pylist():  # stable: measures keep their order
        ends = [row["low"], row["high"]]
        known = "" if None in ends else " to ".join(f"{end:+.3f}" for end in ends)
        if row["candidate"] != previous:
            table.add_row(Text(row["candidate"], style="bold"))
        table.add_row(
            f"{row['phase']} {row['measure'].removesuffix('_found')}",
            UNDEFINED if row["difference"] is None else f"{row['difference']:+.3f}",
            known,
            f"{row['n']:,}",
            _p(row["p_holm"]),
            Text(row["verdict"], style=styles.get(row["verdict"], "dim")),
        )
        previous = row["candidate"]
    return table


def _p(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if value >= 0.0005 else "<0.001"
