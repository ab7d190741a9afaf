"""Which traces of a station are planned on which days: epochs first, then bands by priority.

A station's band is chosen for every day anew, of what the archive holds that day: an instrument
that was replaced, or a channel that fell out, costs no station-day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from catalog.schema import TraceId
from service.days import Mask
from service.held import Held
from workers.epochs import Epochs


@dataclass(frozen=True, slots=True)
class Priority:
    """Bands and locations in order of preference; an empty list: each is picked for itself."""

    bands: Sequence[str] = ()
    locations: Sequence[str] = ()

    def rank(self, trace: TraceId) -> tuple[int, int] | None:
        """Lower is preferred, the band before the location; None: not to be picked.

        A trace whose band the archive could not tell has none, and comes last.
        """
        if not trace.band:
            return len(self.bands), len(self.locations)
        try:
            band = self.bands.index(trace.band) if self.bands else 0
            location = self.locations.index(trace.location) if self.locations else 0
        except ValueError:
            return None
        return band, location

    def rivals(self, traces: Iterable[TraceId]) -> Iterator[list[TraceId]]:
        """Traces of which one a day is picked, the preferred first."""
        groups: dict[tuple[str, ...], list[tuple[tuple[int, int], TraceId]]] = defaultdict(list)
        for trace in traces:
            rank = self.rank(trace)
            if rank is not None:
                band = "" if self.bands else trace.band
                location = "" if self.locations else trace.location
                groups[trace.network, trace.station, location, band].append((rank, trace))
        for _, group in sorted(groups.items()):
            yield [trace for _, trace in sorted(group)]


def choose(
    held: Held, traces: Iterable[TraceId], priority: Priority, epochs: Epochs | None
) -> Iterator[tuple[TraceId, Mask]]:
    """Planned days [days] of each held trace that has any, station by station.

    Days outside of a trace's epochs are left out, but for traces that the metadata do not know.
    Of rivals, the first that is held on a day is planned; where none is, that which is held on
    most days of those that may be, so that the day ends as no_data.
    """
    for rivals in priority.rivals(traces):
        may = np.stack([allowed(epochs, trace, held.start, held.days) for trace in rivals])
        if len(rivals) > 1:
            there = np.stack([held.mask(trace) for trace in rivals])
            most = np.argsort(-np.count_nonzero(there, axis=1), kind="stable")
            best = np.where(
                (there & may).any(axis=0),
                (there & may).argmax(axis=0),
                most[may[most].argmax(axis=0)],
            )
            may &= best == np.arange(len(rivals))[:, None]
        yield from ((trace, days) for trace, days in zip(rivals, may, strict=True) if days.any())


def allowed(epochs: Epochs | None, trace: TraceId, start: date, days: int) -> Mask:
    """bool [days]: days from `start` on that lie in an epoch; all, of a trace without any."""
    if epochs is None or trace not in epochs.spans:
        return np.ones(days, bool)
    mask = np.zeros(days, bool)
    for first, stop in epochs.spans[trace]:
        low, high = ((day.toordinal() - start.toordinal()) for day in (first, stop))
        mask[max(low, 0) : max(high, 0)] = True
    return mask
