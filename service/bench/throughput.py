"""Station-days an hour: of a Ray of workers on this machine, and of SeisBench in one process."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.errors import Refusal
from catalog.schema import COMPONENTS, Outcome, Shard, StationDay
from service.bench.synthetic import CANDIDATE
from service.campaign import Campaign
from service.cluster import ray_cluster
from service.dispatch import IN_FLIGHT
from service.prepare import prepare
from workers.device import gpu_memory, gpu_name, peak_memory
from workers.engines import use_threads
from workers.picker import Work
from workers.synthetic import sds_path
from workers.weights import Weights

WARM_UP_NS = 600_000_000_000
"""Of the first station-day, which SeisBench picks before its time is taken."""


@dataclass(frozen=True, slots=True)
class Throughput:
    """What one run of all workers together took.

    start_s: from nothing to workers that have all picked a first shard. seconds: from then
    to the last commit. worker_bytes: the most main memory that one of them held at a time.
    """

    seconds: float
    start_s: float
    picks: int
    worker_bytes: int
    gpu: str | None
    gpu_bytes: int | None


def measure_workers(
    campaign: Campaign, shards: Sequence[Shard], warm_up: Sequence[Shard]
) -> Throughput:
    """Pick and commit shards of a synthetic campaign, by its workers.

    warm_up: a shard for each of the workers, which they pick before the clock starts. Raises
    Refusal where a worker dies or a station-day is not picked.
    """
    import ray
    from ray.util.actor_pool import ActorPool

    from workers.actor import start_actor

    compute = campaign.compute
    assignment = prepare(campaign).assignment
    begun = time.perf_counter()
    with ray_cluster(compute, None):
        actors = [
            start_actor(assignment, compute.cpus_per_worker, compute.gpus_per_worker)
            for _ in range(compute.workers)
        ]
        try:
            first = zip(actors, warm_up, strict=True)
            ray.get([actor.pick.remote(_work(shard)) for actor, shard in first])
            warm = time.perf_counter()
            pool: Any = ActorPool(actors * IN_FLIGHT)
            works = [_work(shard) for shard in shards]
            reports = list(pool.map_unordered(lambda actor, work: actor.pick.remote(work), works))
            ended = time.perf_counter()
            peaks = ray.get([actor.__ray_call__.remote(_peak_memory) for actor in actors])
            gpu: tuple[str, int] | None = None
            if compute.gpus_per_worker:
                gpu = ray.get(actors[0].__ray_call__.remote(_gpu))
        except ray.exceptions.RayError as error:
            why = str(error).strip().splitlines()[-1]
            raise Refusal(f"bench: a worker failed: {why}") from error
    outcomes: Counter[str] = Counter()
    for report in reports:
        outcomes.update(report.outcomes[CANDIDATE])
    if set(outcomes) != {Outcome.PICKED}:
        raise Refusal(f"bench: not every synthetic station-day was picked: {dict(outcomes)}")
    return Throughput(
        seconds=ended - warm,
        start_s=warm - begun,
        picks=sum(report.picks[CANDIDATE] for report in reports),
        worker_bytes=max(peaks),
        gpu=gpu[0] if gpu else None,
        gpu_bytes=gpu[1] if gpu else None,
    )


def _work(shard: Shard) -> Work:
    return Work(shard, (CANDIDATE,))


def _peak_memory(actor: object) -> int:
    return peak_memory()


def _gpu(actor: object) -> tuple[str, int]:
    return gpu_name(), gpu_memory()[0]


def seisbench_seconds(
    root: Path, day: StationDay, weights: Weights, device: str, batch: int, threads: int
) -> float:
    """One station-day of an SDS archive: obspy reads it, SeisBench `classify` picks it."""
    import obspy
    import seisbench.models as sbm

    use = weights.preparation
    model = sbm.PhaseNet(phases=use.phases, norm=use.norm, component_order=use.components)
    model.load_state_dict(weights.network().state_dict())
    model.to(device).eval()
    use_threads(threads)

    def pick(end: obspy.UTCDateTime | None = None) -> None:
        stream = obspy.Stream()
        for component in COMPONENTS:
            stream += obspy.read(str(sds_path(root, day.trace, component, day.start_ns)))
        model.classify(stream.slice(endtime=end), batch_size=batch, **_floors(weights))

    pick(obspy.UTCDateTime(ns=day.start_ns + WARM_UP_NS))
    begun = time.perf_counter()
    pick()
    return time.perf_counter() - begun


def _floors(weights: Weights) -> dict[str, float]:
    return {f"{phase}_threshold": level for phase, level in weights.thresholds.items()}
