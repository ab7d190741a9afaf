"""Objects of an archive, decoded once and remembered for a while, gathered into a Reading."""

from __future__ import annotations

import errno
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Flag, TraceId
from catalog.store import LocalStore, MissingObject, Store, StoreError
from workers.decode import BadFormat, Decoded, decode
from workers.waveform import Fragment, Reading, grid_index

CACHE_BYTES = 600_000_000
"""Of decoded samples; neighbouring days read the same objects for their halo."""

SPILL_NS = 3_600_000_000_000
"""How far a day's object may reach over midnight, either way; what lies beyond is left out."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """An object that may hold samples of [start_ns, end_ns), the span it is named for."""

    key: str
    start_ns: int
    end_ns: int

    def may_hold(self, start_ns: int, end_ns: int) -> bool:
        return self.start_ns - SPILL_NS < end_ns and self.end_ns + SPILL_NS > start_ns


class Objects:
    """Decoded objects of one store, the least recently used dropped first."""

    def __init__(self, store: Store, limit: int = CACHE_BYTES) -> None:
        self.store = store
        self._limit = limit
        self._kept: OrderedDict[str, tuple[Decoded | BadFormat, str]] = OrderedDict()

    def get(self, key: str) -> tuple[Decoded | BadFormat, str]:
        """What an object holds, or why it holds nothing, and its ETag."""
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        body, etag = self.store.fetch(key)
        found: Decoded | BadFormat
        try:
            found = decode(body, self.store.url_of(key))
        except BadFormat as error:
            found = error
        self._kept[key] = found, etag
        while len(self._kept) > 1 and self._size() > self._limit:
            self._kept.popitem(last=False)
        return found, etag

    def gather(
        self, trace: TraceId, candidates: Iterable[Candidate], start_ns: int, end_ns: int
    ) -> Reading:
        """What the candidates hold of a trace inside [start_ns, end_ns).

        An object counts for its own span and SPILL_NS around it, so that a sample is found or not
        whatever span is asked for. Raises BadFormat where objects are bad and none gave data.
        """
        fragments: list[Fragment] = []
        inputs: dict[str, str] = {}
        flags: list[tuple[int, int, int]] = []
        detail: list[str] = []
        bad: list[BadFormat] = []
        for candidate in candidates:
            if not candidate.may_hold(start_ns, end_ns):
                continue
            try:
                found, etag = self.get(candidate.key)
            except MissingObject:
                continue  # removed since it was listed: the archive does not hold it
            inputs[self.store.url_of(candidate.key)] = etag
            if isinstance(found, BadFormat):
                bad.append(found)
                detail.append(str(found))
                flags.append((Flag.SALVAGED, candidate.start_ns, candidate.end_ns))
                continue
            detail += found.detail
            low, high = candidate.start_ns - SPILL_NS, candidate.end_ns + SPILL_NS
            for codes, channel in found.channels.items():
                if codes.trace != trace:
                    continue
                flags += channel.flags
                for whole in channel.fragments:
                    fragment = clip(whole, low, high)
                    if fragment is not whole:
                        detail.append(
                            f"{self.store.url_of(candidate.key)}: samples of {codes} more than "
                            "an hour outside of its day were left out"
                        )
                    if fragment is not None and overlaps(fragment, start_ns, end_ns):
                        fragments.append(fragment)
        if bad and not fragments:
            raise bad[0] if len(bad) == 1 else BadFormat(bad[0].source, "; ".join(detail))
        flags = [flag for flag in flags if flag[1] < end_ns and flag[2] > start_ns]
        return Reading(fragments, inputs, sorted(set(flags)), list(dict.fromkeys(detail)))

    def _size(self) -> int:
        return sum(found.nbytes for found, _ in self._kept.values() if isinstance(found, Decoded))


def overlaps(fragment: Fragment, start_ns: int, end_ns: int) -> bool:
    """Whether any grid sample of it may fall in [start_ns, end_ns)."""
    return fragment.start <= grid_index(end_ns, fragment.rate) and fragment.stop >= grid_index(
        start_ns, fragment.rate
    )


def clip(fragment: Fragment, start_ns: int, end_ns: int) -> Fragment | None:
    """The part of a fragment on the grid of [start_ns, end_ns); itself where that is all of it."""
    low = max(fragment.start, grid_index(start_ns, fragment.rate))
    high = min(fragment.stop, grid_index(end_ns, fragment.rate))
    if (low, high) == (fragment.start, fragment.stop):
        return fragment
    if low >= high:
        return None
    part = slice(low - fragment.start, high - fragment.start)
    return replace(
        fragment,
        start=low,
        samples=fragment.samples[part],
        valid=None if fragment.valid is None else fragment.valid[part],
        offsets=offsets_within(fragment.offsets, low, high),
    )


def offsets_within(offsets: NDArray[np.int64], start: int, stop: int) -> NDArray[np.int64]:
    """Rows of an offset table (see Fragment) that hold in [start, stop), the first at `start`."""
    first = max(int(np.searchsorted(offsets[:, 0], start, side="right")) - 1, 0)
    last = int(np.searchsorted(offsets[:, 0], stop, side="left"))
    rows = offsets[first : max(last, first + 1)].copy()
    rows[0, 0] = start
    return rows


def require_root(store: Store) -> None:
    """Raises StoreError where a local root is no folder. A bucket says so itself when listed."""
    if isinstance(store, LocalStore) and not store.root.is_dir():
        raise StoreError(
            errno.ENOENT,
            f"archive root {store.root}: no such folder; set [archive] root to a folder that "
            "exists, or to an s3:// URL",
        )
