"""One table of the records of an object: what every header says, without a sample."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from catalog.codes import safe_code, upper
from catalog.schema import TraceId
from workers.waveform import RATE_TOLERANCE

NS = 1_000_000_000

STEIM = (10, 11)
KINDS = {"i": (1, 3, 10, 11, 16, 30, 32), "f": (4, 12, 13, 14), "d": (5,)}
"""Encodings that libmseed unpacks to int32, float32 (12-14: GEOSCOPE) and float64."""
SAMPLE_KINDS = {encoding: kind for kind, encodings in KINDS.items() for encoding in encodings}


COLUMNS = {
    "at": np.int64,
    "length": np.int32,
    "channel": np.int32,
    "start": np.int64,
    "count": np.int32,
    "rate": np.float64,
    "encoding": np.int16,
    "last": np.int32,
    "marks": np.uint8,
}
"""Of a table of records: an object of two gigabytes has four million, so every byte counts."""

Columns = dict[str, NDArray[Any]]
"""A part of a table of records, by the names of COLUMNS."""


class ChannelId(NamedTuple):
    """Codes as the object spells them, blanks stripped."""

    network: str
    station: str
    location: str
    code: str

    @property
    def trace(self) -> TraceId:
        """Raises ValueError where the channel code has no band and component."""
        if len(self.code) not in (1, 2, 3):
            raise ValueError(f"channel code {self.code!r}: one to three letters are read")
        return TraceId.spelled(self.network, self.station, self.location, self.code[:-1])

    def filled(self, network: str, station: str) -> ChannelId:
        """With these codes where it has none."""
        return self._replace(network=self.network or network, station=self.station or station)

    @property
    def component(self) -> str:
        """In upper case."""
        return upper(self.code[-1])

    def __str__(self) -> str:
        return ".".join(safe_code(code) for code in self)


@dataclass(frozen=True, slots=True)
class Records:
    """Every record of one object, in its order; arrays are [k].

    at, length: bytes. channel: row of `channels`. start: ns since the epoch, time correction
    applied. count: samples. rate: Hz. last: the last sample as a Steim header announces it.
    marks: see workers/miniseed/marks.py.
    junk: byte ranges that hold no record, each with the row of the record after it.
    truncated: the object ends inside a record.
    """

    at: NDArray[np.int64]
    length: NDArray[np.int32]
    channel: NDArray[np.int32]
    start: NDArray[np.int64]
    count: NDArray[np.int32]
    rate: NDArray[np.float64]
    encoding: NDArray[np.int16]
    last: NDArray[np.int32]
    marks: NDArray[np.uint8]
    channels: list[ChannelId]
    junk: list[tuple[int, int, int]]
    truncated: bool

    def __len__(self) -> int:
        return len(self.at)

    @property
    def nbytes(self) -> int:
        """Memory that the table takes."""
        return sum(getattr(self, name).nbytes for name in COLUMNS)

    def end(self, row: int) -> int:
        """ns at which the sample after a record's last is due."""
        samples = self.count[row] if self.rate[row] > 0 else 0
        return int(self.start[row]) + round(int(samples) * NS / max(float(self.rate[row]), 1e-9))


def snapped(rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each rate [r] in Hz, or the whole number within RATE_TOLERANCE that it means."""
    if len(rate) and rate[0] == np.rint(rate[0]) and (rate == rate[0]).all():
        return rate
    whole = np.rint(rate)
    with np.errstate(invalid="ignore"):
        near = (whole > 0) & (np.abs(rate - whole) <= RATE_TOLERANCE * whole)
    return np.where(near, whole, rate)


def duration_ns(count: NDArray[np.signedinteger[Any]], rate: float) -> NDArray[np.int64]:
    """ns [r] that samples take; exact where the sampling interval is whole nanoseconds."""
    interval = NS / rate
    whole = round(interval)
    count = count.astype(np.int64)
    return count * whole if interval == whole else np.rint(count * interval).astype(np.int64)
