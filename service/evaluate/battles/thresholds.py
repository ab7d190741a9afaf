"""Thresholds that battles are fought at.

Those of equal false picks per hour; where the evaluation has no noise, those that it froze.
"""

from __future__ import annotations

from collections.abc import Sequence

from eval.thresholds import Frozen
from service.evaluate.config import Evaluation
from service.evaluate.labelled.thresholds import kept_thresholds
from service.evaluate.noise.equal_rates import equal_rates


def has_battle_thresholds(evaluation: Evaluation) -> bool:
    """Whether the file asks for any that make candidates comparable."""
    return evaluation.noise is not None or evaluation.thresholds != "fixed"


def battle_thresholds(evaluation: Evaluation, names: Sequence[str]) -> tuple[Frozen, list[str]]:
    """(thresholds, candidates of `names` that have none). Raises Refusal as `equal_rates`."""
    if evaluation.noise is not None or evaluation.thresholds == "fixed":
        return equal_rates(evaluation, names)
    frozen = kept_thresholds(evaluation)
    return frozen, [name for name in names if name not in frozen.thresholds.each]
