"""Families of an evaluation: what is noise of training, and what is left as a signal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from eval.snr.table import Families
from service.evaluate.config import Evaluation


def families_of(evaluation: Evaluation) -> Families:
    kinds: dict[str, dict[str, Sequence[str]]] = {"checkpoints": {}, "seeds": {}}
    for family in evaluation.family:
        kinds[family.kind][", ".join(family.candidates)] = family.candidates
    return Families(**kinds)


def one_a_family(evaluation: Evaluation, names: Sequence[str]) -> list[str]:
    """The candidates that are a signal: of a family its average, or else its last."""
    averages = dict(averages_of(evaluation))
    out = set()
    for family in evaluation.family:
        stands = tuple(family.candidates) in averages.values()
        out |= set(family.candidates if stands else family.candidates[:-1])
    return [name for name in names if name not in out]


def averages_of(evaluation: Evaluation) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(candidate, the family that its weights are the average of)."""
    weights = {each.name: each.weights for each in evaluation.candidate}
    for candidate in evaluation.candidate:
        for family in evaluation.family:
            own = [weights[name] for name in family.candidates]
            if candidate.average and sorted(candidate.members) == sorted(map(str, own)):
                yield candidate.name, tuple(family.candidates)
