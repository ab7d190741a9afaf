"""The thresholds an evaluation judges at: given, or solved on the tuning split once and kept."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import Refusal
from catalog.schema import PHASES
from catalog.store import open_store
from eval.thresholds import Frozen, Thresholds, equal_counts
from eval.traces import conformed, keys, peaks
from service.evaluate.config import Evaluation
from service.evaluate.sealed import among, split_of

FILE = "thresholds.json"


def thresholds_of(evaluation: Evaluation, traces: pa.Table) -> tuple[Thresholds, Frozen | None]:
    """What all candidates are judged at, and how it was solved, if it was.

    traces: all of them, sealed or not; only the tuning split is looked at. Solved once: what is
    kept is used again, and a file of another rule or other candidates is refused.
    """
    if evaluation.thresholds == "fixed":
        return Thresholds.of(evaluation.threshold), None
    path = Path(evaluation.out) / FILE
    if not path.exists():
        _keep(path, _solved(evaluation, traces))
    frozen = Frozen.from_json(path.read_text())
    names = set(pc.unique(traces["weight"]).to_pylist())
    if frozen.rule != _rule(evaluation) or not names <= set(frozen.thresholds.each):
        raise Refusal(
            f"{path}: solved by the rule {frozen.rule!r} for {sorted(frozen.thresholds.each)}; "
            "the evaluation file asks for others: give it another `out`, or remove the file to "
            "solve anew"
        )
    return frozen.thresholds, frozen


def kept_thresholds(evaluation: Evaluation) -> Frozen:
    """What was solved on the tuning split. Raises Refusal where nothing was."""
    path = Path(evaluation.out) / FILE
    if not path.exists():
        raise Refusal(f"{path}: no thresholds were solved yet; run `tidepick eval oracle`")
    return Frozen.from_json(path.read_text())


def _rule(evaluation: Evaluation) -> str:
    return f"as many found as {evaluation.against} at {evaluation.threshold:g}"


def _solved(evaluation: Evaluation, traces: pa.Table) -> Frozen:
    assert evaluation.splits is not None
    tuning = conformed(among(traces, split_of(open_store(evaluation.splits), "tuning")))
    if tuning.num_rows == 0:
        raise Refusal(f"splits {evaluation.splits}: none of the traces is in tuning; remake them")
    found = peaks(tuning)
    at_baseline = found.filter(
        (pc.field("candidate") == evaluation.against)
        & (pc.field("probability") >= evaluation.threshold)
    )
    counts = {phase: at_baseline.filter(pc.field("phase") == phase).num_rows for phase in PHASES}
    try:
        thresholds = equal_counts(found, counts)
        solved_on = pc.unique(keys(tuning)).to_pylist()
        return Frozen.solved(thresholds, _rule(evaluation), "tuning", solved_on)
    except ValueError as error:
        raise Refusal(f"thresholds: {error}") from error


def _keep(path: Path, frozen: Frozen) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(frozen.to_json())
    os.replace(fresh, path)
