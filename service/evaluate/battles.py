"""`tidepick arena battle`: candidates of an evaluation against one another, decided by rule.

Tables: `rulings`, `ruled_board`, `ruled_matrix`. Where the evaluation names an arena's votes, what
people said stands beside it and is never pooled with it: `voted_board`, `voted_matrix`,
`voted_sides`, and `arena_agreement` with the rule.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from catalog.battles import RULED_SCHEMA
from catalog.errors import Refusal
from eval.arena.agreement import agreement
from eval.arena.answers import Answers
from eval.arena.battles import battles
from eval.arena.board import leaderboard, matrix, side_test
from eval.arena.tallies import of_traces
from eval.strata import ALL, bins_of
from eval.traces import conformed, keys
from service.evaluate.board_screen import board_table, matrix_table, side_line
from service.evaluate.config import Arena, Evaluation, load_evaluation
from service.evaluate.equal_rates import equal_rates
from service.evaluate.shown import show
from service.evaluate.tables import keep, kept
from service.evaluate.votes import read_votes


def arena_battle(options: argparse.Namespace, out: Console) -> int:
    tables, facts = keep_battles(load_evaluation(options.evaluation))
    if options.json:
        show(out, True, {k: v for k, v in tables.items() if k != "rulings"}, facts)
        return 0
    show(out, False, {}, facts)
    for judge in ("ruled", "voted"):
        if f"{judge}_board" in tables:
            out.print(board_table(tables[f"{judge}_board"]))
            out.print(matrix_table(tables[f"{judge}_matrix"]))
    if "voted_sides" in tables:
        out.print(side_line(tables["voted_sides"]))
    if "arena_agreement" in tables:
        show(
            out, False, {"how often a vote says what the rule says": tables["arena_agreement"]}, {}
        )
    return 0


def keep_battles(evaluation: Evaluation) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """All tables by name, kept, and what they rest on. Raises Refusal."""
    try:
        tables, facts = _battles(evaluation)
    except ValueError as error:
        raise Refusal(f"arena: {error}") from error
    for name, table in tables.items():
        keep(Path(evaluation.out), name, table)
    return tables, facts


def _battles(evaluation: Evaluation) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    folder, settings = Path(evaluation.out), evaluation.arena or Arena()  # type: ignore[call-arg]
    traces = kept(folder, "traces")
    if traces is None:
        raise Refusal(f"{folder}: no per-trace table yet; make it with `tidepick eval oracle`")
    names = evaluation.names or pc.unique(traces["weight"]).to_pylist()
    frozen, without = equal_rates(evaluation, names)
    judged = [name for name in names if name not in without]
    traces = conformed(traces.filter(pc.is_in(traces["weight"], pa.array(judged, pa.string()))))
    rulings = battles(of_traces(traces, frozen, settings.strata or (ALL,)))
    facts: dict[str, Any] = {"thresholds": frozen.rule, "battles": rulings.num_rows}
    if without:
        facts["left out, for no threshold meets that"] = ", ".join(without)
    if rulings.num_rows == 0:
        raise Refusal(f"{folder}: no two candidates were judged on the same labelled trace")
    rule = Answers.of_rule(rulings.cast(RULED_SCHEMA))
    strata = rule.strata(_windows(traces, settings.strata), settings.strata)
    seed = evaluation.seed
    tables = {
        "rulings": rulings,
        "ruled_board": leaderboard(rule, strata),
        "ruled_matrix": matrix(rule, strata, seed=seed),
    }
    if settings.votes is not None:
        votes = read_votes(Path(settings.votes))
        facts["votes"] = votes.num_rows
        if votes.num_rows:
            people = Answers.of_people(votes)
            tables |= {
                "voted_board": leaderboard(people),
                "voted_matrix": matrix(people, seed=seed),
                "voted_sides": side_test(people),
                "arena_agreement": agreement(people, rule),
            }
    return tables, facts


def _windows(traces: pa.Table, strata: list[str]) -> pa.Table:
    """`window`, as rulings name it, and its bin in each stratum; once each."""
    names = pc.replace_substring(keys(traces), "\x00", "/").to_pylist()
    bins = {stratum: bins_of(traces, stratum) for stratum in strata}
    row_of = {name: row for row, name in enumerate(names)}
    rows = list(row_of.values())
    columns = {stratum: pa.array(list(of[rows]), pa.string()) for stratum, of in bins.items()}
    return pa.table({"window": pa.array(list(row_of), pa.string())} | columns)
