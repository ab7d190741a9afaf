"""Windows of a catalogue's station-days: the ground of battles over continuous data."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from catalog.store import MissingObject
from service.web.desk import Desk
from service.web.drawing import drawing
from service.web.ground import Json
from service.web.pool import MARGIN_S, Pool
from workers.waveform import NS


class DayWindows:
    """Of one thread at a time, as its desk is."""

    what = "station-days"

    def __init__(self, pool: Pool, desk: Desk) -> None:
        self._pool = pool
        self._desk = desk
        self.windows: Mapping[str, str] = {
            name: pool.windows[name].stratum for name in pool.proposed
        }
        self.disagreements: pa.Table = pool.disagreements

    def holds(self, window: str) -> bool:
        return window in self._pool.windows

    def view(self, window: str, sides: Mapping[str, str]) -> Json:
        at = self._pool.windows[window]
        margin = MARGIN_S * NS
        names = sorted(sides.values())
        snippets = self._desk.snippets(at.run, at.trace, at.start - margin, at.end + margin, names)
        if not any(np.isfinite(each.waveform).any() for each in snippets):
            raise MissingObject("the archive has no sample there any more")
        picks = {name: self._pool.picks_near(at, name) for name in names}
        seconds = (at.end - at.start) / NS
        return drawing(snippets, sides, picks, at.start) | {"seconds": seconds}

    def told(self, window: str) -> Json:
        at = self._pool.windows[window]
        return {
            "trace": str(at.trace),
            "start": datetime.fromtimestamp(at.start / NS, UTC).isoformat(),
            "arrivals": [
                {"phase": mark["phase"], "time": round((mark["ns"] - at.start) / NS, 4)}
                for mark in self._pool.arrivals_near(at)
            ],
        }
