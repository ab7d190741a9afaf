"""Pieces of an evaluation in workers' hands: in this process where one will do, else on Ray."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from service.campaign import Compute
from service.cluster import ray_cluster
from service.dispatch import DIED, WorkersLost
from service.reasons import in_a_line
from workers.examiner import Examination, Examiner, Task


@dataclass(frozen=True, slots=True)
class Over:
    """A piece whose turn is over. why: nothing where its tables are committed. lost: whether they
    are not because its worker died, so that another run may do better; else it cannot be read."""

    task: Task
    why: str = ""
    lost: bool = False


def examined(
    examination: Examination, tasks: Sequence[Task], compute: Compute, address: str | None
) -> Iterator[Over]:
    """Each piece once it is over, in whatever order.

    One whose worker dies is tried `max_attempts` times, and a worker that has had one for longer
    than `patience_minutes` is killed; where this process does it all, nothing can end it. What is
    raised in a worker is raised here: it is no piece's fault. Raises WorkersLost where none can
    start.
    """
    if compute.workers == 1 and address is None:
        examiner = Examiner(examination)
        for task in tasks:
            yield Over(task, examiner.examine(task))
        return
    with ray_cluster(compute, address), closing(_Pool(examination, compute)) as pool:
        yield from pool.over(tasks)


HUNG = "its worker was not done in compute.patience_minutes {:g}: it hung and was killed"

LOOK_S = 5.0
"""Between looks for what hangs."""


@dataclass(slots=True)
class _Flight:
    """A piece in a worker's hands. hung: the worker was killed over it."""

    task: Task
    attempt: int
    actor: Any
    begun: float
    hung: bool = False


class _Pool:
    """Workers, each with one piece in hand; who dies gets the next once it has started again."""

    def __init__(self, examination: Examination, compute: Compute) -> None:
        from workers.actor import start_examiner

        self._attempts, self._patience = compute.max_attempts, compute.patience_minutes
        self._actors = [
            start_examiner(examination, compute.cpus_per_worker, compute.gpus_per_worker)
            for _ in range(compute.workers)
        ]

    def over(self, tasks: Sequence[Task]) -> Iterator[Over]:
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        waiting = deque((task, 1) for task in tasks)
        starting = {_start(actor): actor for actor in self._actors}
        idle: deque[Any] = deque()
        flying: dict[Any, _Flight] = {}
        while waiting or flying:
            while waiting and idle:
                (task, attempt), actor = waiting.popleft(), idle.popleft()
                flight = _Flight(task, attempt, actor, time.monotonic())
                flying[actor.examine.remote(task)] = flight
            ready, _ = ray.wait([*flying, *starting], num_returns=1, timeout=LOOK_S)
            self._end_the_hung(flying)
            if not ready:
                continue
            (done,) = ready
            if done in starting:
                actor = starting.pop(done)
                try:
                    ray.get(done)
                    idle.append(actor)
                except RayActorError as error:
                    if not (idle or flying or starting):
                        raise WorkersLost(f"no worker can start: {in_a_line(error)}") from error
                continue
            flight = flying.pop(done)
            try:
                why = ray.get(done)
            except RayActorError:
                starting[_start(flight.actor)] = flight.actor
                if flight.attempt < self._attempts:
                    waiting.append((flight.task, flight.attempt + 1))
                else:
                    died = HUNG.format(self._patience) if flight.hung else DIED
                    yield Over(flight.task, f"after {flight.attempt} attempts: {died}", lost=True)
            except RayTaskError as error:
                raise error.cause from error
            else:
                idle.append(flight.actor)
                yield Over(flight.task, why)

    def _end_the_hung(self, flying: Mapping[Any, _Flight]) -> None:
        """Kill workers that have had a piece for too long and are not done: a death like others."""
        import ray

        overdue = time.monotonic() - timedelta(minutes=self._patience).total_seconds()
        for done, flight in flying.items():
            late = flight.begun < overdue and not flight.hung
            if late and not ray.wait([done], timeout=0)[0]:
                flight.hung = True
                ray.kill(flight.actor, no_restart=False)

    def close(self) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)


def _start(actor: Any) -> Any:
    """What is there once an actor has started, however often it has to."""
    return actor.ready.options(max_task_retries=-1).remote()
