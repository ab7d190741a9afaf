"""Pieces of an evaluation in workers' hands: in this process where one will do, else on Ray."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
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

    One whose worker dies is tried `max_attempts` times. What is raised in a worker is raised here:
    it is no piece's fault. Raises WorkersLost where none can start.
    """
    if compute.workers == 1 and address is None:
        examiner = Examiner(examination)
        for task in tasks:
            yield Over(task, examiner.examine(task))
        return
    with ray_cluster(compute, address), closing(_Pool(examination, compute)) as pool:
        yield from pool.over(tasks)


class _Pool:
    """Workers, each with one piece in hand; who dies gets the next once it has started again."""

    def __init__(self, examination: Examination, compute: Compute) -> None:
        from workers.actor import start_examiner

        self._attempts = compute.max_attempts
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
        flying: dict[Any, tuple[Task, int, Any]] = {}
        while waiting or flying:
            while waiting and idle:
                (task, attempt), actor = waiting.popleft(), idle.popleft()
                flying[actor.examine.remote(task)] = task, attempt, actor
            (done,), _ = ray.wait([*flying, *starting], num_returns=1)
            if done in starting:
                actor = starting.pop(done)
                try:
                    ray.get(done)
                    idle.append(actor)
                except RayActorError as error:
                    if not (idle or flying or starting):
                        raise WorkersLost(f"no worker can start: {in_a_line(error)}") from error
                continue
            task, attempt, actor = flying.pop(done)
            try:
                why = ray.get(done)
            except RayActorError:
                starting[_start(actor)] = actor
                if attempt < self._attempts:
                    waiting.append((task, attempt + 1))
                else:
                    yield Over(task, f"after {attempt} attempts: {DIED}", lost=True)
            except RayTaskError as error:
                raise error.cause from error
            else:
                idle.append(actor)
                yield Over(task, why)

    def close(self) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)


def _start(actor: Any) -> Any:
    """What is there once an actor has started, however often it has to."""
    return actor.ready.options(max_task_retries=-1).remote()
