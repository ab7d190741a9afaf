"""Bins of most signal, chosen on the development split and scored on the tuning split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import PHASES
from catalog.store import open_store
from eval.snr.bins import FILTER_SCHEMA, check_apart, kept, rescored
from eval.snr.scores import Scores
from eval.snr.table import table
from service.evaluate.labelled.sealed import among, split_of
from service.evaluate.snr.question import Question


def kept_and_rescored(question: Question, days: Mapping[str, Scores]) -> pa.Table:
    """FILTER_SCHEMA. None where there are no splits, or only the opened test split is at hand.

    days: phase -> recall on continuous days. Raises ValueError for splits that share an event.
    """
    evaluation, rows = question.evaluation, [FILTER_SCHEMA.empty_table()]
    if evaluation.splits is None:
        return rows[0]
    store = open_store(evaluation.splits)
    choosing, scoring = (
        among(question.traces, split_of(store, name)) for name in ("development", "tuning")
    )
    if not (choosing.num_rows and scoring.num_rows):
        return rows[0]
    kind = "checkpoints" if question.families.checkpoints else "sampling"
    chosen = table(
        choosing,
        question.candidates,
        question.thresholds,
        question.strata,
        families=question.families,
        seed=evaluation.seed,
        replicates=evaluation.replicates,
    )
    for phase in PHASES:
        check_apart(choosing, scoring, phase, question.names)
        own = chosen.filter((pc.field("phase") == phase) & pc.is_valid(pc.field(f"snr_{kind}")))
        usable = [] if own.num_rows == 0 else _usable(question.candidates, own)
        asked = own.select(["stratum", "measure"]).group_by(["stratum", "measure"])
        for row in asked.aggregate([([], "count_all")]).to_pylist():
            if row["count_all"] > 1:
                where = row["stratum"], phase, row["measure"]
                best = kept(chosen, *where, kind)
                rows.append(
                    rescored(
                        best,
                        scoring,
                        usable,
                        question.thresholds,
                        *where,
                        families=question.families,
                        days=days.get(phase),
                        seed=evaluation.seed,
                        replicates=evaluation.replicates,
                    )
                )
    return pa.concat_tables(rows)


def _usable(candidates: Sequence[str], rows: pa.Table) -> list[str]:
    """Those that the table of one phase does not exclude as degenerate."""
    out = rows["excluded"][0].as_py().split(", ")
    return [name for name in candidates if name not in out]
