"""Hands shards to actors, a bounded number at a time, until every one is over.

A shard that dies with its worker is known: it is the one that the worker had in hand, and those
behind it are handed out again without blame. A worker that ends no station-day for as long as the
campaign has patience hangs: it is killed, and that is a death like others. What fails as a whole is
tried a station-day at a time, so that one that can never be picked takes no other with it.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain, islice
from statistics import median
from typing import Any

from catalog.errors import Refusal
from catalog.schema import Shard
from service.prepare import Prepared
from service.reasons import in_a_line
from workers.picker import Report, Work

ONE_DAY = timedelta(days=1)

IN_FLIGHT = 2
"""Shards an actor has at a time: one at work, one waiting, so that it never idles."""

WHOLE_ATTEMPTS = 2
"""Tries of several station-days together, before each is tried by itself."""

RETRIES_WAITING = 1000
"""So many shards to be tried again wait for the end, by when what hinders them may have passed."""

START_ATTEMPTS = 3
"""Starts that may fail in a row, for a store that is out of sorts; then no more are tried, and the
run goes on with the workers that it has."""

LANDING_S = 60.0
"""What a run that stops waits for shards in flight: this, or twice what a shard takes if more."""

HUNG = "no station-day was done in compute.patience_minutes {:g}: its worker hung and was killed"

DIED = "its worker died: killed (out of memory?), crashed, or its machine was lost"


class WorkersLost(Refusal):
    """No worker could start, or none is left."""


class Stopped(Exception):
    """A limit was reached, and work is left; the message says which."""


@dataclass(frozen=True, slots=True)
class Over:
    """A work that is committed, with its report; or given up, with why."""

    work: Work
    report: Report | None
    failure: str = ""


@dataclass(eq=False, slots=True)
class _Worker:
    """An actor. up: it has started, and has not died since. sign: when it last showed that it gets
    on, or was given work after it had none."""

    actor: Any
    up: bool = False
    sign: float = 0.0


@dataclass(slots=True)
class _Flight:
    """A work that a worker was given. blameless: the worker died of another, or before it; hung:
    it was killed over this one."""

    worker: _Worker
    work: Work
    number: int
    begun: float
    blameless: bool = False
    hung: bool = False


class Dispatch:
    """The works of a prepared campaign, in its workers' hands.

    stop: asked again and again; when it gives a reason no more is handed out, what is in flight
    lands within bounds, and Stopped is raised if anything is left. What it raises comes out.
    """

    def __init__(self, prepared: Prepared, works: Iterator[Work], stop: Callable[[], str]) -> None:
        self._assignment, self._compute = prepared.assignment, prepared.campaign.compute
        self._stop = stop
        first = list(islice(works, self._compute.workers))
        self._fresh = chain(first, works)
        self._wanted = len(first)
        self._again: deque[Work] = deque()
        self._tries: Counter[Work] = Counter()  # that failed, of works that are not over
        self._starting: dict[Any, _Worker] = {}
        self._idle: deque[_Worker] = deque()  # a worker stands here for each shard it may take
        self._flying: dict[Any, _Flight] = {}
        self._handed_out = 0
        self._took: deque[float] = deque(maxlen=1000)
        self._stillborn = 0

    def __iter__(self) -> Iterator[Over]:
        """Every work once it is over. Raises Stopped, or WorkersLost."""
        for _ in range(self._wanted):
            self._hire()
        waiting = self._following()
        while waiting or self._flying:
            if reason := self._stop():
                yield from self._land()
                if waiting or self._again or self._flying:
                    raise Stopped(reason)
                return
            while waiting and self._idle:
                self._hand_out(waiting, self._idle.popleft())
                waiting = self._following()
            yield from self._returned()
            self._end_the_hung()
            waiting = waiting or self._following()

    def _following(self) -> Work | None:
        work = next(self._fresh, None) if len(self._again) < RETRIES_WAITING else None
        return self._again.popleft() if work is None and self._again else work

    def _hand_out(self, work: Work, worker: _Worker) -> None:
        self._handed_out += 1
        flight = _Flight(worker, work, self._handed_out, time.monotonic())
        if all(other.worker is not worker for other in self._flying.values()):
            worker.sign = flight.begun
        stream = worker.actor.picking.options(num_returns="streaming").remote(work)
        self._flying[stream] = flight

    def _land(self) -> Iterator[Over]:
        """Wait for what is in flight, and no longer than it should take."""
        bound = max(LANDING_S, 2 * median(self._took)) if self._took else LANDING_S
        until = time.monotonic() + bound
        while self._flying and time.monotonic() < until:
            self._stop()  # which may raise
            yield from self._returned()

    def _returned(self) -> Iterator[Over]:
        """What has come back within a second; an actor that finds no room yet is waited for."""
        import ray

        ready, _ = ray.wait([*self._flying, *self._starting], num_returns=1, timeout=1.0)
        for reference in ready:
            if reference in self._starting:
                self._started(reference)
            else:
                yield from self._came_back(reference)

    def _came_back(self, stream: Any) -> Iterator[Over]:
        import ray
        from ray.exceptions import ActorDiedError, RayActorError, RayError

        flight = self._flying.pop(stream)
        work, worker = flight.work, flight.worker
        worker.sign = time.monotonic()
        try:
            report = ray.get(next(stream))
        except RayActorError as error:
            guilty = self._died(flight)
            if worker.up:
                self._lose(worker, for_good=isinstance(error, ActorDiedError))
            if guilty:
                why = HUNG.format(self._compute.patience_minutes) if flight.hung else DIED
                yield from self._failed(work, why)
            else:
                self._again.append(work)
        except RayError as error:
            self._free(worker)
            yield from self._failed(work, in_a_line(error))
        else:
            if report is None:  # it gets on
                self._flying[stream] = flight
                return
            self._free(worker)
            self._took.append(time.monotonic() - flight.begun)
            self._tries.pop(work, None)
            yield Over(work, report)

    def _end_the_hung(self) -> None:
        """Kill workers that have shown no sign for too long, and have sent none that waits here."""
        import ray

        patience = timedelta(minutes=self._compute.patience_minutes).total_seconds()
        overdue = time.monotonic() - patience
        for worker in {f.worker for f in self._flying.values() if f.worker.up}:
            if worker.sign > overdue:
                continue
            its = {stream: f for stream, f in self._flying.items() if f.worker is worker}
            if ray.wait([*its], timeout=0)[0]:
                continue
            first = min(its.values(), key=lambda flight: flight.number)
            for flight in its.values():
                flight.hung, flight.blameless = flight is first, flight is not first
            ray.kill(worker.actor, no_restart=False)
            self._lose(worker, for_good=False)

    def _died(self, flight: _Flight) -> bool:
        """Whether it was in hand when its worker died: the oldest, for each does one at a time."""
        beside = [other for other in self._flying.values() if other.worker is flight.worker]
        for other in beside:
            other.blameless |= other.number > flight.number
        return not flight.blameless and all(other.number > flight.number for other in beside)

    def _failed(self, work: Work, reason: str) -> Iterator[Over]:
        """Once more, or each station-day by itself, or no more."""
        self._tries[work] += 1
        allowed = self._compute.max_attempts
        days = work.shard.station_days
        if self._tries[work] < (min(allowed, WHOLE_ATTEMPTS) if len(days) > 1 else allowed):
            self._again.append(work)
            return
        tries = self._tries.pop(work)
        if len(days) == 1:
            attempts = "1 attempt" if tries == 1 else f"{tries} attempts"
            yield Over(work, None, f"after {attempts}: {reason}")
            return
        alone = [Shard((each.trace,), each.day, each.day + ONE_DAY) for each in days]
        self._again.extend(Work(shard, work.candidates, work.generation) for shard in alone)

    def _hire(self) -> None:
        from workers.actor import start_actor

        compute = self._compute
        worker = _Worker(
            start_actor(self._assignment, compute.cpus_per_worker, compute.gpus_per_worker)
        )
        self._await(worker)

    def _await(self, worker: _Worker) -> None:
        ready = worker.actor.ready.options(max_task_retries=-1)  # through all its restarts
        self._starting[ready.remote()] = worker

    def _started(self, reference: Any) -> None:
        import ray
        from ray.exceptions import RayError

        worker = self._starting.pop(reference)
        try:
            ray.get(reference)
        except RayError as error:
            self._stillborn += 1
            if self._stillborn < START_ATTEMPTS:
                self._hire()
            elif not (self._idle or self._flying or self._starting):
                raise WorkersLost(f"no worker could start: {in_a_line(error)}") from error
            return
        self._stillborn, worker.up = 0, True
        has = sum(flight.worker is worker for flight in self._flying.values())
        self._idle.extend([worker] * (IN_FLIGHT - has))

    def _lose(self, worker: _Worker, for_good: bool) -> None:
        """It gets no work until it has started again, or another in its place."""
        worker.up = False
        self._idle = deque(other for other in self._idle if other is not worker)
        if for_good:
            self._hire()
        else:
            self._await(worker)

    def _free(self, worker: _Worker) -> None:
        if worker.up:
            self._idle.append(worker)
