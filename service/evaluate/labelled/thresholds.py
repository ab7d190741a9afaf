"""The thresholds an evaluation judges at: given, or solved once, kept, and used ever after."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import Refusal
from catalog.schema import PHASES, digest
from catalog.store import open_store
from eval.thresholds import TIMELY_S, Frozen, Thresholds, equal_counts, f1_timed
from eval.traces import conformed, keys, peaks
from service.evaluate.config import Evaluation
from service.evaluate.labelled.sealed import among, split_of
from service.evaluate.noise.equal_rates import rule_of, supported_rates
from service.prepare import candidate_weights

FILE = "thresholds.json"


def thresholds_of(evaluation: Evaluation, traces: pa.Table) -> tuple[Thresholds, Frozen | None]:
    """What all candidates are judged at, and how it was solved, if it was.

    traces: all of them, sealed or not; only the tuning split is looked at. Solved once: what is
    kept is used again. Raises Refusal where that is of another rule, other candidates, other
    weights or other traces.
    """
    if evaluation.thresholds == "fixed":
        return Thresholds.of(evaluation.threshold), None
    path = Path(evaluation.out) / FILE
    names = sorted(pc.unique(traces["weight"]).to_pylist())
    tuning = _tuning(evaluation, traces)
    if not path.exists():
        _keep(path, _solved(evaluation, names, tuning))
    frozen = kept_thresholds(evaluation)
    if why := _another(evaluation, frozen, names, tuning):
        raise Refusal(
            f"{path}: solved by the rule {frozen.rule!r} for {sorted(frozen.thresholds.each)}, and "
            f"now {why}: give the evaluation another `out`, or remove the file to solve anew"
        )
    return frozen.thresholds, frozen


def kept_thresholds(evaluation: Evaluation) -> Frozen:
    """What was solved. Raises Refusal where nothing was, or the file cannot be read."""
    path = Path(evaluation.out) / FILE
    if not path.exists():
        raise Refusal(f"{path}: no thresholds were solved yet; run `tidepick eval oracle`")
    try:
        return Frozen.from_json(path.read_text())
    except ValueError as error:
        raise Refusal(f"{path}: {error}; remove the file to solve anew") from error


def _another(
    evaluation: Evaluation, frozen: Frozen, names: list[str], tuning: pa.Table | None
) -> str:
    """What differs from what the thresholds were solved for; empty where nothing does."""
    if frozen.rule != _rule(evaluation):
        return f"the rule is {_rule(evaluation)!r}"
    if lacking := sorted(set(names) - set(frozen.thresholds.each)):
        return f"there are {lacking}"
    weights = _weights(evaluation)
    if other := sorted(n for n in weights if frozen.weights.get(n, weights[n]) != weights[n]):
        return f"the weights of {other} are others"
    if tuning is None:
        if supported_rates(evaluation, names).rows_digest != frozen.rows_digest:
            return "the noise windows are others"
    elif tuning.num_rows and digest(_keys(tuning)) != frozen.rows_digest:
        return "the traces of the tuning split are others"
    return ""


def _rule(evaluation: Evaluation) -> str:
    if evaluation.thresholds == "f1_optimal":
        return f"best F1 within {TIMELY_S:g} s of the label"
    if evaluation.thresholds == "equal_false_picks":
        return rule_of(evaluation)
    return f"as many found as {evaluation.against} at {evaluation.threshold:g}"


def _tuning(evaluation: Evaluation, traces: pa.Table) -> pa.Table | None:
    """None where the rule asks for no labelled trace."""
    if evaluation.thresholds == "equal_false_picks":
        return None
    assert evaluation.splits is not None
    return conformed(among(traces, split_of(open_store(evaluation.splits), "tuning")))


def _solved(evaluation: Evaluation, names: list[str], tuning: pa.Table | None) -> Frozen:
    rule, weights = _rule(evaluation), _weights(evaluation)
    if tuning is None:
        return replace(supported_rates(evaluation, names), weights=weights)
    if tuning.num_rows == 0:
        raise Refusal(f"splits {evaluation.splits}: none of the traces is in tuning; remake them")
    found = peaks(tuning)
    try:
        if evaluation.thresholds == "f1_optimal":
            thresholds = f1_timed(found, evaluation.threshold)
        else:
            thresholds = equal_counts(found, _found_by_baseline(evaluation, found))
        return Frozen.solved(thresholds, rule, "tuning", _keys(tuning), weights)
    except ValueError as error:
        raise Refusal(f"thresholds: {error}") from error


def _found_by_baseline(evaluation: Evaluation, found: pa.Table) -> dict[str, int]:
    at_baseline = found.filter(
        (pc.field("candidate") == evaluation.against)
        & (pc.field("probability") >= evaluation.threshold)
    )
    return {phase: at_baseline.filter(pc.field("phase") == phase).num_rows for phase in PHASES}


def _keys(tuning: pa.Table) -> list[str]:
    return sorted(pc.unique(keys(tuning)).to_pylist())


def _weights(evaluation: Evaluation) -> dict[str, str]:
    return {each.name: candidate_weights(each).sha256 for each in evaluation.candidate}


def _keep(path: Path, frozen: Frozen) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(frozen.to_json())
    os.replace(fresh, path)
