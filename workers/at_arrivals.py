"""What an archive holds where an analyst read an arrival: any samples, and how clear a signal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.amplitude import NOISE_S, SIGNAL_S, half_range
from workers.span import Span
from workers.waveform import NS, BoolArray

SEEN_RULE = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """recorded: bool [k], whether any component has the sample of an arrival. snr_db: [k], as
    picks have it (`eval.strata.with_pick_snr`), NaN where it is no number."""

    recorded: BoolArray
    snr_db: NDArray[np.float64]


def seen(spans: Iterable[Span], times: NDArray[np.int64]) -> Seen:
    """times: int64 ns [k], of arrivals at the trace of the spans."""
    recorded, snr_db = np.zeros(len(times), bool), np.full(len(times), np.nan)
    for span in spans:
        rate, waveform = round(span.waveform.rate), span.waveform
        index = np.rint(times * (rate / NS)).astype(np.int64)
        inside = np.flatnonzero((index >= span.first) & (index < span.last))
        columns = index[inside] - waveform.start
        recorded[inside] = waveform.mask[:, columns].any(axis=0)
        signal, noise = (
            half_range(waveform.data, waveform.mask, columns, rate, each).astype(np.float64)
            for each in (SIGNAL_S, NOISE_S)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            decibels = 20 * np.log10(signal / noise)
        snr_db[inside] = np.where(np.isfinite(decibels), decibels, np.nan)
    return Seen(recorded, snr_db)
