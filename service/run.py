"""The driver: hands shards to actors, a bounded number at a time, until every one is committed."""

from __future__ import annotations

import platform
import signal
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import metadata
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

from catalog.commits import coverage_rows, read_commits, write_run_record
from catalog.errors import Refusal
from catalog.schema import Outcome
from service.cluster import ray_cluster
from service.plan import outstanding
from service.prepare import Prepared
from workers.picker import Report, Work, quarantine

IN_FLIGHT = 2
"""Shards an actor has at a time: one at work, one waiting, so that it never idles."""

LOST = (Outcome.FAILED, Outcome.ACCESS_DENIED)
"""Outcomes with which a run is not complete; `--retry` tries them again."""

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
    works = outstanding(plan, assignment.candidates, read_commits(store), retry)
    planned = plan.station_days * len(assignment.candidates)
    todo = sum(len(work.shard.station_days) * len(work.candidates) for work in works)
    summary = Summary(assignment.run, planned, planned - todo)
    if not works:
        summary.state = "complete"
        _account(summary, prepared)
        return summary
    invocation = uuid.uuid4().hex[:12]
    begun = time.monotonic()
    try:
        with _interruptible(), ray_cluster(prepared.campaign.compute, address) as machine:
            write_run_record(store, assignment.run, invocation, "start", _facts(prepared, machine))
            many = len(assignment.candidates)
            unit = "station-days" if many == 1 else f"station-days x {many} candidates"
            with _progress(console) as progress:
                task = progress.add_task(
                    "picking", total=planned, completed=summary.already, picks=0, fresh=0, unit=unit
                )
                for work, report, failure in _reports(prepared, works):
                    size = len(work.shard.station_days) * len(work.candidates)
                    summary.done += size
                    if failure:
                        quarantine(store, assignment, work, failure)
                    elif report is not None:
                        summary.picks += sum(report.picks.values())
                    progress.update(task, advance=size, picks=summary.picks, fresh=summary.done)
        summary.state = "complete"
    except Interrupted:
        summary.state = "interrupted"
    finally:
        summary.seconds = time.monotonic() - begun
        _account(summary, prepared)
        facts = {"state": summary.state, "outcomes": dict(summary.outcomes)}
        write_run_record(store, assignment.run, invocation, "end", facts)
    return summary


def _account(summary: Summary, prepared: Prepared) -> None:
    """The outcomes that now stand for all that was planned, whichever invocation brought them."""
    names = {candidate.name for candidate in prepared.assignment.candidates}
    planned = {day for shard in prepared.plan.shards for day in shard.station_days}
    rows = coverage_rows(read_commits(prepared.store))
    summary.outcomes.clear()
    for (name, day), row in rows.items():
        if name in names and day in planned:
            summary.outcomes[row["outcome"]] += 1
            if row["outcome"] == Outcome.FAILED:
                reason = row["detail"]
                summary.failures[reason] = summary.failures.get(reason, 0) + 1
    if summary.state == "complete" and (summary.left or summary.lost):
        summary.state = "incomplete"


def _reports(
    prepared: Prepared, works: Sequence[Work]
) -> Iterator[tuple[Work, Report | None, str]]:
    """Every work once it is over: with its report, or with why it was given up."""
    import ray
    from ray.exceptions import ActorDiedError, RayError

    from workers.actor import start_actor

    compute = prepared.campaign.compute
    starting: dict[Any, Any] = {}

    def hire() -> None:
        actor = start_actor(prepared.assignment, compute.cpus_per_worker, compute.gpus_per_worker)
        starting[actor.ready.remote()] = actor

    for _ in range(min(compute.workers, len(works))):
        hire()
    idle: deque[Any] = deque()  # an actor stands here once for each shard that it may still take
    waiting = deque(works)
    attempts: Counter[Work] = Counter()
    flying: dict[Any, tuple[Any, Work]] = {}
    while waiting or flying:
        while waiting and idle:
            actor, work = idle.popleft(), waiting.popleft()
            attempts[work] += 1
            flying[actor.pick.remote(work)] = (actor, work)
        # an actor that finds no room yet is waited for, never given work
        ready, _ = ray.wait([*flying, *starting], num_returns=1, timeout=1.0)
        for reference in ready:
            if reference in starting:
                actor = starting.pop(reference)
                try:
                    ray.get(reference)
                except RayError as error:
                    raise WorkersLost(f"a worker could not start: {_reason(error)}") from error
                idle.extend([actor] * IN_FLIGHT)
                continue
            actor, work = flying.pop(reference)
            try:
                report = ray.get(reference)
            except RayError as error:
                if not isinstance(error, ActorDiedError):
                    idle.append(actor)
                elif all(actor is not other for other, _ in flying.values()):
                    idle = deque(other for other in idle if other is not actor)
                    hire()  # it died for good, and this was the last shard it had
                if attempts[work] < compute.max_attempts:
                    waiting.append(work)
                else:
                    yield work, None, f"after {attempts[work]} attempts: {_reason(error)}"
            else:
                idle.append(actor)
                yield work, report, ""


def _reason(error: BaseException) -> str:
    """The last line of a worker's failure: the exception itself, without Ray's frames."""
    cause = getattr(error, "cause", None) or error
    text = str(cause).strip().splitlines()
    return f"{type(cause).__name__}: {text[-1] if text else ''}"[:500]


@contextmanager
def _interruptible() -> Iterator[None]:
    """SIGINT and SIGTERM end the run cleanly, as Interrupted."""

    def stop(number: int, frame: object) -> None:
        raise Interrupted

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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
