"""The driver: hands shards to actors, a bounded number at a time, until every one is committed.

It holds one month of the plan, whatever its length.
"""

from __future__ import annotations

import platform
import signal
import time
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from itertools import chain, islice
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from catalog.commits import write_run_record
from catalog.errors import Refusal
from catalog.schema import Outcome, month_of
from service.clerk import clerk
from service.cluster import ray_cluster
from service.outstanding import REASONS, Census, outstanding, survey
from service.plan import Span
from service.prepare import Prepared
from workers.picker import Report, Work, quarantine

IN_FLIGHT = 2
"""Shards an actor has at a time: one at work, one waiting, so that it never idles."""

STARTS = 3
"""Starts of a worker that may fail in a row, for a store that is out of sorts; then no more are
tried, and the run goes on with the workers that it has."""

RETRIES_WAITING = 1000
"""So many shards to be tried again wait for the end, by when what hinders them may have passed."""

LOST = (Outcome.FAILED, Outcome.ACCESS_DENIED)
"""Outcomes with which a run is not complete; `--retry` tries them again."""

NO_KERNEL = (
    "note: workers ran engine fast without the compiled kernel, at a third of its speed; install "
    "tidepick where they run with a C compiler (cc) at hand, on a CPU with AVX2 or NEON"
)

VERSIONED = ("tidepick", "torch", "seisbench", "obspy", "numpy", "pymseed", "ray", "pyarrow")


@dataclass(slots=True)
class Summary:
    """What one invocation of a run did, and what the catalogue now holds of its plan."""

    run: str
    planned: int  # station-days x candidates
    already: int
    done: int = 0
    picks: int = 0
    seconds: float = 0.0
    state: str = "incomplete"
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: dict[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """Station-days x candidates without any outcome."""
        return self.planned - sum(self.outcomes.values())

    @property
    def lost(self) -> int:
        """Those whose outcome another try may better: failed, or refused by the store."""
        return sum(self.outcomes[outcome] for outcome in LOST)


class WorkersLost(Refusal):
    """No worker could start, or none is left."""


class Interrupted(Exception):
    """The user or the scheduler asked the driver to stop."""


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
) -> Summary:
    """Pick what is outstanding of a prepared campaign. Ends when nothing is, or when interrupted.

    address: a Ray cluster to join; None starts a Ray of its own and ends it again.
    """
    assignment, plan, store = prepared.assignment, prepared.plan, prepared.store
    asked = plan, assignment.candidates, store
    census = survey(*asked, plan.months(), retry)
    planned = plan.station_days * len(assignment.candidates)
    summary = Summary(assignment.run, planned, planned - sum(c.due for c in census.values()))
    due = [month for month, found in census.items() if found.due]
    if not due:
        _conclude(summary, census, "complete")
        return summary
    invocation = uuid.uuid4().hex[:12]
    begun = time.monotonic()
    state = "incomplete"
    touched: list[Span] = []
    runs_on: Counter[str] = Counter()
    stop = Stop()
    try:
        with (
            _signals(_interrupt),
            ray_cluster(prepared.campaign.compute, address) as machine,
            _signals(stop),  # anew: Ray's own handler of SIGTERM aborts the process
        ):
            write_run_record(store, assignment.run, invocation, "start", _facts(prepared, machine))
            many = len(assignment.candidates)
            unit = "station-days" if many == 1 else f"station-days x {many} candidates"
            with _progress(console) as progress, clerk(store) as committed:
                task = progress.add_task(
                    "picking", total=planned, completed=summary.already, picks=0, fresh=0, unit=unit
                )
                works = outstanding(*asked, _noting(due, touched), retry)
                for work, report, failure in _reports(prepared, works, stop):
                    size = len(work.shard.station_days) * len(work.candidates)
                    summary.done += size
                    if failure:
                        quarantine(store, assignment, work, failure)
                    elif report is not None:
                        summary.picks += sum(report.picks.values())
                        runs_on[report.runs_on] += 1
                    committed(month_of(work.shard.start), len(work.candidates))
                    progress.update(task, advance=size, picks=summary.picks, fresh=summary.done)
        state = "complete"
    except Interrupted:
        state = "interrupted"
    finally:
        summary.seconds = time.monotonic() - begun
        _conclude(summary, census | survey(*asked, touched), state)
        facts = {
            "state": summary.state,
            "outcomes": dict(summary.outcomes),
            "shards_by_engine": dict(runs_on),
        }
        if prepared.campaign.compute.resolved_engine == "fast" and runs_on["torch, cpu"]:
            console.print(NO_KERNEL)
        write_run_record(store, assignment.run, invocation, "end", facts)
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
    summary.failures = dict(failures.most_common(REASONS))
    lost = state == "complete" and (summary.left or summary.lost)
    summary.state = "incomplete" if lost else state


