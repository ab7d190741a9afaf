"""Formats other than miniSEED, through obspy: the few of them that are safe on any bytes."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workers.miniseed.records import LEAST_HZ, MOST_HZ, NS, ChannelId

if TYPE_CHECKING:
    from obspy import Stream

FORMATS = (
    "SAC",
    "SEGY",
    "SEISAN",
    "WIN",
    "REFTEK130",
    "SEG2",
    "KNET",
    "Y",
    "AH",
    "SLIST",
    "TSPAIR",
)
"""What is read. Not: PICKLE (even recognising one runs the code in it); CSS, NNSA_KB_CORE and Q,
which open whatever other files they name; GSE1, GSE2 and GCF, whose C code crashes on damaged files
(tests/fuzz); MSEED, which has been tried by then; formats that no continuous data come in."""


FARTHEST_NS = 2**62
"""From the epoch: 146 years. A time beyond is a damaged header's."""


@dataclass(frozen=True, slots=True)
class ForeignTrace:
    """One contiguous trace. samples: int32 or float32 [n]; valid: bool [n], or None: all are."""

    codes: ChannelId
    start_ns: int
    rate: float
    samples: NDArray[np.int32] | NDArray[np.float32]
    valid: NDArray[np.bool_] | None

    @property
    def end_ns(self) -> int:
        return self.start_ns + round(len(self.samples) * NS / self.rate)


def read_foreign(body: bytes) -> tuple[list[ForeignTrace], list[str]]:
    """Traces of an object, none where no format reads it, and what obspy says, in words."""
    # Here, for most archives hold nothing but miniSEED.
    from obspy.core.util.base import ENTRY_POINTS, buffered_load_entry_point

    said: list[str] = []
    for name in FORMATS:
        point = ENTRY_POINTS["waveform"][name]
        plugin = f"obspy.plugin.waveform.{point.name}"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            recognised = False
            try:
                is_format = buffered_load_entry_point(point.dist.name, plugin, "isFormat")
                recognised = is_format(io.BytesIO(body))
                if recognised:
                    read = buffered_load_entry_point(point.dist.name, plugin, "readFormat")
                    traces = _traces(read(io.BytesIO(body)))
            except Exception as error:
                # Its readers raise anything on bytes that are not theirs, `Exception` itself too.
                if recognised:
                    said.append(f"{name}: {type(error).__name__}: {error}")
                continue
        if recognised and traces:
            return traces, [f"{name}: {warning.message}" for warning in caught]
    return [], said


def _traces(stream: Stream) -> list[ForeignTrace]:
    traces = []
    for trace in stream:
        stats = trace.stats
        if not len(trace.data) or not stats.sampling_rate > 0 or trace.data.dtype.kind not in "iuf":
            continue
        if not (LEAST_HZ < stats.sampling_rate < MOST_HZ and abs(stats.starttime.ns) < FARTHEST_NS):
            raise ValueError(f"{stats.sampling_rate} Hz from {stats.starttime.ns} ns on: damaged")
        codes = ChannelId(
            *(
                code.strip(" \x00")
                for code in (stats.network, stats.station, stats.location, stats.channel)
            )
        )
        valid = None
        if isinstance(trace.data, np.ma.MaskedArray):
            valid = ~np.ma.getmaskarray(trace.data)
        samples = _narrow(np.ma.getdata(trace.data))
        traces.append(
            ForeignTrace(codes, stats.starttime.ns, float(stats.sampling_rate), samples, valid)
        )
    return traces


def _narrow(data: NDArray[np.generic]) -> NDArray[np.int32] | NDArray[np.float32]:
    """int32 where every value fits, float32 otherwise; floats too large for it become Inf."""
    limits = np.iinfo(np.int32)
    if data.dtype.kind in "iu" and data.min() >= limits.min and data.max() <= limits.max:
        return data.astype(np.int32, copy=False)
    with np.errstate(over="ignore"):
        return data.astype(np.float32, copy=False)
