"""The Ray adapter: a Picker as an actor with resources. The only import of Ray among the workers.

Shards travel to actors, never waveforms; reports come back, never picks.
"""

from __future__ import annotations

from typing import Any

import ray

from workers.picker import Assignment, Picker, Report, Work

RESTARTS = -1
"""Actors come back for as long as the cluster has room: spot nodes may go at any time."""

TASK_RETRIES = 0
"""A shard that dies with its actor comes back to the driver, which alone counts attempts."""


class _PickActor:
    def __init__(self, assignment: Assignment) -> None:
        self._picker = Picker(assignment)

    def ready(self) -> bool:
        """Answers once the networks are loaded."""
        return True

    def pick(self, work: Work) -> Report:
        return self._picker.pick(work)


PickActor: Any = ray.remote(_PickActor)


def start_actor(assignment: Assignment, cpus: float, gpus: float) -> Any:
    """An actor holding `cpus` and `gpus` (which may be a fraction) of one node."""
    return PickActor.options(
        num_cpus=cpus,
        num_gpus=gpus,
        max_restarts=RESTARTS,
        max_task_retries=TASK_RETRIES,
        max_concurrency=1,
    ).remote(assignment)
