"""Which traces an evaluation may look at: of the open splits, or, on record, of the test split."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import Refusal
from catalog.store import MissingObject, Store, open_store
from eval import splits
from eval.traces import conformed, keys
from service.evaluate.config import Evaluation

OPEN = ("development", "tuning")


@dataclass(frozen=True, slots=True)
class Looked:
    """table: the traces that are looked at. left_out: how many are not. split: of which they are.
    openings: of the test split so far."""

    table: pa.Table
    left_out: int
    split: str
    openings: int


def looked_at(evaluation: Evaluation, table: pa.Table, why: str | None) -> Looked:
    """Development and tuning; the test split alone where `why` says what for. All of it where the
    evaluation has no splits. Raises Refusal where they are not made yet."""
    if evaluation.splits is None:
        if why is not None:
            raise Refusal("--open-test: the evaluation file names no `splits`; nothing is sealed")
        return Looked(table, 0, "all", 0)
    store = open_store(evaluation.splits)
    if why is None:
        members = pa.concat_tables([split_of(store, name) for name in OPEN])
    else:
        split_of(store, "tuning")  # before anything is put on record
        try:
            names = [candidate.name for candidate in evaluation.candidate]
            members = splits.open_test(store, names, why)
        except ValueError as error:
            raise Refusal(f"--open-test: {error}") from error
    kept = among(table, members)
    split = " and ".join(OPEN) if why is None else "test"
    if kept.num_rows == 0:
        raise Refusal(
            f"splits {evaluation.splits}: none of the {table.num_rows} rows is of that split; a "
            "trace without event or origin is in none, and new traces need `tidepick eval splits` "
            "with another place"
        )
    left_out = table.num_rows - kept.num_rows
    return Looked(kept, left_out, split, splits.openings(store).num_rows)


def split_of(store: Store, name: str) -> pa.Table:
    """A split that is not sealed. Raises Refusal where none are made."""
    try:
        return splits.read(store, name)
    except MissingObject as error:
        raise Refusal(
            f"splits {store.url}: none are kept there; make them with `tidepick eval splits`"
        ) from error
    except ValueError as error:
        raise Refusal(str(error)) from error


def among(table: pa.Table, members: pa.Table) -> pa.Table:
    """Rows of a per-trace table whose traces are among the members."""
    return table.filter(pc.is_in(keys(conformed(table)), keys(members)))
