"""How often people and the rule agree, over the battles that both judged."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from catalog.battles import RULED_SCHEMA
from catalog.errors import Refusal
from eval.arena.agreement import agreement
from eval.arena.answers import Answers
from service.evaluate.tables import kept

RULINGS = ("rulings", "day_rulings", "voted_rulings")
"""Tables of RULED_SCHEMA that `tidepick arena battle` keeps; no battle stands in two of them."""


def kept_rulings(out: Path) -> pa.Table:
    """RULED_SCHEMA, all that the rule said; empty where it has not been asked."""
    tables = [table for name in RULINGS if (table := kept(out, name)) is not None]
    try:
        return pa.concat_tables(
            [RULED_SCHEMA.empty_table(), *(t.cast(RULED_SCHEMA) for t in tables)]
        )
    except (ValueError, pa.ArrowException) as error:
        raise Refusal(f"{out}: {error}; run `tidepick arena battle` again") from error


def agreement_beside(people: Answers, rulings: pa.Table) -> pa.Table | None:
    """`eval.arena.agreement.agreement`; None where the rule has not been asked."""
    return agreement(people, Answers.of_rule(rulings)) if rulings.num_rows else None
