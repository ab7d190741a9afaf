"""What `tidepick eval snr` asks: which candidates are a signal, what is noise, and what is held
against them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import Refusal
from catalog.schema import PHASES
from eval.oracle import STRATA
from eval.snr.days import RATE_MARGIN, false_picks, of_days
from eval.snr.scores import Measure, Scores
from eval.snr.table import KINDS, UNKNOWN, Families
from eval.thresholds import Thresholds, picks_at
from service.evaluate.config import Evaluation
from service.evaluate.days.continuous import Judged
from service.evaluate.labelled.thresholds import thresholds_of
from service.evaluate.labelled.traces import extra_strata
from service.evaluate.noise.compared import counts_of, margin_of
from service.evaluate.noise.equal_rates import equal_rates
from service.evaluate.pieces import Workbench
from service.evaluate.snr.families import families_of, one_a_family
from service.evaluate.tables import kept


@dataclass(frozen=True, slots=True)
class Question:
    """candidates: whose differences are the signal. families: of noise. days, noise: measures by
    phase, of all of them, at `thresholds` and at the evaluation's single one; of the days recall
    comes first, and is what the benchmark is held against."""

    evaluation: Evaluation
    traces: pa.Table
    thresholds: Thresholds
    candidates: Sequence[str]
    families: Families
    strata: Sequence[str]
    days: Mapping[str, Sequence[Measure]]
    noise: Mapping[str, Measure]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([*self.candidates, *self.families.members]))

    def scores(self, measure: Measure) -> Scores:
        return measure.scores(seed=self.evaluation.seed, replicates=self.evaluation.replicates)

    @property
    def targets(self) -> dict[str, Scores]:
        """Phase -> recall on continuous days."""
        return {phase: self.scores(measures[0]) for phase, measures in self.days.items()}


def question_of(
    evaluation: Evaluation, path: Path, bench: Workbench
) -> tuple[Question, dict[str, str]]:
    """The question, and in words what its answer rests on. Raises Refusal."""
    traces = kept(Path(evaluation.out), "traces")
    assert traces is not None
    names = evaluation.names or pc.unique(traces["weight"]).to_pylist()
    facts = {}
    if evaluation.noise is not None:
        frozen, without = equal_rates(evaluation, names)
        thresholds, facts["thresholds"] = frozen.thresholds, frozen.rule
        if without:
            facts["left out, for no threshold meets that"] = ", ".join(without)
    else:
        without = []
        thresholds, solved = thresholds_of(evaluation, traces)
        facts["thresholds"] = solved.rule if solved else f"{evaluation.threshold:g} for all"
    families = families_of(evaluation)
    if lost := sorted(set(without) & set(families.members)):
        raise Refusal(f"family.candidates {lost}: no threshold meets the target rate of noise")
    for kind in KINDS[:2]:
        named = "; ".join(", ".join(members) for members in families.of(kind))
        facts[f"noise of {kind}"] = named or f"undefined: {UNKNOWN[kind]}; name a [[family]]"
    signal = [name for name in one_a_family(evaluation, names) if name not in without]
    facts["signal between"] = ", ".join(signal)
    every = list(dict.fromkeys([*signal, *families.members]))
    return Question(
        evaluation,
        traces,
        thresholds,
        signal,
        families,
        (*STRATA, *extra_strata(evaluation)),
        _of_days(evaluation, path, thresholds, every, bench),
        _of_noise(evaluation, every),
    ), facts


def _of_days(
    evaluation: Evaluation,
    path: Path,
    thresholds: Thresholds,
    names: Sequence[str],
    bench: Workbench,
) -> dict[str, list[Measure]]:
    """The figures of continuous days at the same thresholds, by phase."""
    if evaluation.continuous is None:
        return {}
    days = Judged.of(evaluation, path, bench)
    days.days.check_thresholds(thresholds, names)
    own = days.picks.filter(pc.is_in(days.picks["candidate"].cast(pa.string()), pa.array(names)))
    return of_days(
        picks_at(own, thresholds),
        days.arrivals,
        days.days.table,
        names,
        tolerance_s=days.tolerance_s,
        complete=days.settings.complete,
        margin=margin_of(evaluation) if evaluation.noise else RATE_MARGIN,
    )


def _of_noise(evaluation: Evaluation, names: Sequence[str]) -> dict[str, Measure]:
    """False picks per hour at the evaluation's threshold: at the target rate all are alike."""
    counts = counts_of(evaluation)
    if counts is None:
        return {}
    margin = margin_of(evaluation)
    return {phase: false_picks(counts, phase, names, margin) for phase in PHASES}
