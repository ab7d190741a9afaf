"""What windows are called, alike by people's battles and by the rule's, so that the two can meet.

A labelled trace is `dataset/chunk/trace_name`; a stretch of continuous data is its trace and its
span as ISO 8601 writes an interval, `UW.SHW..EH/2022-02-06T12:00:01.230000000Z/PT60S`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import TraceId
from eval.traces import keys

_STRETCH = re.compile(r"([\w.-]+)/(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9})Z/PT(\d+)S")
_SECOND = 10**9


@dataclass(frozen=True, order=True, slots=True)
class Stretch:
    """Continuous data of one trace, [start, end) in ns, whole seconds long."""

    trace: TraceId
    start: int
    end: int

    @property
    def name(self) -> str:
        start = np.datetime64(self.start, "ns")
        return f"{self.trace}/{start}Z/PT{(self.end - self.start) // _SECOND}S"


def stretch_of(name: str) -> Stretch | None:
    """The stretch of that name; None where the name is of something else."""
    if (found := _STRETCH.fullmatch(name)) is None:
        return None
    try:
        trace = TraceId.parse(found[1])
        start = int(np.datetime64(found[2], "ns").astype(np.int64))
    except ValueError:
        return None
    return Stretch(trace, start, start + int(found[3]) * _SECOND)


def traces_called(traces: pa.Table) -> pa.Array:
    """Names [rows] of labelled traces, a `conformed` table."""
    return pc.replace_substring(keys(traces), "\x00", "/")
