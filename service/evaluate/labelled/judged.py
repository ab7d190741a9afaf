"""The same traces judged again, without those that should not count: what a figure rests on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import Refusal
from eval.leakage import clean_only, without_label_errors
from eval.traces import KEY, few
from service.evaluate.config import Evaluation
from service.evaluate.labelled.traces import read_names
from service.evaluate.tables import kept


@dataclass(frozen=True, slots=True)
class Selection:
    """name: empty for all; else what tables of it end in. about: in words."""

    name: str
    about: str
    table: pa.Table


def listed_errors(evaluation: Evaluation) -> pa.Table | None:
    """The label errors that the file names. Raises Refusal."""
    if evaluation.label_errors is None:
        return None
    errors = read_names(evaluation.label_errors)
    for name in KEY:
        if name not in errors.column_names:
            raise Refusal(
                f"label_errors {evaluation.label_errors}: no column {name!r}; it needs {list(KEY)}"
            )
    return errors


def selections(evaluation: Evaluation, traces: pa.Table) -> Iterator[Selection]:
    """All traces; those without listed label errors; those that no candidate was trained on.

    The last are of the candidates that registered a manifest, by the audit of `tidepick eval
    splits`: a trace that cannot be verified is left out. Raises Refusal.
    """
    yield Selection("", "all traces", traces)
    if (errors := listed_errors(evaluation)) is not None:
        left, strange = without_label_errors(traces, errors)
        about = f"without {errors.num_rows} traces whose labels are wrong"
        if strange:
            about += f", of which {len(strange)} are not among the traces ({few(strange)})"
        yield Selection("without_label_errors", about, left)
    if evaluation.manifest:
        status = kept(Path(evaluation.out), "leakage_status")
        if status is None:
            raise Refusal(
                "manifest: not audited yet; `tidepick eval splits` compares them with the traces"
            )
        names = sorted({manifest.candidate for manifest in evaluation.manifest})
        try:
            left = clean_only(traces, status, names)
        except ValueError as error:
            raise Refusal(f"manifest: {error}; run `tidepick eval splits` again") from error
        left = left.filter(pc.is_in(left["weight"], pa.array(names)))
        about = f"traces of events that none of {', '.join(names)} was trained on"
        yield Selection("clean", about, left)
