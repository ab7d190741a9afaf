"""`tidepick eval snr`: does the benchmark tell the candidates apart, or is it noise?

Tables: `snr` (each bin and measure), `snr_decisions` (would the benchmark's ranking be that of
continuous days and of noise), `snr_sizes` (how many traces that takes), `snr_bins` (bins of most
signal, chosen on development, scored on tuning) and `snr_average` (averaged checkpoints beside
those that they are the mean of). Thresholds are those of equal false picks per hour where noise was
judged, else the evaluation's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from catalog.errors import Refusal
from catalog.schema import PHASES
from catalog.store import open_store
from eval.comparison import FOUND_SCHEMA
from eval.oracle import STRATA
from eval.reviewed import found_on
from eval.snr.average import AVERAGE_SCHEMA, averaging
from eval.snr.bins import FILTER_SCHEMA, check_apart, rescored
from eval.snr.bins import kept as kept_bins
from eval.snr.decisions import SIZE_SCHEMA, by_size, decision
from eval.snr.measures import Labelled, false_picks, labelled, of_found
from eval.snr.scores import Measure, Scores
from eval.snr.table import SNR_SCHEMA, Families, judged, table
from eval.strata import ALL
from eval.thresholds import Thresholds, picks_at
from service.evaluate.config import Evaluation, load_evaluation
from service.evaluate.continuous import Judged
from service.evaluate.equal_rates import equal_rates
from service.evaluate.noise import eval_noise
from service.evaluate.oracle import eval_oracle
from service.evaluate.pieces import Workbench
from service.evaluate.sealed import among, split_of
from service.evaluate.shown import show
from service.evaluate.snr_screen import shown_tables
from service.evaluate.tables import keep, kept, outdated
from service.evaluate.thresholds import thresholds_of
from service.evaluate.traces import extra_strata

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

NOISE, DAYS = "noise, by station", "continuous days, by arrival"
"""Strata of the rows that are of no labelled trace; their `traces` are stations and arrivals."""

RECALL_OF_DAYS, RATE_OF_NOISE = "recall on continuous days", "false picks per hour of noise"


def eval_snr(options: argparse.Namespace, out: Console) -> int:
    evaluation = load_evaluation(options.evaluation)
    if not evaluation.benchmark:
        raise Refusal(f"evaluation {options.evaluation}: benchmark: missing; name labelled traces")
    with redirect_stdout(sys.stderr if options.json else sys.stdout):
        say = Console(stderr=True) if options.json else out
        codes = list(_run_what_lacks(evaluation, options, say))
        bench = Workbench.of(evaluation, say, options.address)
        try:
            tables, facts = snr_tables(evaluation, options.evaluation, bench)
        except ValueError as error:
            raise Refusal(f"snr: {error}") from error
    for name, made in tables.items():
        keep(Path(evaluation.out), name, made)
    if options.json:
        show(out, True, tables, facts)
    else:
        show(out, False, {}, facts)
        for each in shown_tables(tables):
            out.print(each)
    return max([*codes, bench.tell_unfinished()])


def _run_what_lacks(
    evaluation: Evaluation, asked_with: argparse.Namespace, say: Console
) -> Iterator[int]:
    """What the table rests on and the file has data for."""
    folder = Path(evaluation.out)
    options = argparse.Namespace(
        evaluation=asked_with.evaluation, json=False, address=asked_with.address, open_test=None
    )
    runs: list[tuple[str, bool, Callable[[argparse.Namespace, Console], int]]] = [
        ("traces", True, eval_oracle),
        ("noise_thresholds", evaluation.noise is not None, eval_noise),
    ]
    for name, asked, run in runs:
        if asked and (kept(folder, name) is None or outdated(folder, name)):
            yield run(options, say)


@dataclass(frozen=True, slots=True)
class _Question:
    """candidates: whose differences are the signal. members: of families. days, noise: measures
    by phase, of all of them, at `thresholds` and at the evaluation's single one."""

    evaluation: Evaluation
    traces: pa.Table
    thresholds: Thresholds
    candidates: Sequence[str]
    families: Families
    strata: Sequence[str]
    days: Mapping[str, Measure]
    noise: Mapping[str, Measure]

    @property
    def names(self) -> list[str]:
        return list(dict.fromkeys([*self.candidates, *self.families.members]))


def snr_tables(
    evaluation: Evaluation, path: Path, bench: Workbench
) -> tuple[dict[str, pa.Table], dict[str, str]]:
    """All tables by name, and what they rest on. Raises Refusal, or ValueError for tables that do
    not hold the same traces of every candidate."""
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
    facts["noise of training"] = (
        "; ".join(f"{family.kind} {', '.join(family.candidates)}" for family in evaluation.family)
        or "not known: name a [[family]]"
    )
    signal = [name for name in one_a_family(evaluation, names) if name not in without]
    facts["signal between"] = ", ".join(signal)
    every = list(dict.fromkeys([*signal, *families.members]))
    question = _Question(
        evaluation,
        traces,
        thresholds,
        signal,
        families,
        (*STRATA, *extra_strata(evaluation)),
        _of_days(evaluation, path, thresholds, every, bench),
        _of_noise(evaluation, every),
    )
    tables = _tables(question)
    if out := sorted(set(filter(None, pc.unique(tables["snr"]["excluded"]).to_pylist()))):
        facts["degenerate, no signal"] = "; ".join(out)
    return tables, facts


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