def _reports(
    prepared: Prepared, works: Iterator[Work], stop: Stop
) -> Iterator[tuple[Work, Report | None, str]]:
    """Every work once it is over: with its report, or with why it was given up.

    Raises Interrupted when asked to stop.
    """
    import ray
    from ray.exceptions import ActorDiedError, RayError

    from workers.actor import start_actor

    compute = prepared.campaign.compute
    starting: dict[Any, Any] = {}

    def hire() -> None:
        actor = start_actor(prepared.assignment, compute.cpus_per_worker, compute.gpus_per_worker)
        starting[actor.ready.remote()] = actor

    first = list(islice(works, compute.workers))
    for _ in first:
        hire()
    fresh = chain(first, works)
    again: deque[Work] = deque()

    def following() -> Work | None:
        work = next(fresh, None) if len(again) < RETRIES_WAITING else None
        return again.popleft() if work is None and again else work

    idle: deque[Any] = deque()  # an actor stands here once for each shard that it may still take
    attempts: Counter[Work] = Counter()  # of those that are not over
    flying: dict[Any, tuple[Any, Work]] = {}
    misses = 0  # starts that failed, in a row
    waiting = following()
    while waiting or flying:
        if stop.asked:
            raise Interrupted
        while waiting and idle:
            actor = idle.popleft()
            attempts[waiting] += 1
            flying[actor.pick.remote(waiting)] = (actor, waiting)
            waiting = following()
        # an actor that finds no room yet is waited for, never given work
        ready, _ = ray.wait([*flying, *starting], num_returns=1, timeout=1.0)
        for reference in ready:
            if reference in starting:
                actor = starting.pop(reference)
                try:
                    ray.get(reference)
                except RayError as error:
                    misses += 1
                    if misses < STARTS:
                        hire()
                    elif not (idle or flying or starting):
                        raise WorkersLost(f"no worker could start: {_reason(error)}") from error
                else:
                    misses = 0
                    idle.extend([actor] * IN_FLIGHT)
                continue
            actor, work = flying.pop(reference)
            try:
                report = ray.get(reference)
            except RayError as error:
                if not isinstance(error, ActorDiedError):
                    idle.append(actor)
                else:  # it died for good
                    idle = deque(other for other in idle if other is not actor)
                    if all(actor is not other for other, _ in flying.values()):
                        hire()  # this was the last shard it had
                if attempts[work] < compute.max_attempts:
                    again.append(work)
                    waiting = waiting or following()
                else:
                    count = attempts.pop(work)
                    yield work, None, f"after {count} attempts: {_reason(error)}"
            else:
                idle.append(actor)
                del attempts[work]
                yield work, report, ""


def _reason(error: BaseException) -> str:
    """The last line of a worker's failure: the exception itself, without Ray's frames."""
    cause = getattr(error, "cause", None) or error
    text = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {text[-1] if text else ''}"[:500]


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


def _facts(prepared: Prepared, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Provenance of an invocation. No environment, hence no credential."""
    return {
        "campaign": prepared.campaign.model_dump(mode="json"),
        "candidates": {
            c.name: {"weights_sha256": c.weights_sha256, "settings": dict(c.settings)}
            for c in prepared.assignment.candidates
        },
        "engine": prepared.campaign.compute.resolved_engine,
        "versions": {"python": platform.python_version()} | {v: _version(v) for v in VERSIONED},
        "machine": dict(machine),
        "station_days": prepared.plan.station_days,
    }


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed as a package"


class _Rate(ProgressColumn):
    """Station-days per hour of this invocation."""

    def render(self, task: Task) -> Text:
        if not task.elapsed or not task.fields["fresh"]:
            return Text("-")
        return Text(f"{task.fields['fresh'] / task.elapsed * 3600:,.0f}/h")


def _progress(console: Console) -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[unit]}"),
        TextColumn("{task.fields[picks]:,} picks"),
        _Rate(),
        TimeRemainingColumn(),
        console=console,
    )
