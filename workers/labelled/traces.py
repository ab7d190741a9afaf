"""Labelled traces as every benchmark gives them, and what is asked of a reader of a benchmark.

One reader a file beside this one. A trace that cannot be read is `Unreadable`, with the reason: it
is never left out, and never taken for noise.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from catalog.errors import Refusal
from catalog.schema import PHASES, Outcome

FIRST_ARRIVALS: Mapping[str, frozenset[str]] = {
    "P": frozenset({"p", "P", "P1", "Pg", "Pb", "P*", "Pn", "Pdif", "Pdiff", "PKP", "PKIKP"}),
    "S": frozenset({"s", "S", "S1", "Sg", "Sb", "S*", "Sn", "Sdif", "Sdiff", "SKS", "SKIKS"}),
}
"""Phases that may arrive first, of which the earliest is the label of P, or of S.

What follows them (pP, PmP, PP, PcP, sS, SmS...) labels nothing: a picker that missed the first
arrival would be credited with it. Muenchmeyer et al. (2022) take pP and PmP where there is nothing
earlier.
"""

SNR_S = 5.0
SNR_GUARD_S = 0.5
SNR_LEAST_S = 1.0


class BenchmarkError(Refusal):
    """A benchmark that cannot be used; the message names the file, the column and the fix."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a benchmark says of one trace beside its samples; None where it does not say.

    arrivals: (phase as its analyst called it, sample, which may be a fraction), by sample. noise:
    it is said to hold no event. split: as the benchmark calls it. strata: other columns.
    """

    trace_name: str
    chunk: str | None = None
    event_id: str | None = None
    station: str | None = None
    distance_km: float | None = None
    depth_km: float | None = None
    magnitude: float | None = None
    snr_db: float | None = None
    origin_ns: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    arrivals: tuple[tuple[str, float], ...] = ()
    noise: bool = False
    split: str | None = None
    strata: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, float]:
        """phase of PHASES -> sample of its first arrival, of those that are labelled."""
        found: dict[str, float] = {}
        for phase in PHASES:
            samples = [s for name, s in self.arrivals if name in FIRST_ARRIVALS[phase]]
            if samples:
                found[phase] = min(samples)
        return found


@dataclass(frozen=True, slots=True)
class LabelledTrace:
    """rate: Hz. components: codes of the rows. samples: any real type [components, n]."""

    about: Description
    rate: float
    components: str
    samples: NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A trace without samples, and why."""

    about: Description
    outcome: Outcome
    detail: str


@dataclass(frozen=True, order=True, slots=True)
class Piece:
    """Traces [start, stop) of one chunk of a benchmark: the unit of work."""

    chunk: str
    start: int
    stop: int


class Labelled(Protocol):
    """A benchmark. fingerprint: changes when its labels or samples do."""

    fingerprint: str

    def pieces(self, size: int) -> Iterator[Piece]:
        """All of it, in order, at most `size` traces each."""
        ...

    def describe(self, piece: Piece) -> Iterator[Description]:
        """Labels and metadata of each trace, in order; no samples are read."""
        ...

    def read(self, piece: Piece) -> Iterator[LabelledTrace | Unreadable]:
        """One trace at a time, in the order of `describe`."""
        ...


def pieces_of(chunk: str, count: int, size: int) -> Iterator[Piece]:
    """A chunk of `count` traces in pieces of `size`, the last one shorter."""
    for start in range(0, count, size):
        yield Piece(chunk, start, min(start + size, count))


def snr_db(trace: LabelledTrace) -> float | None:
    """20 log10 of the ratio of standard deviations after and before the first label.

    Signal: the 5 s from the label on. Noise: the 5 s that end 0.5 s before it. Variances are summed
    over the components. None where either has less than 1 s, or no variance.
    """
    labels = trace.about.labels
    if not labels:
        return None
    first, rate = round(min(labels.values())), trace.rate
    guard, long = round(SNR_GUARD_S * rate), round(SNR_S * rate)
    stop = max(0, first - guard)
    powers = []
    for low, high in ((stop - long, stop), (first, first + long)):
        part = trace.samples[:, max(0, low) : max(0, high)].astype(np.float64)
        if part.shape[1] < SNR_LEAST_S * rate:
            return None
        powers.append(float(part.var(axis=1).sum()))
    noise, signal = powers
    if not (noise > 0 and signal > 0 and math.isfinite(noise + signal)):
        return None
    return 10 * math.log10(signal / noise)


def three_rows(components: str, samples: Sequence[int]) -> str:
    """The components, if there are as many as rows. Raises ValueError."""
    if len(components) != samples[0] or len(samples) != 2:
        raise ValueError(
            f"samples have the shape {tuple(samples)}, the components are {components!r}; "
            "one row a component is wanted"
        )
    return components
