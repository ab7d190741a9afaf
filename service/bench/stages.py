"""Where the time of picking goes, by stage, in a pass of its own: one process, one thing at a time.

Functions are hooked for as long as the pass lasts, and the device is waited for at every hook, so
that its work counts where it is asked for. That costs time: throughput is measured without.
"""

from __future__ import annotations

import inspect
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import workers.pipeline
import workers.span
import workers.tensors
from catalog.schema import StationDay
from workers.archives import Archive
from workers.candidate import Candidate
from workers.captured import Captured
from workers.compiled import CompiledEngine
from workers.device import synchronise
from workers.pipeline import gather, pick_gathered
from workers.span import Span
from workers.tensors import Eager, Folded
from workers.windows import Stack

READ, ASSEMBLE, COPY = "read + decode", "assemble", "copy to device"
WINDOWS, FORWARD, STACK = "windows + normalise", "forward", "stack"
PEAKS, ROWS, REST = "peaks", "rows", "rest"
STAGES = (READ, ASSEMBLE, COPY, WINDOWS, FORWARD, STACK, PEAKS, ROWS, REST)


class Hook(NamedTuple):
    """All that `owner.name` does belongs to a stage, but for what is hooked inside it."""

    owner: Any  # a module, a class or an object
    name: str
    stage: str


class Clock:
    """Seconds by stage. A hooked call made inside another counts for its own stage alone.

    now: what tells the time, `time.thread_time` for CPU seconds; threads are kept apart.
    """

    def __init__(self, now: Callable[[], float] = time.thread_time) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._now = now
        self._open = threading.local()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        inside: list[float] = getattr(self._open, "inside", [])
        self._open.inside = inside
        inside.append(0.0)
        begun = self._now()
        try:
            yield
        finally:
            spent = self._now() - begun
            self.seconds[name] += spent - inside.pop()
            if inside:
                inside[-1] += spent

    @contextmanager
    def hooked(self, hooks: Sequence[Hook]) -> Iterator[None]:
        """The hooks in place; whatever stood there before comes back."""
        before = []
        try:
            for owner, name, stage in hooks:
                timed = self._timed(getattr(owner, name), stage)
                own = vars(owner).get(name)
                before.append((owner, name, own))
                setattr(owner, name, staticmethod(timed) if type(own) is classmethod else timed)
            yield
        finally:
            for owner, name, own in reversed(before):
                if own is None:
                    delattr(owner, name)
                else:
                    setattr(owner, name, own)

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage):
                return function(*args, **kwargs)

        def generate(*args: Any, **kwargs: Any) -> Iterator[Any]:
            made = function(*args, **kwargs)
            while True:
                with self.stage(stage):
                    item = next(made, made)
                if item is made:
                    return
                yield item

        return generate if inspect.isgeneratorfunction(function) else call


def waited_for(device: str) -> Callable[[], float]:
    """Wall-clock seconds, once the device has done all that it was given."""

    def now() -> float:
        synchronise(device)
        return time.perf_counter()

    return now


def stage_seconds(
    archive: Archive, days: Sequence[StationDay], candidate: Candidate, device: str
) -> dict[str, float]:
    """Seconds a station-day in each of STAGES, the first station-days being picked once before."""
    clock = Clock(waited_for(device))
    kernel = candidate.engine if isinstance(candidate.engine, CompiledEngine) else None
    together = candidate.engine.together
    _pick(archive, days[:together], candidate, Clock())
    before = kernel.seconds.copy() if kernel else None
    with clock.hooked(_hooks(candidate)):
        for begin in range(0, len(days), together):
            _pick(archive, days[begin : begin + together], candidate, clock)
    if kernel is not None and before is not None:
        # one call does it all, on samples that are where they are, and says what its parts took
        spent = kernel.seconds - before
        whole = clock.seconds.pop(COPY)
        for name, part in zip((WINDOWS, FORWARD, STACK), spent / spent.sum(), strict=True):
            clock.seconds[name] += whole * float(part)
    return {name: clock.seconds.get(name, 0.0) / len(days) for name in STAGES}


def _pick(archive: Archive, days: Sequence[StationDay], candidate: Candidate, clock: Clock) -> None:
    spans = [(day.trace, day.start_ns, day.end_ns) for day in days]
    with clock.stage(READ):
        gathered = [gather(archive, *span, [candidate]) for span in spans]
    with clock.stage(REST):
        pick_gathered(gathered, [candidate])


def _hooks(candidate: Candidate) -> list[Hook]:
    """An engine of torch cuts, normalises, runs and stacks; what else it does is the copying."""
    arithmetic = [Hook(kind, "probabilities", FORWARD) for kind in (Eager, Folded)]
    return [
        *arithmetic,
        Hook(Captured, "__call__", FORWARD),
        Hook(Span, "of", ASSEMBLE),
        Hook(workers.pipeline, "filtered", ASSEMBLE),
        Hook(candidate.engine, "curves", COPY),
        *(Hook(workers.tensors, name, WINDOWS) for name in ("cut", "normalise")),
        Hook(Stack, "add", STACK),
        Hook(Stack, "curves", STACK),
        *(Hook(workers.span, name, PEAKS) for name in ("above", "find_peaks", "saturation")),
        Hook(workers.span, "rows", ROWS),
    ]
