"""Peaks -> rows: what is known of each pick beside its time and probability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from catalog.schema import PICK_SCHEMA, Flag, TraceId
from workers.amplitude import NOISE_S, SIGNAL_S, half_range
from workers.phasenet import WINDOW
from workers.waveform import Waveform, grid_times, stretches

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

SPAN_SCHEMA = pa.schema([field for field in PICK_SCHEMA if field.name not in ("run", "shard")])
"""Picks before they belong to a run."""

PROBES = np.linspace(-(WINDOW // 2), WINDOW // 2, 24).astype(np.int64)
"""Samples around a pick, of which two that differ show that a component lives."""


@dataclass(frozen=True, slots=True)
class Found:
    """Peaks that stand inside a span. All arrays [k]; onset and end in samples from the peak."""

    phase: NDArray[np.str_]
    column: IntArray
    probability: NDArray[np.float32]
    saddle: NDArray[np.float32]
    onset: IntArray
    end: IntArray

    @classmethod
    def of(cls, parts: Sequence[Found]) -> Found:
        """All of them."""
        return cls(
            np.concatenate([part.phase for part in parts]),
            np.concatenate([part.column for part in parts]),
            np.concatenate([part.probability for part in parts]),
            np.concatenate([part.saddle for part in parts]),
            np.concatenate([part.onset for part in parts]),
            np.concatenate([part.end for part in parts]),
        )

    def __getitem__(self, chosen: IntArray | BoolArray) -> Found:
        return Found(
            self.phase[chosen],
            self.column[chosen],
            self.probability[chosen],
            self.saddle[chosen],
            self.onset[chosen],
            self.end[chosen],
        )


@dataclass(frozen=True, slots=True)
class Ground:
    """The samples under the peaks, and what is known of them.

    flags: (bits of `Flag`, start ns, end ns), half-open.
    """

    trace: TraceId
    waveform: Waveform
    flags: Sequence[tuple[int, int, int]]


def rows(ground: Ground, found: Found) -> pa.Table:
    """SPAN_SCHEMA, sorted by time and phase. Where no component lives there is nothing to pick,
    whatever the network says about a window of zeros; nor where none that lives has a sample, but
    what was drawn for one that is missing."""
    waveform, rate = ground.waveform, ground.waveform.rate
    found = found[np.lexsort((found.phase, found.column))]
    alive, there = _components(waveform, found.column)
    seen = np.asarray(alive.any(axis=0))
    if (filled := waveform.marks.get(Flag.FILLED)) is not None:
        seen &= (alive & waveform.mask[:, found.column]).any(axis=0) | ~filled[found.column]
    found, live, present = found[seen], alive.sum(axis=0)[seen], there.sum(axis=0)[seen]
    column = found.column
    index = column + waveform.start
    time = grid_times(index, rate)
    milliseconds = 1000 / rate
    trace = ground.trace
    flags = _flags(ground, column, time) | np.where(live < present, Flag.DEAD_COMPONENT, 0)
    values: dict[str, object] = {
        "network": [trace.network] * len(column),
        "station": [trace.station] * len(column),
        "location": [trace.location] * len(column),
        "band": [trace.band] * len(column),
        "phase": found.phase.tolist(),
        "time": time,
        "offset_ns": waveform.offsets_ns(index).astype(np.int32),
        "probability": found.probability,
        "saddle": found.saddle,
        "onset": np.rint(found.onset * milliseconds),
        "offset": np.rint(found.end * milliseconds),
        "amplitude": half_range(waveform.data, waveform.mask, column, rate, SIGNAL_S),
        "noise_amplitude": half_range(waveform.data, waveform.mask, column, rate, NOISE_S),
        "n_components": live,
        "flags": flags,
    }
    return pa.table(
        [
            pa.array(values[field.name], from_pandas=True).cast(field.type, safe=False)
            for field in SPAN_SCHEMA
        ],
        schema=SPAN_SCHEMA,
    )


def varies(
    data: NDArray[np.int32] | NDArray[np.float32], mask: BoolArray, piece: int = 4096
) -> BoolArray:
    """Per component [3] of data and mask [3, n]: are there samples, and do they differ?"""
    result = np.zeros(len(data), bool)
    for row, (values, has) in enumerate(zip(data, mask, strict=True)):
        first = values[int(np.argmax(has))] if len(has) else 0
        for begin in range(0, len(has), piece):
            here = slice(begin, begin + piece)
            if (has[here] & (values[here] != first)).any():
                result[row] = True
                break
    return result


def _components(waveform: Waveform, columns: IntArray) -> tuple[BoolArray, BoolArray]:
    """Which components live, and have samples, within half a window of each column [k]: [3, k].

    A component lives where its samples vary: two probes that differ say so; where none do, every
    sample is looked at.
    """
    n = waveform.data.shape[1]
    probes = np.clip(columns[:, None] + PROBES, 0, max(n - 1, 0))
    has, values = waveform.mask[:, probes], waveform.data[:, probes]
    first = np.take_along_axis(values, has.argmax(axis=2)[..., None], axis=2)
    alive = (has & (values != first)).any(axis=2)
    present = alive.copy()
    for k in np.flatnonzero(~alive.all(axis=0)):
        here = slice(max(int(columns[k]) - WINDOW // 2, 0), int(columns[k]) + WINDOW // 2 + 1)
        mask = waveform.mask[:, here]
        alive[:, k] = varies(waveform.data[:, here], mask)
        present[:, k] = mask.any(axis=1)
    return alive, present


def _flags(ground: Ground, columns: IntArray, times: IntArray) -> IntArray:
    """Bits that hold at each pick, or within half a window of it: [k]."""
    flags = np.zeros(len(columns), np.int64)
    for bit, where in ground.waveform.marks.items():
        reach = 0 if bit == Flag.ROTATED else WINDOW // 2  # what is turned is no fault nearby
        first, stop = stretches(where).T
        begun = np.searchsorted(first, columns + reach, side="right")
        ended = np.searchsorted(stop, columns - reach, side="right")
        flags |= np.where(begun > ended, bit, 0)
    for bits, start, end in ground.flags:
        flags |= np.where((times >= start) & (times < end), bits, 0)
    return flags
