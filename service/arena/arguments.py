"""The words of `tidepick arena`."""

from __future__ import annotations

import argparse
from pathlib import Path

from service.commands import Commands, add_command

STRATA = ("distance", "snr", "network")
"""What the arena draws by, in the order in which a battle's stratum names them."""

OVER = ("window", "annotator", "window+annotator", "battle")
"""`eval.arena.answers.OVER`, which is not loaded for the sake of a help text."""


def add_arena(whats: Commands) -> None:
    """Add what can be done with an arena to `tidepick arena`."""

    def what(name: str, summary: str, example: str) -> argparse.ArgumentParser:
        epilog = f"example:\n  tidepick arena {name} {example}"
        return add_command(whats, name, summary, epilog, command="arena", what=name)

    rate = what(
        "rate",
        "Rate candidates by what people said: intervals, sides, agreement. Nothing is kept.",
        "arena.db --strata distance snr\n\n"
        "Rules are rated by `tidepick arena battle`, and never together with people.",
    )
    rate.add_argument("votes", type=Path, help="the arena's file, or an export (.parquet, .csv)")
    rate.add_argument(
        "--strata",
        nargs="+",
        choices=STRATA,
        default=[],
        help="a board for each bin of these, beside the whole",
    )
    rate.add_argument(
        "--over",
        choices=OVER,
        default="window",
        help="what errs together (default %(default)s): `battle` takes each vote as independent",
    )
    rate.add_argument(
        "--evaluation",
        type=Path,
        metavar="FILE",
        help="also how often the votes say what the rule says: what `tidepick arena battle` kept",
    )
    battle = what(
        "battle",
        "Battles by rule over an evaluation's traces and days, at equal false picks per hour.",
        "evaluation.toml\n\n"
        "The rule, within 0.5 s: fewer misses and extras win; else the smaller residual, if\n"
        "smaller by more than 0.05 s; else a tie, or both bad. Thresholds are those that\n"
        "`tidepick eval noise` solved. Of [continuous] days with arrivals the windows are those\n"
        "that the arena proposes. [arena] votes = ... puts what people said beside it.",
    )
    battle.add_argument("evaluation", type=Path)
    export = what(
        "export",
        "Write the votes of an arena: the answers that stand, or the log and battles whole.",
        "arena.db votes.parquet\n  tidepick arena export arena.db backup\n\n"
        "A file gets the answers that stand, with their battles; a folder the whole log, as\n"
        "parquet and csv. Either is read by `tidepick arena rate` and gives the same ratings.",
    )
    export.add_argument("votes", type=Path, help="the arena's file")
    export.add_argument("output", type=Path, help="a .parquet or .csv file, or a folder")
