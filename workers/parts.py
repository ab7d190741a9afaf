"""A station-day in as many parts as its samples need.

Rows do not depend on where a span is cut, so that parts give the rows of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from catalog.schema import Outcome, TraceId
from workers.archives import TooMuch
from workers.picked import Picked
from workers.quality import Quality
from workers.span import Span
from workers.waveform import Reading

T = TypeVar("T")

SHORTEST_NS = 600_000_000_000
"""A part is not cut further: with its halo it is read three times over as it is."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """One span of a trace, read and assembled for every `Candidate.ground` that is asked for.

    What was read is dropped: it takes as much memory again. inputs: URL -> ETag.
    """

    spans: Mapping[tuple[int, Quality], Span]
    inputs: Mapping[str, str]

    @classmethod
    def of(
        cls,
        reading: Reading,
        trace: TraceId,
        start_ns: int,
        end_ns: int,
        grounds: Iterable[tuple[int, Quality]],
    ) -> Gathered:
        """A reading on every ground."""
        return cls(
            {each: Span.of(reading, trace, start_ns, end_ns, *each) for each in grounds},
            reading.inputs,
        )


@dataclass(frozen=True, slots=True)
class Ungathered:
    """A span of which nothing can be picked. inputs: of what was read in vain."""

    picked: Picked
    inputs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Part:
    """[start_ns, end_ns) of a station-day, as it was read."""

    start_ns: int
    end_ns: int
    read: Gathered | Ungathered


def in_parts(
    read: Callable[[int, int], Gathered | Ungathered], start_ns: int, end_ns: int
) -> Iterator[Part]:
    """[start_ns, end_ns) in order, halved wherever `read` says TooMuch."""
    try:
        yield Part(start_ns, end_ns, read(start_ns, end_ns))
    except TooMuch as error:
        if end_ns - start_ns <= SHORTEST_NS:
            yield Part(start_ns, end_ns, Ungathered(Picked(Outcome.FAILED, str(error))))
        else:
            middle = (start_ns + end_ns) // 2
            yield from in_parts(read, start_ns, middle)
            yield from in_parts(read, middle, end_ns)


def ahead(items: Iterator[T], count: int) -> Iterator[list[T]]:
    """The same items in lists of `count`, each made in a thread while the one before is used."""

    def some() -> list[T]:
        return list(islice(items, count))

    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(some)
        while group := coming.result():
            coming = maker.submit(some)
            yield group
