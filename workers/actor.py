"""The Ray adapter: a Picker, or an Examiner, as an actor with resources. The only import of Ray
among the workers.

Shards and pieces travel to actors, never waveforms; reports come back, never picks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import ray

from workers.picker import Assignment, Picker, Report, Work

if TYPE_CHECKING:
    from workers.examiner import Examination, Task

RESTARTS = -1
"""Actors come back for as long as the cluster has room: spot nodes may go at any time."""

TASK_RETRIES = 0
"""A shard that dies with its actor comes back to the driver, which alone counts attempts."""

SIGN_S = 2.0
"""Signs of progress come no closer together than this: a driver may hear thousands of actors."""


class _PickActor:
    def __init__(self, assignment: Assignment) -> None:
        self._picker = Picker(assignment)

    def ready(self) -> bool:
        """Answers once the networks are loaded."""
        return True

    def pick(self, work: Work) -> Report:
        return self._picker.pick(work)

    def picking(self, work: Work) -> Iterator[Report | None]:
        """As `pick`, for num_returns="streaming": None now and then while station-days get done."""
        told = time.monotonic()
        for report in self._picker.picking(work):
            if report is not None or time.monotonic() - told >= SIGN_S:
                told = time.monotonic()
                yield report


class _ExamineActor:
    def __init__(self, examination: Examination) -> None:
        from workers.examiner import Examiner  # with pandas, which picking does not need

        self._examiner = Examiner(examination)

    def ready(self) -> bool:
        """Answers once the networks are loaded."""
        return True

    def examine(self, task: Task) -> str:
        return self._examiner.examine(task)


PickActor: Any = ray.remote(_PickActor)
ExamineActor: Any = ray.remote(_ExamineActor)


def start_actor(assignment: Assignment, cpus: float, gpus: float) -> Any:
    """An actor that picks, holding `cpus` and `gpus` (which may be a fraction) of one node."""
    return _started(PickActor, assignment, cpus, gpus)


def start_examiner(examination: Examination, cpus: float, gpus: float) -> Any:
    """An actor that examines pieces of an evaluation."""
    return _started(ExamineActor, examination, cpus, gpus)


def _started(actor: Any, told: Assignment | Examination, cpus: float, gpus: float) -> Any:
    return actor.options(
        num_cpus=cpus,
        num_gpus=gpus,
        max_restarts=RESTARTS,
        max_task_retries=TASK_RETRIES,
        max_concurrency=1,
    ).remote(told)
