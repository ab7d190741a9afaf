"""`tidepick arena battle`: candidates of an evaluation against one another, decided by rule.

Tables, of labelled traces: `rulings`, `ruled_board`, `ruled_matrix`; of continuous days with
arrivals: `day_rulings`, `day_ruled_board`, `day_ruled_matrix`. Where the evaluation names the votes
of an arena, what people said stands beside them and is never pooled with them: `voted_board`,
`voted_matrix`, `voted_sides`, `voted_battles`, and `arena_agreement` with the rule, for which the
rule also judges the windows of the days that people were shown: `voted_rulings`, on no board.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from catalog.battles import RULED_SCHEMA
from catalog.errors import Refusal
from eval.arena.agreement import beside
from eval.arena.answers import Answers
from eval.arena.battles import battles
from eval.arena.board import leaderboard, matrix, side_test
from eval.arena.tallies import of_traces
from eval.arena.windows import traces_called
from eval.strata import ALL, bins_of
from eval.thresholds import Frozen
from eval.traces import conformed
from service.evaluate.battles.agreement import agreement_beside
from service.evaluate.battles.days import STRATA as DAY_STRATA
from service.evaluate.battles.days import DayBattles
from service.evaluate.battles.screen import agreement_lines, board_table, matrix_table, side_line
from service.evaluate.battles.thresholds import battle_thresholds
from service.evaluate.battles.votes import read_votes
from service.evaluate.config import Arena, Evaluation, load_evaluation
from service.evaluate.pieces import Workbench
from service.evaluate.shown import show
from service.evaluate.tables import forget, keep, kept

MADE = (
    *(f"{where}{table}" for where in ("", "day_") for table in ("rulings", "ruled_board")),
    *("ruled_matrix", "day_ruled_matrix", "voted_board", "voted_matrix", "voted_sides"),
    *("voted_rulings", "voted_battles", "arena_agreement"),
)

ROWS = ("rulings", "day_rulings", "voted_rulings", "voted_battles")
"""Tables of single battles, which are not printed."""


def arena_battle(options: argparse.Namespace, out: Console) -> int:
    """Returns 1 where a station-day could not be looked at because its worker died."""
    evaluation = load_evaluation(options.evaluation)
    with redirect_stdout(sys.stderr if options.json else sys.stdout):  # Ray writes there
        bench = Workbench.of(evaluation, Console(stderr=True) if options.json else out)
        tables, facts = keep_battles(evaluation, bench)
    if options.json:
        show(out, True, {k: v for k, v in tables.items() if k not in ROWS}, facts)
        return bench.tell_unfinished()
    show(out, False, {}, facts)
    for judge, where in (
        ("ruled", " on labelled traces"),
        ("day_ruled", " on continuous days"),
        ("voted", ""),
    ):
        if f"{judge}_board" in tables:
            out.print(board_table(tables[f"{judge}_board"], on=where))
            out.print(matrix_table(tables[f"{judge}_matrix"]))
    if "voted_sides" in tables:
        out.print(side_line(tables["voted_sides"]))
    for line in agreement_lines(tables.get("arena_agreement")):
        out.print(line)
    return bench.tell_unfinished()


def keep_battles(
    evaluation: Evaluation, bench: Workbench
) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    """All tables by name, kept, and what they rest on. Raises Refusal."""
    try:
        tables, facts = _battles(evaluation, bench)
    except ValueError as error:
        raise Refusal(f"arena: {error}") from error
    folder = Path(evaluation.out)
    for name in MADE:
        forget(folder, name)  # of days or votes that are no longer named
    for name, table in tables.items():
        keep(folder, name, table)
    return tables, facts


def _battles(
    evaluation: Evaluation, bench: Workbench
) -> tuple[dict[str, pa.Table], dict[str, Any]]:
    folder, settings = Path(evaluation.out), evaluation.arena or Arena()  # type: ignore[call-arg]
    traces = kept(folder, "traces")
    if traces is None and evaluation.continuous is None:
        raise Refusal(
            f"{folder}: no per-trace table yet, make it with `tidepick eval oracle`; and no "
            "[continuous] days with arrivals"
        )
    names = evaluation.names or _judged(traces)
    frozen, without = battle_thresholds(evaluation, names)
    judged = [name for name in names if name not in without]
    facts: dict[str, Any] = {"thresholds": frozen.rule}
    if without:
        facts["left out, for no threshold meets that"] = ", ".join(without)
    tables: dict[str, pa.Table] = {}
    if traces is not None:
        own = conformed(traces.filter(pc.is_in(traces["weight"], pa.array(judged, pa.string()))))
        rulings = battles(of_traces(own, frozen, settings.strata or (ALL,)))
        windows = _windows(own, settings.strata)
        tables |= _boards("", rulings, windows, settings.strata, evaluation.seed)
        facts["battles"] = rulings.num_rows
    days = (
        None if evaluation.continuous is None else DayBattles.of(evaluation, frozen, judged, bench)
    )
    if days is not None:
        rulings, windows = days.proposed()
        tables |= _boards("day_", rulings, windows, DAY_STRATA, evaluation.seed)
        facts["battles on continuous days"] = rulings.num_rows
    if not tables:
        raise Refusal(f"{folder}: no two candidates were judged on the same labelled trace")
    if settings.votes is not None:
        votes = read_votes(Path(settings.votes))
        facts["votes"] = votes.num_rows
        if votes.num_rows:
            ruled = [tables[name] for name in ("rulings", "day_rulings") if name in tables]
            tables |= _beside(votes, pa.concat_tables(ruled), days, evaluation.seed)
            if others := _at_other_thresholds(votes, frozen):
                facts["votes at other thresholds than the rule's"] = others
    return tables, facts


def _boards(
    prefix: str, rulings: pa.Table, windows: pa.Table, strata: Sequence[str], seed: int
) -> dict[str, pa.Table]:
    """Nothing where there was no battle. windows: `window` and its bin in each stratum."""
    if rulings.num_rows == 0:
        return {}
    rule = Answers.of_rule(rulings.cast(RULED_SCHEMA))
    return {
        f"{prefix}rulings": rulings,
        f"{prefix}ruled_board": leaderboard(rule, rule.strata(windows, strata)),
        f"{prefix}ruled_matrix": matrix(rule, rule.strata(windows, strata), seed=seed),
    }


def _beside(
    votes: pa.Table, rulings: pa.Table, days: DayBattles | None, seed: int
) -> dict[str, pa.Table]:
    """What people said, and how often the rule says the same of the same battle."""
    people = Answers.of_people(votes)
    asked = RULED_SCHEMA.empty_table()
    if days is not None:
        asked = days.rulings_on(
            set(votes["window"].to_pylist()) - set(rulings["window"].to_pylist())
        )
    known = pa.concat_tables([rulings, asked])
    tables = {
        "voted_board": leaderboard(people),
        "voted_matrix": matrix(people, seed=seed),
        "voted_sides": side_test(people),
        "voted_rulings": asked,
        "voted_battles": beside(votes, known),
    }
    agreed = agreement_beside(people, known)
    return tables if agreed is None else tables | {"arena_agreement": agreed}


def _at_other_thresholds(votes: pa.Table, frozen: Frozen) -> int:
    """Votes of whose sides one was shown at a threshold that it does not stand at by the rule."""

    def differs(row: dict[str, str], side: str) -> bool:
        ruled = frozen.thresholds.each.get(row[side], {})
        shown = json.loads(row[f"{side}_thresholds"])
        return any(ruled.get(phase) != threshold for phase, threshold in shown.items())

    return sum(differs(row, "left") or differs(row, "right") for row in votes.to_pylist())


def _judged(traces: pa.Table | None) -> list[str]:
    """Candidates of a table that was made elsewhere."""
    names: list[str] = [] if traces is None else pc.unique(traces["weight"]).to_pylist()
    return names


def _windows(traces: pa.Table, strata: Sequence[str]) -> pa.Table:
    """`window`, as rulings name it, and its bin in each stratum; once each."""
    names = traces_called(traces).to_pylist()
    bins = {stratum: bins_of(traces, stratum) for stratum in strata}
    row_of = {name: row for row, name in enumerate(names)}
    rows = list(row_of.values())
    columns = {stratum: pa.array(list(of[rows]), pa.string()) for stratum, of in bins.items()}
    return pa.table({"window": pa.array(list(row_of), pa.string())} | columns)
