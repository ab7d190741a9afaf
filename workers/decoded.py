"""What decoding an object gives: fragments and flags per channel, or why there are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from workers.miniseed.records import ChannelId
from workers.waveform import Fragment, Samples, Told, words


class BadFormat(Exception):
    """An object that holds no readable waveform; names it, and what its first bytes look like."""

    def __init__(self, source: str, why: str) -> None:
        super().__init__(source, why)
        self.source = source
        self.why = why

    def __str__(self) -> str:
        return f"{self.source}: {self.why}"


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel of one object. flags: (bit of `Flag`, start ns, end ns), half-open.

    repairs: int64 [k], ns, for each record that was skipped or equals another, where it stood.
    """

    fragments: Sequence[Fragment]
    flags: Sequence[tuple[int, int, int]] = ()
    repairs: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


@dataclass(frozen=True, slots=True)
class Decoded:
    """What one object holds of a span. detail: problems met, each where; at_large: and those that
    are of no trace in particular."""

    channels: Mapping[ChannelId, Channel]
    detail: Sequence[Told] = ()
    at_large: Sequence[Told] = ()

    @property
    def said(self) -> list[str]:
        """The problems, in words."""
        return words([*self.detail, *self.at_large])

    @property
    def nbytes(self) -> int:
        """Memory that the samples take."""
        return sum(
            fragment.samples.nbytes + fragment.offsets.nbytes
            for channel in self.channels.values()
            for fragment in channel.fragments
        )


LARGEST = np.float32(1e15)
"""No ground moves so, in any unit, and squares of a window's samples still fit in float32."""


def masked(
    component: str,
    rate: float,
    start: int,
    samples: Samples,
    offsets: NDArray[np.int64],
    valid: NDArray[np.bool_] | None,
    chain: int | None = None,
) -> Fragment:
    """A fragment whose NaN and Inf, and what is LARGEST or more, are masked and zeroed.

    Arguments and shapes are those of Fragment.
    """
    if samples.dtype == np.float32:
        finite = np.abs(samples) < LARGEST  # NaN is not
        if not finite.all():
            samples = np.where(finite, samples, np.float32(0))
            valid = finite if valid is None else valid & finite
    return Fragment(component, rate, start, samples, offsets, valid, chain)
