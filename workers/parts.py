"""A station-day in as many parts as its samples need, and what became of them as one.

Rows do not depend on where a span is cut, so that parts give the rows of the whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import reduce
from itertools import islice
from operator import or_
from typing import TypeVar

import pyarrow as pa

from catalog.schema import Outcome, TraceId
from workers.archives import TooMuch
from workers.quality import Quality
from workers.span import Picked, Span
from workers.waveform import Fragment, Reading, grid_index

T = TypeVar("T")

SHORTEST_NS = 600_000_000_000
"""A part is not cut further: with its halo it is read three times over as it is."""

PRECEDENCE = (
    *(Outcome.ACCESS_DENIED, Outcome.FAILED, Outcome.PICKED, Outcome.DEAD, Outcome.TOO_SHORT),
    *(Outcome.WRONG_RATE, Outcome.BAD_FORMAT, Outcome.NO_DATA),
)
"""Of parts with several outcomes the whole has the first of these."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """One span of a trace, read and assembled for every `Candidate.ground` that is asked for.

    What was read is dropped: it takes as much memory again. inputs: URL -> ETag. goes_on: whether
    there are samples on both sides of its start, its halo being read too.
    """

    spans: Mapping[tuple[int, Quality], Span]
    inputs: Mapping[str, str]
    goes_on: bool

    @classmethod
    def of(
        cls,
        reading: Reading,
        trace: TraceId,
        start_ns: int,
        end_ns: int,
        grounds: Iterable[tuple[int, Quality]],
    ) -> Gathered:
        return cls(
            {each: Span.of(reading, trace, start_ns, end_ns, *each) for each in grounds},
            reading.inputs,
            all(any(_has(f, start_ns, step) for f in reading.fragments) for step in (-1, 0)),
        )


@dataclass(frozen=True, slots=True)
class Part:
    """[start_ns, end_ns) of a station-day: what there is, or why there is nothing."""

    start_ns: int
    end_ns: int
    read: Gathered | Picked

    @property
    def goes_on(self) -> bool:
        return isinstance(self.read, Gathered) and self.read.goes_on


def in_parts(
    read: Callable[[int, int], Gathered | Picked], start_ns: int, end_ns: int
) -> Iterator[Part]:
    """[start_ns, end_ns) in order, halved wherever `read` says TooMuch."""
    try:
        yield Part(start_ns, end_ns, read(start_ns, end_ns))
    except TooMuch as error:
        if end_ns - start_ns <= SHORTEST_NS:
            yield Part(start_ns, end_ns, Picked(Outcome.FAILED, str(error)))
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


def joined(picked: Sequence[Picked], goes_on: Sequence[bool]) -> Picked:
    """What became of the whole, from what became of its parts, in order of time.

    goes_on: of each part, see Part; a stretch of data that a cut goes through counts once. A
    component is dead if it is so in every part that has it. Records repaired in the halo of two
    parts count twice.
    """
    if len(picked) == 1:
        return picked[0]
    outcome = min((one.outcome for one in picked), key=PRECEDENCE.index)
    cut_through = sum(
        bool(on and a.segments and b.segments)
        for on, a, b in zip(goes_on[1:], picked[:-1], picked[1:], strict=True)
    )
    return Picked(
        outcome=outcome,
        why=_once(one.why for one in picked if one.outcome is outcome),
        said=tuple(dict.fromkeys(text for one in picked for text in one.said)),
        picks=pa.concat_tables(one.picks for one in picked),
        seconds=sum(one.seconds for one in picked),
        segments=sum(one.segments for one in picked) - cut_through,
        fragments=sum(one.fragments for one in picked) - cut_through,
        left_over=sum(one.left_over for one in picked),
        living=reduce(or_, (one.living for one in picked)),
        present=reduce(or_, (one.present for one in picked)),
        sampling_rate=max(one.sampling_rate for one in picked),
        resampled_from=max(one.resampled_from for one in picked),
        repaired=sum(one.repaired for one in picked),
        saturated=sum(one.saturated for one in picked),
        met=reduce(or_, (one.met for one in picked)),
    )


def _once(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def _has(fragment: Fragment, ns: int, step: int) -> bool:
    """Whether a fragment has the sample `step` after the one at a time."""
    at = grid_index(ns, fragment.rate) + step - fragment.start
    if not 0 <= at < len(fragment.samples):
        return False
    return fragment.valid is None or bool(fragment.valid[at])
