"""What an archive's listing holds of a campaign: one bit a station-day."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import date

import numpy as np

from catalog.schema import TraceId
from service.days import Mask
from workers.archives import Holding


class Held:
    """Held days of traces over [start, end); memory: a bit for each, of traces that are held."""

    def __init__(self, start: date, end: date, holdings: Iterable[Holding] = ()) -> None:
        self.start, self.days = start, (end - start).days
        self._bits: dict[TraceId, bytearray] = defaultdict(lambda: bytearray(-(-self.days // 8)))
        self._bytes: dict[TraceId, int] = defaultdict(int)
        for holding in holdings:
            self.add(holding)

    def add(self, holding: Holding) -> None:
        """Note a station-day of [start, end)."""
        day = (holding.day - self.start).days
        self._bits[holding.trace][day >> 3] |= 1 << (day & 7)
        self._bytes[holding.trace] += holding.size

    @property
    def traces(self) -> Sequence[TraceId]:
        """Traces of which anything is held, sorted."""
        return sorted(self._bits)

    def mask(self, trace: TraceId) -> Mask:
        """bool [days], True where the trace is held; of an unknown trace nowhere."""
        if trace not in self._bits:
            return np.zeros(self.days, bool)
        bits = np.frombuffer(self._bits[trace], np.uint8)
        return np.unpackbits(bits, count=self.days, bitorder="little").astype(bool)

    def bytes(self, trace: TraceId, days: int) -> int:
        """Size of so many of its held days, by their mean."""
        held = int(np.count_nonzero(self.mask(trace)))
        return self._bytes[trace] * days // held if held else 0
