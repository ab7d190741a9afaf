"""The tables of `tidepick eval snr`, from what was run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from eval.metrics import Sample
from eval.snr.average import AVERAGE_SCHEMA, averaging
from eval.snr.decisions import SIZE_SCHEMA, by_size, decision
from eval.snr.measures import Labelled, labelled
from eval.snr.scores import Measure
from eval.snr.spreads import predicting
from eval.snr.table import SNR_SCHEMA, judged, table
from eval.snr.training import TRAINING_SCHEMA, courses
from eval.strata import ALL
from service.evaluate.snr.bins import kept_and_rescored
from service.evaluate.snr.families import averages_of
from service.evaluate.snr.question import Question

DECISION_SCHEMA = pa.schema(
    [
        ("stratum", pa.string()),
        ("bin", pa.string()),
        ("phase", pa.string()),
        ("measure", pa.string()),
        ("against", pa.string()),
        ("candidates", pa.int64()),
        ("accuracy", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
    ]
)

NOISE, DAYS = "noise", "continuous days"
"""Strata of the rows that are of no labelled trace; their `traces` are stations, and arrivals or
station-days."""


def tables_of(question: Question) -> dict[str, pa.Table]:
    """Every table by name. Raises ValueError as `eval.snr.table.table`."""
    seed, replicates = question.evaluation.seed, question.evaluation.replicates
    targets = question.targets
    found = table(
        question.traces,
        question.candidates,
        question.thresholds,
        question.strata,
        families=question.families,
        days=targets,
        seed=seed,
        replicates=replicates,
    )
    rows = found.to_pylist()
    spread: list[tuple[dict[str, object], Sample]] = []
    decisions: list[dict[str, object]] = []
    sizes, averages, training = ([schema.empty_table()] for schema in
                                 (SIZE_SCHEMA, AVERAGE_SCHEMA, TRAINING_SCHEMA))  # fmt: skip
    for phase in pc.unique(found["phase"]).to_pylist():
        of_phase = [row for row in rows if row["phase"] == phase]
        out = of_phase[0]["excluded"]
        usable = [name for name in question.candidates if name not in out.split(", ")]
        every = labelled(question.traces, phase, question.names, question.strata)
        together = list(dict.fromkeys([*usable, *question.families.members]))
        measures = every.of(together).measures(question.thresholds)
        own = [measure.among(usable) for measure in measures]
        days = question.days.get(phase, ())
        noise = [question.noise[phase]] if phase in question.noise else []
        for stratum, more in ((NOISE, noise), (DAYS, days)):
            for measure in more:
                target = targets.get(phase) if stratum == NOISE else None
                where = {"stratum": stratum, "bin": ALL, "excluded": out}
                how = {"seed": seed, "replicates": replicates}
                rows += [
                    where | row
                    for row in judged([measure], usable, question.families, target, **how)
                ]
        named = [(f"{measure.name} on continuous days", measure) for measure in days]
        named += [("false picks per hour of noise", measure) for measure in noise]
        decisions += _decisions(question, own, [(n, m.among(usable)) for n, m in named])
        if phase in targets:
            sizes += [by_size(each, targets[phase], _sizes(each), seed=seed) for each in own]
        averages += _averages(question, every)
        training.append(courses(measures, question.families))
        spread += _with_scores(of_phase, own, every)
    return {
        "snr": pa.Table.from_pylist(rows, SNR_SCHEMA),
        "snr_decisions": pa.Table.from_pylist(decisions, DECISION_SCHEMA),
        "snr_sizes": pa.concat_tables(sizes),
        "snr_bins": kept_and_rescored(question, targets),
        "snr_average": pa.concat_tables(averages),
        "snr_training": pa.concat_tables(training),
        "snr_spreads": predicting(spread),
    }


def _decisions(
    question: Question, measures: Sequence[Measure], targets: Sequence[tuple[str, Measure]]
) -> Iterator[dict[str, object]]:
    held = [(against, question.scores(target)) for against, target in targets]
    for measure in measures:
        scores = question.scores(measure)
        for against, target in held:
            values = [*scores.values.tolist(), *target.values.tolist()]
            if any(value != value for value in values):
                continue
            accuracy = decision(scores, target, seed=question.evaluation.seed)
            ends = {"accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high}
            yield {
                "stratum": ALL, "bin": ALL, "phase": measure.phase, "measure": measure.name,
                "against": against, "candidates": len(measure.candidates),
                **{name: None if end != end else end for name, end in ends.items()},
            }  # fmt: skip


def _sizes(measure: Measure) -> list[int]:
    """Doubling, up to all clusters there are."""
    [(_, codes), *_] = measure.clusters.levels(len(measure.of))
    count, sizes = len(set(codes.tolist())), [1]
    while sizes[-1] * 2 < count:
        sizes.append(sizes[-1] * 2)
    return [*sizes[1:], count]


def _averages(question: Question, every: Labelled) -> Iterator[pa.Table]:
    seed, replicates = question.evaluation.seed, question.evaluation.replicates
    for name, members in averages_of(question.evaluation):
        if name in every.candidates:
            measures = every.of([name, *members]).measures(question.thresholds)
            yield averaging(measures, name, members, seed=seed, replicates=replicates)


def _with_scores(
    rows: Sequence[dict[str, object]], measures: Sequence[Measure], every: Labelled
) -> Iterator[tuple[dict[str, object], Sample]]:
    """Each row of the table, and the candidates' scores that it was made of."""
    of = {measure.name: measure for measure in measures}
    for row in rows:
        inside = every.bins[str(row["stratum"])] == row["bin"]
        yield row, of[str(row["measure"])].take(inside).values
