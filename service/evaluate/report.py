"""`tidepick eval report`: what the evaluation file asks for and is not there yet, then one page.

Tables are made by the same functions as `tidepick eval oracle` and the others. All are made anew
where the file, or a file that it names, is another than they were made from, where one of them is
of code whose numbers may mean something else, and where one lacks what a lost worker left undone.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from catalog.errors import Refusal
from catalog.store import open_store
from eval.oracle import ORACLE_SCHEMA
from eval.report.leaderboard import EQUAL_FALSE_PICKS, EQUAL_PICKS
from eval.report.page import render
from eval.report.rows import of, rows_of
from eval.report.section import Subject
from eval.residuals import of_pairs, of_traces
from eval.splits import openings
from eval.strata import ALL
from eval.thresholds import Thresholds
from service.evaluate.arguments import add_evaluations
from service.evaluate.battles.battles import keep_battles
from service.evaluate.battles.thresholds import has_battle_thresholds
from service.evaluate.compared_days import (
    compared_at_equal_false_picks,
    compared_at_equal_picks,
    compared_days,
)
from service.evaluate.config import Evaluation, load_evaluation
from service.evaluate.days.audit import KEY_TABLE
from service.evaluate.days.continuous import Judged
from service.evaluate.days.snippets import snippets
from service.evaluate.pieces import Workbench
from service.evaluate.sources import provenance, same_sources, with_unfinished
from service.evaluate.tables import FOLDER, forget, keep, kept, outdated

What = Callable[[argparse.Namespace, Console], int]

PAGE = "report.html"

MADE_BY: Mapping[str, str] = {
    "splits": "leakage",
    "noise": "noise_rates",
    "oracle": "oracle",
    "continuous": "continuous",
    "compare": "comparison",
    "snr": "snr",
}
"""What is run, in this order, and the table that says that it was."""


def eval_report(options: argparse.Namespace, out: Console, whats: Mapping[str, What]) -> int:
    """Writes the page. Returns the worst exit code of what had to be run for it."""
    path: Path = options.evaluation
    evaluation = load_evaluation(path)
    say = Console(stderr=True) if options.json else out
    with redirect_stdout(sys.stderr if options.json else sys.stdout):  # Ray writes there
        codes = make_tables(evaluation, path, say, whats, options.address)
        page = write_page(evaluation, path)
    if options.json:
        print(json.dumps({"report": str(page), "tables": str(Path(evaluation.out) / FOLDER)}))
    else:
        out.print(f"report: {page}")
    return max(codes, default=0)


def make_tables(
    evaluation: Evaluation,
    path: Path,
    say: Console,
    whats: Mapping[str, What],
    address: str | None = None,
) -> list[int]:
    """Runs what lacks; the exit codes, 1 for what was refused."""
    folder = Path(evaluation.out)
    sources = provenance(evaluation)
    before = kept(folder, "provenance")
    asked = asked_for(evaluation)
    names = [*(MADE_BY[what] for what in asked), "snippets"]
    stale = before is not None and not same_sources(before, sources)
    stale = stale or any(outdated(folder, name) for name in names)
    battled = any(kept(folder, f"{where}rulings") is not None for where in ("", "day_"))
    codes, unfinished = [], []
    bench = Workbench.of(evaluation, say, address)

    def attempt(what: str, make: Callable[[], int]) -> None:
        try:
            codes.append(make())
        except Refusal as refusal:  # the page says what is missing, and the rest stands
            say.print(f"{what}: {refusal}")
            codes.append(1)
            return
        if codes[-1]:
            unfinished.append(what)

    if stale and "snr" not in asked and kept(folder, "snr") is not None:
        asked.append("snr")  # by hand, of what has changed since
    if stale:
        _forget_old(folder)
    for what in asked:
        if what in whats and (stale or kept(folder, MADE_BY[what]) is None):
            say.print(f"tidepick eval {what} {path}")
            attempt(what, partial(whats[what], _options(what, path, address), say))
    if evaluation.continuous is not None and (stale or kept(folder, "snippets") is None):
        say.print("paired comparison of the days, and windows to look at")
        attempt("continuous days", partial(_keep_days, evaluation, path, bench))
    voted = evaluation.arena is not None and evaluation.arena.votes is not None
    if (stale and battled) or (fights(evaluation) and (voted or not battled)):
        say.print(f"tidepick arena battle {path}")  # votes may have come since
        attempt("arena battle", partial(_keep_battles, evaluation, bench))
    _keep_residuals(folder)
    if evaluation.splits is not None and kept(folder, "openings") is not None:
        keep(folder, "openings", openings(open_store(evaluation.splits)))  # there may be new ones
    sources = provenance(evaluation)  # with the thresholds that were solved
    keep(folder, "provenance", with_unfinished(sources, unfinished))
    return codes


def _forget_old(folder: Path) -> None:
    """So that none of them stands on the page where what would replace it is refused.

    The provenance stays until there is a new one: who is killed before that begins anew.
    """
    for path in sorted((folder / FOLDER).glob("*.parquet")):
        if path.stem not in ("provenance", KEY_TABLE):
            forget(folder, path.stem)


def _keep_days(evaluation: Evaluation, path: Path, bench: Workbench) -> int:
    """What the page has of continuous days beside what `tidepick eval continuous` made."""
    folder = Path(evaluation.out)
    judged = Judged.of(evaluation, path, bench)
    try:
        keep(folder, "comparison_days", compared_days(evaluation, judged))
        keep(folder, EQUAL_PICKS, compared_at_equal_picks(evaluation, judged))
    except ValueError as error:
        raise Refusal(f"continuous days cannot be compared: {error}") from error
    keep(folder, "snippets", snippets(evaluation, judged, bench.store))
    try:
        keep(folder, EQUAL_FALSE_PICKS, compared_at_equal_false_picks(evaluation, judged))
    except Refusal as refusal:  # little noise: the page has the other comparisons
        bench.console.print(f"continuous days are not compared at equal false picks: {refusal}")
    return bench.tell_unfinished()


def _keep_battles(evaluation: Evaluation, bench: Workbench) -> int:
    keep_battles(evaluation, bench)
    return bench.tell_unfinished()


def asked_for(evaluation: Evaluation) -> list[str]:
    """What the evaluation file has data for."""
    asked = {
        "splits": evaluation.splits is not None,
        "noise": evaluation.noise is not None,  # before what is judged at its thresholds
        "oracle": bool(evaluation.benchmark),
        "continuous": evaluation.continuous is not None,
    }
    data = [what for what, there in asked.items() if there]
    if not data:
        raise Refusal(
            "evaluation: nothing to judge; name a [[benchmark]], [noise] or [continuous] data"
        )
    if asked["oracle"]:
        data.append("compare")
        if evaluation.family:
            data.append("snr")
    return data


def fights(evaluation: Evaluation) -> bool:
    """Whether the file asks for battles by rule, and has thresholds for them."""
    data = bool(evaluation.benchmark) or evaluation.continuous is not None
    return evaluation.arena is not None and data and has_battle_thresholds(evaluation)


def write_page(evaluation: Evaluation, path: Path) -> Path:
    """The page of all tables that are there. Raises Refusal for a table of another version."""
    folder = Path(evaluation.out)
    names = sorted(found.stem for found in (folder / FOLDER).glob("*.parquet"))
    tables = {name: table for name in names if (table := kept(folder, name)) is not None}
    subject = Subject(
        name=evaluation.name,
        file=path.name,
        baseline=evaluation.against,
        candidates=evaluation.names or _judged_elsewhere(tables),
        threshold=evaluation.threshold,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        tables=tables,
        serve=(evaluation.arena and evaluation.arena.serve) or "",
    )
    try:
        text = render(subject)
    except ValueError as error:
        raise Refusal(f"{folder / FOLDER}: {error}") from error
    page = folder / PAGE
    fresh = page.with_name(f".{PAGE}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(page)
    return page


def _judged_elsewhere(tables: Mapping[str, pa.Table]) -> list[str]:
    """Candidates of tables that were made elsewhere, in their order."""
    names: list[str] = pc.unique(tables["oracle"]["candidate"]).to_pylist()
    return names


def _keep_residuals(folder: Path) -> None:
    """Histograms, from the tables that hold every residual."""
    traces, pairs = kept(folder, "traces"), kept(folder, "residuals")
    oracle = kept(folder, "oracle")
    if traces is not None and oracle is not None:
        keep(folder, "residual_bins", of_traces(traces, _judged_at(oracle)))
    if pairs is not None:
        keep(folder, "residual_bins_days", of_pairs(pairs))


def _judged_at(oracle: pa.Table) -> Thresholds:
    """The threshold that each candidate was judged at."""
    timed = oracle.filter(pc.starts_with(oracle["metric"], "mae_cond_"))
    each: dict[str, dict[str, float]] = {}
    for row in of(rows_of({"oracle": timed}, "oracle", ORACLE_SCHEMA), stratum=ALL):
        each.setdefault(row["candidate"], {})[row["phase"]] = row["threshold"]
    return Thresholds(each)


def _options(what: str, path: Path, address: str | None) -> argparse.Namespace:
    """As `tidepick eval WHAT path` would be read, its work done at the address."""
    parser = argparse.ArgumentParser()
    add_evaluations(parser.add_subparsers())
    options = parser.parse_args([what, str(path)])
    options.address = address
    return options
