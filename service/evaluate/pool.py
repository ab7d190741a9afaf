"""Pieces of benchmarks in workers' hands: in this process where one worker will do, else on Ray."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

from service.campaign import Compute
from service.cluster import ray_cluster
from service.dispatch import DIED, IN_FLIGHT, WorkersLost
from service.reasons import in_a_line
from workers.examiner import Examination, Examiner, Task


def examined(
    examination: Examination, tasks: Sequence[Task], compute: Compute, address: str | None
) -> Iterator[tuple[Task, str]]:
    """Each task once it is over, and why it could not be done, or nothing.

    A piece whose worker dies is tried `max_attempts` times. What is raised in a worker is raised
    here: it is no trace's fault. Raises WorkersLost where none can start.
    """
    if compute.workers == 1 and address is None:
        examiner = Examiner(examination)
        for task in tasks:
            examiner.examine(task)
            yield task, ""
        return
    with ray_cluster(compute, address), closing(_Pool(examination, compute)) as pool:
        yield from pool.over(tasks)


class _Pool:
    def __init__(self, examination: Examination, compute: Compute) -> None:
        import ray
        from ray.exceptions import RayError

        from workers.actor import start_examiner

        self._attempts = compute.max_attempts
        self._actors = [
            start_examiner(examination, compute.cpus_per_worker, compute.gpus_per_worker)
            for _ in range(compute.workers)
        ]
        try:
            ray.get([actor.ready.options(max_task_retries=-1).remote() for actor in self._actors])
        except RayError as error:
            raise WorkersLost(f"no worker could start: {in_a_line(error)}") from error

    def over(self, tasks: Sequence[Task]) -> Iterator[tuple[Task, str]]:
        import ray
        from ray.exceptions import RayActorError, RayTaskError

        waiting, tries = deque(tasks), Counter[str]()
        free = deque(self._actors * IN_FLIGHT)
        flying: dict[Any, tuple[Task, Any]] = {}
        while waiting or flying:
            while waiting and free:
                task, actor = waiting.popleft(), free.popleft()
                flying[actor.examine.remote(task)] = task, actor
            (done,), _ = ray.wait(list(flying), num_returns=1)
            task, actor = flying.pop(done)
            free.append(actor)
            try:
                ray.get(done)
            except RayActorError:
                tries[_name(task)] += 1
                if tries[_name(task)] < self._attempts:
                    waiting.append(task)
                else:
                    yield task, f"after {self._attempts} attempts: {DIED}"
            except RayTaskError as error:
                raise error.cause from error
            else:
                yield task, ""

    def close(self) -> None:
        import ray

        for actor in self._actors:
            ray.kill(actor)


def _name(task: Task) -> str:
    return f"{task.source}\0{task.piece}"
