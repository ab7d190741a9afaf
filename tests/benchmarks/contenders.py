"""Runs to be timed: ours here, the peers' in peers.py, and how they take turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.progress import Progress

import workers.pipeline
import workers.span
import workers.tensors
from service.bench.stages import (
    ASSEMBLE,
    FORWARD,
    PEAKS,
    READ,
    REST,
    ROWS,
    STACK,
    WINDOWS,
    Clock,
    Hook,
)
from tests.benchmarks.days import Stretch
from tests.spans import pick_span
from workers.archives import ArchiveConfig, open_archive
from workers.candidate import Candidate
from workers.compiled import CompiledEngine
from workers.engines import Engine
from workers.span import Span
from workers.tensors import Eager, Folded, TensorEngine
from workers.weights import Weights

FLOOR = 0.2
"""The threshold at which all contenders pick."""

OURS = (
    Hook(workers.pipeline, "read_span", READ),
    Hook(Span, "of", ASSEMBLE),
    Hook(Span, "refusal", ASSEMBLE),
    Hook(TensorEngine, "curves", STACK),
    Hook(CompiledEngine, "curves", REST),
    *(Hook(workers.tensors, name, WINDOWS) for name in ("cut", "normalise")),
    *(Hook(kind, "probabilities", FORWARD) for kind in (Eager, Folded)),
    *(Hook(workers.span, name, PEAKS) for name in ("above", "find_peaks", "saturation")),
    Hook(Span, "picked", ROWS),
)


@dataclass(frozen=True, slots=True)
class Contender:
    """run() reads one stretch, picks it and returns the number of picks."""

    run: Callable[[Clock], int]
    hooks: Sequence[Hook] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """CPU seconds of one run: all, all but the forward, by stage. Of several: the least of each."""

    cpu_s: float
    non_forward_s: float
    stages: Mapping[str, float]
    picks: int

    def or_less(self, other: Taken) -> Taken:
        return Taken(
            min(self.cpu_s, other.cpu_s),
            min(self.non_forward_s, other.non_forward_s),
            {stage: min(self.stages[stage], other.stages[stage]) for stage in self.stages},
            self.picks,
        )


def timed(contender: Contender) -> Taken:
    clock = Clock()
    with clock.hooked(contender.hooks):
        begun = time.process_time()
        picks = contender.run(clock)
        cpu_s = time.process_time() - begun
    clock.seconds[REST] = 0.0
    clock.seconds[REST] = cpu_s - sum(clock.seconds.values())
    return Taken(cpu_s, cpu_s - clock.seconds[FORWARD], dict(clock.seconds), picks)


def take_turns(
    contenders: Mapping[str, Contender], rounds: int, progress: Progress, title: str
) -> dict[str, Taken]:
    """What each took at least, over all rounds."""
    least: dict[str, Taken] = {}
    task = progress.add_task(title, total=rounds * len(contenders))
    for round_ in range(rounds):
        for name, contender in contenders.items():
            what = f"{title}, round {round_ + 1}: {name}"
            progress.update(task, description=what)
            taken = timed(contender)
            progress.console.print(f"{what}: {taken.cpu_s:.2f} CPU s", highlight=False)
            least[name] = taken.or_less(least.get(name, taken))
            progress.advance(task)
    progress.remove_task(task)
    return least


def tidepick(stretch: Stretch, candidates: Sequence[Candidate]) -> Contender:
    """All candidates in one read."""
    first = candidates[0]

    def run(clock: Clock) -> int:
        begun = np.array(seconds(first.engine))
        archive = open_archive(ArchiveConfig(kind="sds", root=str(stretch.root)))
        span = stretch.trace, stretch.start_ns, stretch.end_ns
        picked = pick_span(archive, *span, candidates)[first.name].picks
        # the kernel counts for itself what is one call from here
        spent = np.array(seconds(first.engine)) - begun
        for stage, cpu_s in zip((WINDOWS, FORWARD, STACK), spent.tolist(), strict=True):
            clock.seconds[stage] += cpu_s
        # at the floor itself, what SeisBench reports: the rest serve higher thresholds
        return sum(saddle < FLOOR / 2 for saddle in picked["saddle"].to_pylist())

    return Contender(run, OURS)


def seconds(engine: Engine) -> Sequence[float]:
    """What the compiled kernel has spent on windows, forward passes and stacking so far."""
    return list(engine.seconds) if isinstance(engine, CompiledEngine) else [0.0, 0.0, 0.0]


def candidate(name: str, engine: Engine, *weights: Weights) -> Candidate:
    return Candidate.of(name, weights, engine, {"P": FLOOR, "S": FLOOR})
