"""The filter that some weights name, applied as SeisBench applies it: first, stretch by stretch.

A recursive filter remembers where its stretch began, so filtered rows are not promised to be the
same wherever a span is cut; the halo makes the difference small.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from workers.preparation import Preparation
from workers.waveform import Waveform


def filtered(waveform: Waveform, preparation: Preparation) -> Waveform:
    """Each contiguous stretch of each component through obspy's filter; as it is where none."""
    if preparation.filter_args is None and preparation.filter_kwargs is None:
        return waveform
    from obspy import Trace

    data = waveform.data.astype(np.float32)
    for row, has in zip(data, waveform.mask, strict=True):
        edges = np.flatnonzero(np.diff(has.astype(np.int8), prepend=0, append=0))
        for start, stop in edges.reshape(-1, 2):
            stretch = Trace(row[start:stop].astype(np.float64), {"sampling_rate": waveform.rate})
            stretch.filter(*preparation.filter_args or (), **preparation.filter_kwargs or {})
            row[start:stop] = stretch.data
    return replace(waveform, data=data)
