"""Which days of which trace a campaign plans, as spans: as small as the choices were few."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Spans = NDArray[np.int32]
"""[3, k]: place of the trace, first day, and the day after the last; sorted."""


def spans_of(mask: Mask) -> Spans:
    """The days that are True, of a mask [trace, day]."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    trace, first = np.nonzero(edges > 0)
    _, stop = np.nonzero(edges < 0)
    return np.stack([trace, first, stop]).astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class PlannedDays:
    """Spans [first, stop) of days, counted from the plan's first day; int32 [k] each.

    trace: whose they are, by its place in the plan; spans of a trace neither meet nor overlap.
    Sorted by trace and day, 12 bytes a span.
    """

    trace: NDArray[np.int32]
    first: NDArray[np.int32]
    stop: NDArray[np.int32]

    @classmethod
    def of(cls, spans: Sequence[Spans]) -> PlannedDays:
        """From the spans of each trace by itself, in the order of the plan's traces."""
        owner = np.repeat(np.arange(len(spans)), [each.shape[1] for each in spans])
        _, first, stop = np.concatenate([np.zeros((3, 0), np.int32), *spans], axis=1)
        return cls(owner.astype(np.int32), first, stop)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, PlannedDays):
            return NotImplemented
        return all(
            np.array_equal(mine, its)
            for mine, its in zip(self._columns(), other._columns(), strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def count(self) -> int:
        """Station-days."""
        return int((self.stop - self.first).sum())

    def mask(self, traces: int, low: int, high: int) -> Mask:
        """bool [traces, high - low], True where a day of [low, high) is planned."""
        first, stop = np.clip(self.first, low, high) - low, np.clip(self.stop, low, high) - low
        edges = np.zeros((traces, high - low + 1), np.int8)
        inside = first < stop
        np.add.at(edges, (self.trace[inside], first[inside]), 1)
        np.add.at(edges, (self.trace[inside], stop[inside]), -1)
        return np.cumsum(edges[:, :-1], axis=1, dtype=np.int8).astype(bool)

    def to_json(self, traces: int) -> list[list[int]]:
        """Of each trace [first, stop, first, stop, ...], as `plan.json` keeps them."""
        bounds = np.searchsorted(self.trace, np.arange(traces + 1))
        flat = np.stack([self.first, self.stop], axis=1)
        return [flat[a:b].ravel().tolist() for a, b in pairwise(bounds.tolist())]

    def _columns(self) -> Sequence[NDArray[np.int32]]:
        return self.trace, self.first, self.stop
