"""The driver: picks what is outstanding of a campaign until nothing is, or until it has to stop.

It holds one month of the plan, whatever its length.
"""

from __future__ import annotations

import json
import signal
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from catalog.errors import Refusal
from catalog.plans import superseded
from catalog.runs import lacking, runs_table, write_run_record
from catalog.schema import Outcome, month_of
from catalog.store import StoreError
from service.clerk import clerk
from service.cluster import ray_cluster
from service.dispatch import Dispatch, Stopped
from service.heartbeat import heartbeat
from service.mended import mended
from service.outstanding import REASONS, Census, outstanding, survey
from service.pace import Pace
from service.plan import Span
from service.prepare import Prepared
from service.progress import RunProgress
from service.provenance import provenance
from service.reasons import grouped
from service.stop_loss import StopLoss
from workers.picker import quarantine

LOST = (Outcome.FAILED, Outcome.ACCESS_DENIED)
"""Outcomes with which a run is not complete; `--retry` tries them again."""

NO_KERNEL = (
    "note: workers ran engine fast without the compiled kernel, at a third of its speed; install "
    "tidepick where they run with a C compiler (cc) at hand, on a CPU with AVX2 or NEON"
)


@dataclass(slots=True)
class Summary:
    """What one invocation of a run did, and what the catalogue now holds of its plan.

    Counts are of station-days x candidates. reason: why it stopped before the end. cost: in $, of
    this invocation, None without a price. unlooked: objects that told nothing when it was planned,
    so that what they hold has no outcome, and why. held: planned, and listed by the archive.
    """

    run: str
    planned: int
    already: int
    done: int = 0
    picks: int = 0
    seconds: float = 0.0
    cost: float | None = None
    state: str = "incomplete"
    reason: str = ""
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, int] = field(default_factory=dict)
    unlooked: Mapping[str, str] = field(default_factory=dict)
    held: int = 0

    @property
    def held_without_data(self) -> int:
        """At least so many stand as no_data and are listed now: they may have come since."""
        return max(0, self.outcomes[Outcome.NO_DATA] - (self.planned - self.held))

    @property
    def left(self) -> int:
        """Station-days x candidates without any outcome."""
        return self.planned - sum(self.outcomes.values())

    @property
    def lost(self) -> int:
        """Those whose outcome another try may better: failed, or refused by the store."""
        return sum(self.outcomes[outcome] for outcome in LOST)

    @property
    def per_hour(self) -> float | None:
        """Station-days x candidates an hour, from the start of Ray to the last commit."""
        return self.done / self.seconds * 3600 if self.done else None

    @property
    def cost_each(self) -> float | None:
        """$ a station-day and candidate."""
        return self.cost / self.done if self.done and self.cost is not None else None


class Interrupted(BaseException):
    """The user or the scheduler asked the driver to stop; Ray, while it starts, goes on after an
    Exception as if nothing had been."""


class Stop:
    """A signal handler that takes note, and raises Interrupted when it is called again.

    What a handler raises inside Ray's compiled code comes out of it as a SystemError.
    """

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, number: int, frame: object) -> None:
        if self.asked:
            raise Interrupted
        self.asked = True