def _of_days(
    evaluation: Evaluation,
    path: Path,
    thresholds: Thresholds,
    names: Sequence[str],
    bench: Workbench,
) -> dict[str, Measure]:
    """Recall on continuous days at the same thresholds, of the phases that were read there."""
    if evaluation.continuous is None:
        return {}
    days = Judged.of(evaluation, path, bench)
    own = days.picks.filter(pc.is_in(days.picks["candidate"].cast(pa.string()), pa.array(names)))
    found = found_on(picks_at(own, thresholds), days.arrivals, days.tolerance_s, names)
    found = found.select(FOUND_SCHEMA.names)
    phases = set(pc.unique(found["phase"]).to_pylist())
    return {phase: of_found(found, phase, names) for phase in PHASES if phase in phases}


def _of_noise(evaluation: Evaluation, names: Sequence[str]) -> dict[str, Measure]:
    """False picks per hour at the evaluation's threshold: at the target rate all are alike."""
    counts = kept(Path(evaluation.out), "noise_stations")
    if evaluation.noise is None or counts is None:
        return {}
    counts = counts.filter(pc.field("threshold") == evaluation.threshold)
    counts = counts.append_column("key", counts["station"])
    margin = evaluation.noise.target_rate / 2
    return {phase: false_picks(counts, phase, names, margin) for phase in PHASES}


def _tables(question: _Question) -> dict[str, pa.Table]:
    seed, replicates = question.evaluation.seed, question.evaluation.replicates
    targets = {
        phase: measure.scores(seed=seed, replicates=replicates)
        for phase, measure in question.days.items()
    }
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
    rows: list[dict[str, object]] = []
    decisions: list[dict[str, object]] = []
    sizes, averages = [SIZE_SCHEMA.empty_table()], [AVERAGE_SCHEMA.empty_table()]
    for phase in pc.unique(found["phase"]).to_pylist():
        of_phase = found.filter(pc.field("phase") == phase)
        out, usable = of_phase["excluded"][0].as_py(), _usable(question.candidates, of_phase)
        every = labelled(question.traces, phase, question.names)
        target, own = targets.get(phase), every.of(usable).measures(question.thresholds)
        more = {NOISE: question.noise.get(phase), DAYS: question.days.get(phase)}
        for stratum, measure in more.items():
            if measure is not None:
                days = target if stratum == NOISE else None
                [row] = judged(
                    [measure], usable, question.families, days, seed=seed, replicates=replicates
                )
                rows.append({"stratum": stratum, "bin": ALL, "excluded": out} | row)
        decisions += _decisions(question, phase, usable, own, target)
        if target is not None:
            for measure in own:
                sizes.append(by_size(measure, target, _sizes(measure), seed=seed))
        averages += _averages(question, every)
    return {
        "snr": pa.concat_tables([found, pa.Table.from_pylist(rows, SNR_SCHEMA)]),
        "snr_decisions": pa.Table.from_pylist(decisions, DECISION_SCHEMA),
        "snr_sizes": pa.concat_tables(sizes),
        "snr_bins": _bins(question, targets),
        "snr_average": pa.concat_tables(averages),
    }


def _decisions(
    question: _Question,
    phase: str,
    usable: Sequence[str],
    measures: Sequence[Measure],
    days: Scores | None,
) -> Iterator[dict[str, object]]:
    seed, replicates = question.evaluation.seed, question.evaluation.replicates
    noise = question.noise.get(phase)
    rates = noise.scores(seed=seed, replicates=replicates) if noise is not None else None
    for measure in measures:
        scores = measure.scores(seed=seed, replicates=replicates).of(usable)
        for against, target in ((RECALL_OF_DAYS, days), (RATE_OF_NOISE, rates)):
            values = scores.values.tolist() + (target.of(usable).values.tolist() if target else [])
            if target is None or any(value != value for value in values):
                continue
            accuracy = decision(scores, target, seed=seed)
            ends = {"accuracy": accuracy.value, "low": accuracy.low, "high": accuracy.high}
            yield {
                "stratum": ALL, "bin": ALL, "phase": phase, "measure": measure.name,
                "against": against, "candidates": len(usable),
                **{name: None if end != end else end for name, end in ends.items()},
            }  # fmt: skip


def _sizes(measure: Measure) -> list[int]:
    """Doubling, up to all clusters there are."""
    [(_, codes), *_] = measure.clusters.levels(len(measure.of))
    count, sizes = len(set(codes.tolist())), [1]
    while sizes[-1] * 2 < count:
        sizes.append(sizes[-1] * 2)
    return [*sizes[1:], count]


def _averages(question: _Question, every: Labelled) -> Iterator[pa.Table]:
    seed, replicates = question.evaluation.seed, question.evaluation.replicates
    for name, members in averages_of(question.evaluation):
        if name in every.candidates:
            measures = every.of([name, *members]).measures(question.thresholds)
            yield averaging(measures, name, members, seed=seed, replicates=replicates)


def _bins(question: _Question, days: Mapping[str, Scores]) -> pa.Table:
    """Chosen on development, scored on tuning; none where there are no splits, or only the opened
    test split is at hand."""
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
                best = kept_bins(chosen, *where, kind)
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
