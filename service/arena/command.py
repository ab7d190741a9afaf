"""`tidepick arena WHAT`: what each does, and what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from catalog.errors import Refusal
from eval.arena.agreement import alpha_of, repeats
from eval.arena.answers import Answers
from eval.arena.board import leaderboard, matrix, side_test
from eval.arena.davidson import davidson
from eval.arena.elo import online
from eval.strata import UNKNOWN, Bins
from service.arena.arguments import STRATA
from service.evaluate.battles.agreement import agreement_beside, kept_rulings
from service.evaluate.battles.battles import arena_battle
from service.evaluate.battles.screen import agreement_lines, board_table, matrix_table, side_line
from service.evaluate.battles.votes import open_votes, read_votes, write_votes
from service.evaluate.config import load_evaluation
from service.evaluate.shown import show

DAVIDSON = "ratings with ties after Davidson"


def arena_rate(options: argparse.Namespace, out: Console) -> int:
    votes = read_votes(options.votes)
    if votes.num_rows == 0:
        raise Refusal(f"votes {options.votes}: there is no answer that stands; vote first")
    try:
        people = Answers.of_people(votes)
        strata = strata_of(votes, options.strata)
        board = leaderboard(people, strata, over=options.over)
        pairs = matrix(people, strata, over=options.over)
        sides = side_test(people, over=options.over)
    except ValueError as error:
        raise Refusal(f"votes {options.votes}: {error}") from error
    elo = online(
        zip(*(votes[name].to_pylist() for name in ("left", "right", "answer")), strict=True)
    )
    alike, repeated = repeats(votes)
    alpha = alpha_of(people)
    agreed = _agreed(options.evaluation, people)
    facts: dict[str, Any] = {
        "votes": votes.num_rows,
        "annotators": pc.count_distinct(votes["annotator"]).as_py(),
        "windows": pc.count_distinct(votes["window"]).as_py(),
        "repeats": f"{alike} of {repeated} say what the battle that they repeat said",
        "Krippendorff's alpha": None if np.isnan(alpha) else round(alpha, 4),
        DAVIDSON: _davidson(people),
    }
    if options.json:
        online_elo = pa.table({"candidate": list(elo), "rating": list(elo.values())})
        tables = {"board": board, "matrix": pairs, "sides": sides, "online_elo": online_elo}
        facts["repeats"] = {"alike": alike, "of": repeated}
        if agreed is not None:
            tables["agreement"] = agreed
        show(out, True, tables, facts)
        return 0
    if isinstance(facts[DAVIDSON], dict):
        facts[DAVIDSON] = ", ".join(
            f"{name} {rating:g}" for name, rating in facts[DAVIDSON].items()
        )
    show(out, False, {}, facts)
    out.print(board_table(board, elo))
    out.print(matrix_table(pairs))
    out.print(side_line(sides))
    for line in agreement_lines(agreed):
        out.print(line)
    return 0


def strata_of(votes: pa.Table, names: list[str]) -> dict[str, Bins]:
    """The bin [n] of each vote's window in each stratum, from the battle's `stratum`.

    Raises ValueError where a battle names another number of bins than STRATA.
    """
    if not names:
        return {}
    parts = [
        text.split(" | ") if text else [UNKNOWN] * len(STRATA)
        for text in votes["stratum"].to_pylist()
    ]
    if strange := [" | ".join(part) for part in parts if len(part) != len(STRATA)]:
        raise ValueError(f"stratum {strange[0]!r}: not of {' | '.join(STRATA)}; leave out --strata")
    return {name: np.array([part[STRATA.index(name)] for part in parts], object) for name in names}


def _agreed(path: Path | None, people: Answers) -> pa.Table | None:
    """With what the rule said in an evaluation, if one is named."""
    if path is None:
        return None
    rulings = kept_rulings(Path(load_evaluation(path).out))
    if rulings.num_rows == 0:
        raise Refusal(
            f"evaluation {path}: the rule has judged nothing; run `tidepick arena battle`"
        )
    return agreement_beside(people, rulings)


def _davidson(people: Answers) -> dict[str, Any] | str:
    """Ratings under a model of ties of their own, to see how far they rest on half a win each."""
    try:
        found = davidson(people)
    except ValueError as error:
        return str(error)
    return {name: round(rating, 1) for name, rating in found.ratings.items()}


def arena_export(options: argparse.Namespace, out: Console) -> int:
    votes = open_votes(options.votes)
    try:
        rows = write_votes(votes, options.output)
    except (OSError, pa.ArrowException) as error:
        raise Refusal(f"output {options.output}: {error}") from error
    show(out, options.json, {}, {"written": str(options.output), "rows": rows})
    return 0


WHATS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "rate": arena_rate,
    "battle": arena_battle,
    "export": arena_export,
}


def arena(options: argparse.Namespace, out: Console) -> int:
    """Returns the exit code."""
    return WHATS[options.what](options, out)
