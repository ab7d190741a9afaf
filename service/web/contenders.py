"""Who may fight in the arena, and at which thresholds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from catalog.commits import CandidateRecord
from catalog.errors import Refusal
from catalog.schema import PHASES
from eval.thresholds import Frozen, Thresholds
from service.evaluate.battles.thresholds import battle_thresholds, has_battle_thresholds
from service.evaluate.config import Evaluation
from service.prepare import candidate_weights

OWN = "as the weights recommend"


@dataclass(frozen=True, slots=True)
class Contender:
    """thresholds: phase -> probability, those that it stands at in every battle."""

    name: str
    weights_sha256: str
    thresholds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Contenders:
    """By name: on_days those of the catalogue, on_traces those of the evaluation. rule: how their
    thresholds came to be. without: who has none, and is left out."""

    on_days: Mapping[str, Contender]
    on_traces: Mapping[str, Contender]
    rule: str
    without: tuple[str, ...] = ()

    @property
    def all(self) -> dict[str, Contender]:
        return {**self.on_traces, **self.on_days}

    @property
    def frozen(self) -> Frozen:
        """The thresholds as battles by rule take them."""
        each = {name: dict(contender.thresholds) for name, contender in self.all.items()}
        return Frozen.solved(Thresholds(each), self.rule, "verified noise", [])

    @classmethod
    def of(
        cls, records: Mapping[str, CandidateRecord], evaluation: Evaluation | None
    ) -> Contenders:
        """records: of the catalogue. At thresholds of equal false picks where the evaluation has
        them, else at the weights' own.

        Raises Refusal where a name stands for other weights in the evaluation, where thresholds are
        asked for and not solved, and where one is below what the catalogue stores.
        """
        on_days = {n: Contender(n, r.weights_sha256, r.thresholds) for n, r in records.items()}
        if evaluation is None:
            return cls(on_days, {}, OWN)
        on_traces = {}
        for config in evaluation.candidate:
            weights = candidate_weights(config)
            there = on_days.get(config.name)
            if there is not None and there.weights_sha256 != weights.sha256:
                raise Refusal(
                    f"candidate {config.name!r}: other weights in the evaluation than in the "
                    f"catalogue, where it is {records[config.name].source}; give one another name"
                )
            on_traces[config.name] = Contender(config.name, weights.sha256, weights.thresholds)
        if not has_battle_thresholds(evaluation):
            return cls(on_days, on_traces, OWN)
        frozen, _ = battle_thresholds(evaluation, list(on_traces))
        standing = frozen.thresholds.each
        _check_floors(records, standing)
        return cls(
            _standing_at(on_days, standing),
            _standing_at(on_traces, standing),
            frozen.rule,
            tuple(sorted({*on_days, *on_traces} - standing.keys())),
        )


def _standing_at(
    contenders: Mapping[str, Contender], each: Mapping[str, Mapping[str, float]]
) -> dict[str, Contender]:
    return {
        name: replace(contender, thresholds=dict(each[name]))
        for name, contender in contenders.items()
        if name in each
    }


def _check_floors(
    records: Mapping[str, CandidateRecord], each: Mapping[str, Mapping[str, Any]]
) -> None:
    for name in records.keys() & each.keys():
        for phase in PHASES:
            floor = records[name].settings["floors"][phase]
            if each[name][phase] < floor:
                raise Refusal(
                    f"candidate {name!r}: stands at {phase} {each[name][phase]:g} in the "
                    f"evaluation, and the catalogue stores its picks from {floor:g} on; pick again "
                    f"with a lower {phase}_threshold, or leave --evaluation out"
                )
