"""The samples of a station-day as candidates see them, without any candidate."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from catalog.schema import TraceId
from workers.archives import Archive
from workers.decoded import BadFormat
from workers.losses import settled
from workers.parts import Gathered, in_parts
from workers.quality import Quality
from workers.resampling import reach_s
from workers.span import Span, halo
from workers.waveform import NS


def spans_over(
    archive: Archive, trace: TraceId, start_ns: int, end_ns: int, rate: int, quality: Quality
) -> Iterator[Span]:
    """[start_ns, end_ns) of a trace on the grid of `rate` Hz, in order, in as many spans as its
    samples need.

    Raises AccessDenied and BadFormat as a run would record them, and StoreError.
    """
    margin = ceil(((halo(rate) + 2) / rate + reach_s(rate)) * NS)

    def read(start: int, end: int) -> Gathered:
        reading = settled(archive.read(trace, start - margin, end + margin), start, end)
        return Gathered.of(reading, trace, start, end, [(rate, quality)])

    for part in in_parts(read, start_ns, end_ns):
        if not isinstance(part.read, Gathered):
            raise BadFormat(str(trace), part.read.picked.why)
        yield part.read.spans[rate, quality]
