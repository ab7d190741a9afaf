"""False picks of candidates on the same verified noise: what `tidepick eval noise` kept, paired."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from eval.comparison import compare_rates
from service.evaluate.config import Evaluation
from service.evaluate.tables import kept


def counts_of(evaluation: Evaluation) -> pa.Table | None:
    """False picks by candidate, station and phase at the evaluation's threshold, `key` being the
    station; None where no noise is asked for or none was judged."""
    counts = kept(Path(evaluation.out), "noise_stations")
    if evaluation.noise is None or counts is None:
        return None
    counts = counts.filter(pc.field("threshold") == evaluation.threshold)
    return counts.append_column("key", counts["station"])


def margin_of(evaluation: Evaluation) -> float:
    """Half the target rate, per hour: the difference that matters."""
    assert evaluation.noise is not None
    return evaluation.noise.target_rate / 2


def compared_rates(evaluation: Evaluation) -> list[pa.Table]:
    """COMPARISON_SCHEMA against the baseline; nothing where there are no counts."""
    counts = counts_of(evaluation)
    if counts is None:
        return []
    return [
        compare_rates(
            counts,
            evaluation.against,
            seed=evaluation.seed,
            margin=margin_of(evaluation),
            replicates=evaluation.replicates,
        )
    ]
