"""What became of a span for one candidate, and of a whole from its parts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add, or_

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.schema import Flag, Outcome
from workers.rows import SPAN_SCHEMA

LEFT_OVER = 100
"""So many stretches of a day may be too short for a window until that is said of it. There is no
limit to those that are picked: a day has room for 2,879, three windows each at most."""

PRECEDENCE = (
    *(Outcome.ACCESS_DENIED, Outcome.FAILED, Outcome.PICKED, Outcome.DEAD, Outcome.TOO_SHORT),
    *(Outcome.WRONG_RATE, Outcome.BAD_FORMAT, Outcome.NO_DATA),
)
"""Of parts with several outcomes the whole has the first of these."""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many stretches a span has a share in; of spans side by side they add up.

    enters, leaves: whether one reaches over the span's start, and over its end.
    """

    number: int = 0
    enters: bool = False
    leaves: bool = False

    @classmethod
    def of(cls, stretches: NDArray[np.int64], span: slice) -> Counted:
        """Of [k, 2], [start, stop) each, apart from each other, those in span.start to .stop."""
        start, stop = stretches.T
        inside = (start < span.stop) & (stop > span.start)
        enters, leaves = (bool(((start < e) & (stop > e)).any()) for e in (span.start, span.stop))
        return cls(int(inside.sum()), enters, leaves)

    def __add__(self, after: Counted) -> Counted:
        shared = self.leaves and after.enters
        return Counted(self.number + after.number - shared, self.enters, after.leaves)


NONE = Counted()


@dataclass(frozen=True, slots=True)
class Picked:
    """What became of one span for one candidate.

    why: the reason of the outcome; said: problems met, in words. picks: SPAN_SCHEMA, sorted by time
    and phase. contiguous: stretches of data, gaps filled; short: those that are too short for a
    window; recorded: of each component, as they were recorded. living, present: bits of the
    components that vary, and that have samples. met: bits of `catalog.schema.Flag`, see `flags`.
    """

    outcome: Outcome
    why: str = ""
    said: tuple[str, ...] = ()
    picks: pa.Table = field(default_factory=SPAN_SCHEMA.empty_table)
    seconds: float = 0.0
    contiguous: Counted = NONE
    short: Counted = NONE
    recorded: tuple[Counted, Counted, Counted] = (NONE, NONE, NONE)
    living: int = 0
    present: int = 0
    sampling_rate: float = 0.0
    resampled_from: float = 0.0
    repaired: int = 0
    saturated: int = 0
    met: int = 0

    @property
    def segments(self) -> int:
        """Contiguous stretches of data."""
        return self.contiguous.number

    @property
    def fragments(self) -> int:
        """Stretches as they were recorded, of the component that has most."""
        return max(one.number for one in self.recorded)

    @property
    def n_components(self) -> int:
        """Components that live."""
        return self.living.bit_count()

    @property
    def flags(self) -> int:
        """Bits of `catalog.schema.Flag` of the whole span."""
        flags = self.met | (Flag.DEAD_COMPONENT if self.present & ~self.living else 0)
        return flags | (Flag.FRAGMENTED if self.short.number > LEFT_OVER else 0)

    @property
    def detail(self) -> str:
        """Why, and whatever else was met."""
        short = f"{self.short.number} stretches are shorter than a window, and not picked"
        fragmented = short if self.flags & Flag.FRAGMENTED else ""
        return "; ".join(part for part in (self.why, fragmented, *self.said) if part)


def joined(picked: Sequence[Picked]) -> Picked:
    """What became of the whole, from what became of its parts, in order of time.

    A component is dead if it is so in every part that has it.
    """
    if len(picked) == 1:
        return picked[0]
    outcome = min((one.outcome for one in picked), key=PRECEDENCE.index)
    z, n, e = (reduce(add, part) for part in zip(*(one.recorded for one in picked), strict=True))
    return Picked(
        outcome=outcome,
        why="; ".join(_once(one.why for one in picked if one.outcome is outcome)),
        said=tuple(_once(text for one in picked for text in one.said)),
        picks=pa.concat_tables(one.picks for one in picked),
        seconds=sum(one.seconds for one in picked),
        contiguous=reduce(add, (one.contiguous for one in picked)),
        short=reduce(add, (one.short for one in picked)),
        recorded=(z, n, e),
        living=reduce(or_, (one.living for one in picked)),
        present=reduce(or_, (one.present for one in picked)),
        sampling_rate=max(one.sampling_rate for one in picked),
        resampled_from=max(one.resampled_from for one in picked),
        repaired=sum(one.repaired for one in picked),
        saturated=sum(one.saturated for one in picked),
        met=reduce(or_, (one.met for one in picked)),
    )


def _once(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(text for text in texts if text))
