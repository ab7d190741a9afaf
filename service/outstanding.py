"""What is left of a plan, month by month: memory is one month of the network, however long it runs.

A shard lies inside a calendar month, and so do the commits that speak for it; no month needs
another.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from catalog.ledger import list_months, read_month, summarise
from catalog.schema import EPOCH, Flag, Outcome, Shard, month_of
from catalog.store import Store
from service.days import Mask
from service.mended import Mended
from service.plan import Plan, Span
from service.reasons import grouped
from workers.picker import StoredCandidate, Work

OUTCOMES = tuple(Outcome)
BESIDE = {
    Outcome.ACCESS_DENIED: Flag.HALO_REFUSED,
    Outcome.BAD_FORMAT: Flag.INCOMPLETE | Flag.BREAKS_OFF,
    **dict.fromkeys([Outcome.NO_DATA, Outcome.TOO_SHORT, Outcome.WRONG_RATE], Flag.BREAKS_OFF),
}
"""Flags of days, whatever their outcome, that lack what an outcome's days may have by now."""

REASONS = 20
"""The most frequent reasons of failure that are kept of a month."""


@dataclass(frozen=True, slots=True)
class Covered:
    """One month of a plan beside its ledger; arrays [candidate, trace, day].

    generation: of the commit that speaks for a station-day, -1 where none does.
    outcome: its place in OUTCOMES. flags: of the station-day. missed: whether it was picked without
    an object that is mended now. planned: bool [trace, day]. failures: why station-days failed, and
    how many.
    """

    planned: Mask
    generation: NDArray[np.int32]
    outcome: NDArray[np.int8]
    flags: NDArray[np.uint32]
    missed: NDArray[np.bool_]
    failures: Counter[str]

    def due(self, retry: frozenset[Outcome]) -> NDArray[np.int32]:
        """The generation that is to be written, -1 where nothing is to be done.

        To try again what was not to be had is to pick again the days beside it too. They say so
        themselves: a run that dies between them and what they lacked leaves them due.
        """
        again = self.missed | np.isin(self.outcome, [OUTCOMES.index(outcome) for outcome in retry])
        for outcome, flag in BESIDE.items():
            if outcome in retry:
                again |= self.flags & flag != 0
        due = np.where(again, self.generation + 1, -1).astype(np.int32)
        due[self.generation < 0] = 0
        due[:, ~self.planned] = -1
        return due


@dataclass(frozen=True, slots=True)
class Census:
    """One month of a plan, counted. due: station-days x candidates that are to be picked."""

    due: int
    outcomes: Counter[str]
    failures: Counter[str]


def survey(
    plan: Plan,
    candidates: Sequence[StoredCandidate],
    store: Store,
    months: Iterable[Span],
    retry: frozenset[Outcome] = frozenset(),
    mended: Mended | None = None,
) -> dict[Span, Census]:
    """What stands of some months of a plan; leaves a summary of each in the ledger."""
    found = {}
    spans = list(months)
    listings = list_months(store, [month_of(first) for first, _ in spans])
    for span, listing in zip(spans, listings, strict=True):
        covered = cover(plan, candidates, span, summarise(store, listing), mended)
        standing = covered.outcome[covered.generation >= 0]
        counts = np.bincount(standing, minlength=len(OUTCOMES)).tolist()
        found[span] = Census(
            due=int(np.count_nonzero(covered.due(retry) >= 0)),
            outcomes=Counter({str(o): n for o, n in zip(OUTCOMES, counts, strict=True) if n}),
            failures=covered.failures,
        )
    return found


def outstanding(
    plan: Plan,
    candidates: Sequence[StoredCandidate],
    store: Store,
    months: Iterable[Span],
    retry: frozenset[Outcome] = frozenset(),
    mended: Mended | None = None,
) -> Iterator[Work]:
    """What of some months no commit speaks for yet, or only with an outcome to be retried, or that
    has not read what is mended.

    A month's ledger is read when its turn comes.
    """
    for span in months:
        (listing,) = list_months(store, [month_of(span[0])])
        covered = cover(plan, candidates, span, read_month(store, listing), mended)
        yield from works(plan, candidates, span, covered.due(retry))


def cover(
    plan: Plan,
    candidates: Sequence[StoredCandidate],
    month: Span,
    rows: pa.Table,
    mended: Mended | None = None,
) -> Covered:
    """Lay the standing rows of a month's ledger (LEDGER_SCHEMA) over the plan."""
    first, last = month
    shape = len(candidates), len(plan.traces), (last - first).days
    codes = ("network", "station", "location", "band")
    facts = ("day", "outcome", "flags", "shard", "generation", "detail", "standing")
    rows = rows.select([*codes, "candidate", *facts]).filter(pc.field("standing"))
    names = pc.binary_join_element_wise(*(rows[code].cast(pa.string()) for code in codes), ".")
    trace = _places(names, [str(trace) for trace in plan.traces])
    candidate = _places(rows["candidate"], [candidate.name for candidate in candidates])
    day = rows["day"].cast(pa.int32()).to_numpy() - (first - EPOCH).days
    mask = plan.planned(month)
    planned = (trace >= 0) & (candidate >= 0) & (day >= 0) & (day < shape[2])
    planned[planned] = mask[trace[planned], day[planned]]
    cell = candidate[planned], trace[planned], day[planned]

    generation, outcome = np.full(shape, -1, np.int32), np.full(shape, -1, np.int8)
    generation[cell] = rows["generation"].to_numpy()[planned]
    outcome[cell] = _places(rows["outcome"], list(OUTCOMES))[planned]
    flags = np.zeros(shape, np.uint32)
    flags[cell] = rows["flags"].to_numpy()[planned]
    missed = np.zeros(shape, bool)
    if mended is not None:
        missed[cell] = mended.missed(rows, names)[planned]
    failed = rows.filter(pa.array(planned)).filter(pc.field("outcome") == Outcome.FAILED)
    counted = pc.value_counts(failed["detail"].cast(pa.string())).to_pylist()
    failures = grouped({reason["values"]: reason["counts"] for reason in counted})
    reasons = Counter(dict(failures.most_common(REASONS)))
    return Covered(mask, generation, outcome, flags, missed, reasons)


def works(
    plan: Plan, candidates: Sequence[StoredCandidate], month: Span, due: NDArray[np.int32]
) -> Iterator[Work]:
    """One month's work. due: as `Covered.due`.

    A shard that is partly covered (by another plan of the same catalogue) is narrowed to its rest.
    """
    for block in plan.blocks(month):
        wanted = due[:, *block]
        if wanted.max() < 0:
            continue
        work: dict[tuple[Shard, int], list[str]] = defaultdict(list)
        for candidate, own in zip(candidates, wanted, strict=True):
            for generation in np.unique(own[own >= 0]).tolist():
                chosen = own == generation
                for part in plan.parts(month, block, chosen):
                    work[part, generation].append(candidate.name)
        for (part, generation), names in work.items():
            yield Work(part, tuple(names), generation)


def _places(values: pa.ChunkedArray, known: Sequence[str]) -> NDArray[np.int32]:
    """Where each value stands in a list, -1 where it does not."""
    found = pc.index_in(values.cast(pa.string()), pa.array(known, pa.string()))
    places: NDArray[np.int32] = found.fill_null(-1).to_numpy()
    return places