def run(
    prepared: Prepared,
    console: Console,
    address: str | None = None,
    retry: frozenset[Outcome] = frozenset(),
    file: str = "",
) -> Summary:
    """Pick what is outstanding of a prepared campaign. Ends when nothing is, or when it has to.

    address: a Ray cluster to join; None starts a Ray of its own and ends it again. file: the
    campaign's, as the user named it. Raises LimitReached where the campaign took already what
    `max_hours` or `max_cost` allow, and WorkersLost.
    """
    assignment, plan, store = prepared.assignment, prepared.plan, prepared.store
    asked = plan, assignment.candidates, store
    again = retry, mended(prepared)
    census = survey(*asked, plan.months(), *again)
    planned = plan.station_days * len(assignment.candidates)
    summary = Summary(assignment.run, planned, planned - sum(c.due for c in census.values()))
    summary.unlooked = plan.findings.unlooked
    summary.held = plan.held * len(assignment.candidates)
    due = [month for month, found in census.items() if found.due]
    if not due:
        _conclude(summary, census, "complete")
        if assignment.file_index is not None:
            _tell_unlooked(prepared, summary, file)
        return summary
    compute = prepared.campaign.compute
    limit = StopLoss(compute, store, prepared.campaign.name)
    limit.admit()
    invocation = uuid.uuid4().hex[:12]
    pace = Pace()
    state = "incomplete"
    touched: list[Span] = []
    runs_on: Counter[str] = Counter()

    bar = RunProgress(
        console, planned, summary.already, len(assignment.candidates), pace, lambda: limit.cost
    )

    def progress() -> dict[str, Any]:
        rate = round(pace.per_hour(), 3)
        took = round(limit.seconds, 3)
        return {"done": summary.done, "picks": summary.picks, "seconds": took, "rate": rate}

    stop = Stop()

    def stopping() -> str:
        if stop.asked:
            raise Interrupted
        return limit.reached()

    try:
        with (
            _signals(_interrupt),
            ray_cluster(compute, address) as machine,
            _signals(stop),  # anew: Ray has set a handler of SIGTERM of its own
        ):
            facts = provenance(prepared, machine, file)
            write_run_record(store, assignment.run, invocation, "start", facts)
            beating = heartbeat(store, assignment.run, invocation, progress)
            with beating, bar, clerk(store) as committed:
                works = outstanding(*asked, _noting(due, touched), *again)
                for over in Dispatch(prepared, works, stopping):
                    if over.report is None:
                        quarantine(store, assignment, over.work, over.failure)
                    else:
                        summary.picks += sum(over.report.picks.values())
                        runs_on[over.report.runs_on] += 1
                    size = len(over.work.shard.station_days) * len(over.work.candidates)
                    summary.done += size
                    pace.did(size)
                    committed(month_of(over.work.shard.start), len(over.work.candidates))
                    bar.did(size, summary.picks)
        state = "complete"
    except (Interrupted, SystemExit):  # that is what Ray's handler raises
        state = "interrupted"
    except Stopped as stopped:
        state, summary.reason = "stopped", str(stopped)
    except (Refusal, StoreError) as error:
        summary.reason = str(error)
        raise
    finally:
        took = progress()
        summary.seconds = limit.seconds
        if compute.price_per_hour is not None:
            summary.cost = summary.seconds / 3600 * compute.price_per_hour
        _conclude(summary, census | survey(*asked, touched), state)
        if compute.resolved_engine == "fast" and runs_on["torch, cpu"]:
            console.print(NO_KERNEL)
        facts = {
            "state": summary.state,
            "reason": summary.reason,
            "outcomes": dict(summary.outcomes),
            "shards_by_engine": dict(runs_on),
        }
        write_run_record(store, assignment.run, invocation, "end", facts | took)
    return summary


def _noting(months: Iterable[Span], taken: list[Span]) -> Iterator[Span]:
    """The months, each noted when it is taken up."""
    for month in months:
        taken.append(month)
        yield month


def _conclude(summary: Summary, census: Mapping[Span, Census], state: str) -> None:
    """The outcomes that now stand for all that was planned, whichever invocation brought them."""
    failures: Counter[str] = Counter()
    for month in census.values():
        summary.outcomes += month.outcomes
        failures += month.failures
    summary.failures = dict(grouped(failures).most_common(REASONS))
    lost = state == "complete" and (summary.left or summary.lost or summary.unlooked)
    summary.state = "incomplete" if lost else state


def _tell_unlooked(prepared: Prepared, summary: Summary, file: str) -> None:
    """A record of an invocation that had nothing to do, where those before say otherwise of what
    can be looked into: by them it is known what has been mended, and what `status` says."""
    store, run = prepared.store, summary.run
    rows = runs_table(store)
    known = lacking(rows.to_pylist(), run, superseded(rows))
    names = json.loads(known.get("unlooked_objects", "{}")).keys()
    if known.get("unlooked", 0) == len(summary.unlooked) and names <= summary.unlooked.keys():
        return
    invocation = uuid.uuid4().hex[:12]
    write_run_record(store, run, invocation, "start", provenance(prepared, {}, file))
    facts = {"state": summary.state, "reason": "", "outcomes": dict(summary.outcomes)}
    write_run_record(store, run, invocation, "end", facts)


def _interrupt(number: int, frame: object) -> None:
    raise Interrupted


@contextmanager
def _signals(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """SIGINT and SIGTERM end the run cleanly, as Interrupted."""
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, former in before.items():  # None: it was not set by Python
            signal.signal(number, signal.SIG_DFL if former is None else former)
