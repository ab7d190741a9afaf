"""Candidates against the baseline on continuous days: the same arrivals, the same noise, paired."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from eval.comparison import compare, compare_rates
from eval.reviewed import found_on
from eval.thresholds import picks_at
from service.evaluate.config import Evaluation
from service.evaluate.days.continuous import Judged
from service.evaluate.tables import kept

WITHIN_TOLERANCE = ("recall", "mae_both_found")
"""The others ask for residuals of a second, which no matched pair has."""

COUNTS = ("candidate", "station", "phase", "count", "hours")


def compared_days(evaluation: Evaluation, judged: Judged) -> pa.Table:
    """COMPARISON_SCHEMA: recall and timing at the evaluation's threshold and, where noise was
    judged, false picks per hour; half the target rate is the difference that matters."""
    seed, replicates = evaluation.seed, evaluation.replicates
    standing = picks_at(judged.picks, evaluation.threshold)
    found = found_on(standing, judged.arrivals, judged.tolerance_s, evaluation.names)
    table = compare(found, evaluation.against, seed=seed, replicates=replicates)
    tables = [table.filter(pc.is_in(table["measure"], pa.array(WITHIN_TOLERANCE)))]
    noise = kept(Path(evaluation.out), "noise_stations")
    if noise is not None and evaluation.noise is not None:
        counts = noise.filter(pc.field("threshold") == evaluation.threshold).select(COUNTS)
        counts = counts.append_column("key", counts["station"])
        margin = evaluation.noise.target_rate / 2
        tables.append(
            compare_rates(
                counts, evaluation.against, seed=seed, margin=margin, replicates=replicates
            )
        )
    return pa.concat_tables(tables)
