"""Which traces an evaluation may look at: of the open splits, or, on record, of the test split."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import Refusal
from catalog.store import MissingObject, Store, open_store
from eval import splits
from eval.thresholds import Frozen
from eval.traces import keys
from service.evaluate.config import Evaluation

OPEN = ("development", "tuning")


@dataclass(frozen=True, slots=True)
class Looked:
    """table: the traces that are looked at. left_out: how many traces are not. split: of which they
    are. openings: of the test split so far."""

    table: pa.Table
    left_out: int
    split: str
    openings: int

    def facts(self, frozen: Frozen | None, threshold: float) -> pa.Table:
        """LOOKED_SCHEMA, one row. threshold: of all candidates, where none were frozen."""
        fixed = {"thresholds": f"{threshold:g} for all", "solved_on": None}
        solved = fixed if frozen is None else {"thresholds": frozen.rule, "solved_on": frozen.split}
        facts = {"split": self.split, "traces": _traces(self.table), "left_out": self.left_out}
        return pa.Table.from_pylist([facts | solved], splits.LOOKED_SCHEMA)


def _traces(table: pa.Table) -> int:
    return len(pc.unique(keys(table)))


def check_made(evaluation: Evaluation, why: str | None) -> None:
    """Raises Refusal where a split is asked for that is not there: before anything is run."""
    if evaluation.splits is not None:
        split_of(open_store(evaluation.splits), "tuning")
    elif why is not None:
        raise Refusal("--open-test: the evaluation file names no `splits`; nothing is sealed")


def looked_at(evaluation: Evaluation, table: pa.Table, why: str | None) -> Looked:
    """Development and tuning; the test split alone where `why` says what for. All of it where the
    evaluation has no splits. Raises Refusal where they are not made yet."""
    check_made(evaluation, why)
    if evaluation.splits is None:
        return Looked(table, 0, "all", 0)
    store = open_store(evaluation.splits)
    if why is None:
        members = pa.concat_tables([split_of(store, name) for name in OPEN])
    else:
        try:
            names = evaluation.names or pc.unique(table["weight"]).to_pylist()
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
    left_out = _traces(table) - _traces(kept)
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
    """Rows of a table, one or more a trace, whose traces are among the members."""
    return table.filter(pc.is_in(keys(table), keys(members)))
