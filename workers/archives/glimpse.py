"""Which channels an object holds, from a bounded number of short reads of it.

Records of a channel lie together, or those of all channels alternate. So two places that show the
same channels are taken to have nothing else between them; where they differ, the middle is read.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from catalog.store import Store
from workers.archives.objects import Objects
from workers.decode import extents
from workers.miniseed.body import Held
from workers.miniseed.records import ChannelId
from workers.miniseed.scanning import scan

READS, READ_BYTES = 64, 2**16
"""The most reads of one object, and bytes of each."""


@dataclass(frozen=True, slots=True)
class _Place:
    start: int
    stop: int
    channels: frozenset[ChannelId]
    first: ChannelId | None
    last: ChannelId | None


def channels_within(store: Store, key: str) -> frozenset[ChannelId]:
    """Waveform channels of an object. Raises BadFormat and what a store raises."""
    head = store.fetch_part(key, 0, READ_BYTES)
    size = head.size
    places = [_look(head.body, 0)]
    if size > READ_BYTES:
        places.append(_read(store, key, max(READ_BYTES, size - READ_BYTES), size))
    between = deque([(places[0], places[-1])])
    while between and len(places) < READS:
        before, after = between.popleft()
        room = after.start - before.stop
        if room <= 0 or _alike(before, after):
            continue
        middle = before.stop + max(0, room - READ_BYTES) // 2
        place = _read(store, key, middle, min(middle + READ_BYTES, after.start))
        places.append(place)
        between += [(before, place), (place, after)]
    found = frozenset[ChannelId]().union(*(place.channels for place in places))
    if found or any(place.last for place in places):
        return found
    return frozenset(codes for codes, _, _ in extents(Objects(store).look_into(key)))


def _read(store: Store, key: str, start: int, stop: int) -> _Place:
    return _look(store.fetch_part(key, start, stop).body, start)


def _look(body: bytes | memoryview, start: int) -> _Place:
    """What the whole records of a stretch of bytes are of."""
    records = scan(Held(body))
    waveform = (records.count > 0) & (records.rate > 0)
    numbers = np.unique(records.channel[waveform]).tolist()
    ends = [records.channels[records.channel[k]] for k in (0, -1)] if len(records) else [None, None]
    channels = frozenset(records.channels[number] for number in numbers)
    return _Place(start, start + len(body), channels, *ends)


def _alike(before: _Place, after: _Place) -> bool:
    if before.last is None or after.first is None:
        return False
    return before.last == after.first or before.channels == after.channels
