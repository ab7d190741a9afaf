"""Candidates against the baseline on continuous days: the same arrivals, the same noise, paired.

At the evaluation's one threshold, and at those where candidates are alike in what they cost: as
many picks of the days as the baseline has, or as many false picks an hour of verified noise.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import PHASES
from eval.comparison import compare
from eval.reviewed import found_on
from eval.thresholds import Thresholds, equal_counts, picks_at
from service.evaluate.config import Evaluation
from service.evaluate.days.continuous import Judged
from service.evaluate.noise.compared import compared_rates
from service.evaluate.noise.equal_rates import supported_rates

WITHIN_TOLERANCE = ("recall", "mae_both_found")
"""The others ask for residuals of a second, which no matched pair has."""


def compared_days(evaluation: Evaluation, judged: Judged) -> pa.Table:
    """COMPARISON_SCHEMA: recall and timing at the evaluation's threshold and, where noise was
    judged, false picks per hour; half the target rate is the difference that matters."""
    found = _found(evaluation, judged, evaluation.threshold)
    return pa.concat_tables([found, *compared_rates(evaluation)])


def compared_at_equal_picks(evaluation: Evaluation, judged: Judged) -> pa.Table:
    """COMPARISON_SCHEMA: recall and timing where each candidate picks as often on these days, a
    phase, as the baseline at the evaluation's threshold.

    Solved on the days that are compared: a count of picks knows nothing of what is right.
    """
    names = pc.is_in(judged.picks["candidate"].cast(pa.string()), pa.array(evaluation.names))
    stored = judged.picks.filter(names)
    standing = picks_at(stored, evaluation.threshold)
    own = standing.filter(pc.field("candidate") == evaluation.against)
    counts = {phase: own.filter(pc.field("phase") == phase).num_rows for phase in PHASES}
    return _found(evaluation, judged, equal_counts(stored, counts, judged.days.floors))


def compared_at_equal_false_picks(evaluation: Evaluation, judged: Judged) -> pa.Table:
    """COMPARISON_SCHEMA: the same where verified noise has the target rate.

    Raises Refusal where noise was not judged, allows too few picks to place a threshold by, or a
    candidate makes too many at any.
    """
    frozen = supported_rates(evaluation, evaluation.names)
    judged.days.check_thresholds(frozen.thresholds, evaluation.names)
    return _found(evaluation, judged, frozen.thresholds)


def _found(evaluation: Evaluation, judged: Judged, thresholds: float | Thresholds) -> pa.Table:
    standing = picks_at(judged.picks, thresholds)
    found = found_on(standing, judged.arrivals, judged.tolerance_s, evaluation.names)
    table = compare(
        found, evaluation.against, seed=evaluation.seed, replicates=evaluation.replicates
    )
    return table.filter(pc.is_in(table["measure"], pa.array(WITHIN_TOLERANCE)))
