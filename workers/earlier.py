"""What was ingested of a station-day before: what of it stays when its source has changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catalog.schema import COMPONENTS, Flag, StationDay
from catalog.store import Store
from workers.archives.verdicts import SAMPLES, Verdict
from workers.archives.zarr import ZarrArchive, attributes_of, group_path
from workers.decode import BadFormat
from workers.waveform import (
    NS,
    BoolArray,
    Given,
    IntArray,
    Reading,
    Waveform,
    assemble,
    grid_index,
    grid_time,
    marked,
    same_rate,
    stretches,
)

Span = tuple[int, int]
"""[start ns, end ns)."""

PIECE_NS = 7200 * NS
"""Read at a time: a chunk of each component, at any rate that is written."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """Samples that stand. attributes: of their verdict (workers/archives/zarr.py)."""

    store: Store
    station_day: StationDay
    attributes: Mapping[str, Any]

    @classmethod
    def of(cls, store: Store, station_day: StationDay, last: Verdict | None) -> Earlier | None:
        """By the verdict that holds; None where that is of no samples, or of no version that is
        read."""
        if last is None or last.what != SAMPLES:
            return None
        path = group_path(station_day.trace, station_day.day)
        body, _ = store.fetch(f"{path}/{last.name}")
        try:
            return cls(store, station_day, attributes_of(body, store.url_of(path)))
        except BadFormat:
            return None

    def spoilt(self, reading: Reading, known_as: Callable[[str], str]) -> bool:
        """Whether an object of the day itself that gave samples is there, and of no use any more.

        known_as: the name under which all versions of an object are one.
        """
        begin, end = self.station_day.start_ns, self.station_day.end_ns
        known = {known_as(url) for url in self._given}
        return any(
            known_as(url) in known and low < end and high > begin
            for url, (low, high) in reading.unused.items()
        )

    def out_of_reach(
        self, reading: Reading, known_as: Callable[[str], str], elsewhere: Set[str]
    ) -> dict[str, Sequence[Given]]:
        """Objects that gave samples and cannot now, and where these are.

        elsewhere: URLs of what can be read, and has nothing to do with the day any more.
        """
        here = {known_as(url) for url in reading.inputs if url not in reading.unused}
        return {
            url: each
            for url, each in self._given.items()
            if known_as(url) not in here and url not in elsewhere
        }

    def attributes_of(
        self,
        stays: Sequence[Span],
        out_of_reach: Mapping[str, Sequence[Given]],
        now: Mapping[str, Any],
    ) -> dict[str, Any]:
        """What is said `now`, and what was said of the spans that stay as they were: of gaps at
        their edges too. Where the day's own objects are out of reach, in words as well."""

        def touched(low: int, high: int) -> bool:
            return any(start <= high + NS and end >= low - NS for start, end in stays)

        flags = [flag for flag in self.attributes["flags"] if touched(*flag[1:])]
        known = [*stays, *(flag[1:] for flag in flags)]
        repairs = Counter(
            ns for ns in self.attributes["repairs"] if any(low <= ns < high for low, high in known)
        )
        begin, end = self.station_day.start_ns, self.station_day.end_ns
        gone = (span for each in out_of_reach.values() for span in each)
        own = any(begin <= (low + high) // 2 < end for _, low, high in gone)
        said = {
            name: list(dict.fromkeys([*self.attributes.get(name, []), *now[name]]))
            for name in ("detail", "at_large")
        }
        return {
            "inputs": {u: self.attributes["inputs"][u] for u in out_of_reach} | now["inputs"],
            "given": {**out_of_reach, **now["given"]},
            "absent": now["absent"] and bool(self.attributes.get("absent")),
            "flags": sorted({*flags, *now["flags"]}),
            "repairs": sorted((repairs | Counter(now["repairs"])).elements()),
        } | (said if own else {})

    def waveforms(self) -> dict[str, Waveform]:
        """By folder. Raises BadFormat where any is damaged."""
        path = group_path(self.station_day.trace, self.station_day.day)
        archive, found = ZarrArchive(self.store), {}
        begin, end = self.station_day.start_ns, self.station_day.end_ns
        for folder in self.attributes["rates"]:
            fragments = [
                fragment
                for low in range(begin, end, PIECE_NS)
                for fragment in archive.fragments(path, folder, low, low + PIECE_NS)
            ]
            if fragments:
                rate = fragments[0].rate
                span = grid_index(begin, rate), grid_index(end, rate)
                found[folder] = assemble(fragments, rate, *span)
        return found

    @property
    def _given(self) -> dict[str, Sequence[Given]]:
        """Where the samples of each object are; of stores from before this was kept, the day."""
        own = self.station_day.start_ns, self.station_day.end_ns
        every = [(row, *own) for row in COMPONENTS]
        return {url: self.attributes["given"].get(url, every) for url in self.attributes["inputs"]}


def beneath(now: Sequence[Waveform], before: Waveform, within: Iterable[Given]) -> Waveform:
    """Of `before`, what lies in some spans and what no waveform of `now` has, at any rate, or
    disputes."""
    here = np.zeros(before.data.shape, bool)
    for component, low, high in within:
        here[COMPONENTS.index(component), _columns((low, high), before)] = True
    taken = before.mask & here
    disputed = None if before.conflict is None else before.conflict & here.any(axis=0)
    for one in now:
        for row, there in enumerate(one.mask):
            known = there if one.conflict is None else _with_disputed(there, one.conflict)
            for low, high in _spans(known, one):
                taken[row, _columns((low, high), before)] = False
        if disputed is not None and same_rate(one.rate, before.rate):
            disputed &= ~one.mask.any(axis=0)
    marks: dict[int, BoolArray] = {}
    if disputed is not None:
        marked(marks, Flag.CONFLICT, disputed)
    return replace(before, data=before.data * taken, mask=taken, marks=marks)


def spans_of(waveform: Waveform) -> list[Span]:
    """[start ns, end ns) of where any component has samples."""
    return _spans(np.asarray(waveform.mask.any(axis=0)), waveform)


def _spans(where: BoolArray, waveform: Waveform) -> list[Span]:
    return [
        (grid_time(low, waveform.rate), grid_time(high, waveform.rate))
        for low, high in (stretches(where) + waveform.start).tolist()
    ]


def _columns(span: Span, waveform: Waveform) -> slice:
    low, high = (grid_index(ns, waveform.rate) - waveform.start for ns in span)
    return slice(max(low, 0), max(high, 0))


def _with_disputed(there: BoolArray, disputed: BoolArray) -> BoolArray:
    """Where a component has samples, and disputed ones between or beside them, bool [n]."""
    known = there.copy()
    for low, high in stretches(np.asarray(disputed & ~there)).tolist():
        known[low:high] = there[max(low - 1, 0) : high + 1].any()
    return known


def alike(a: Waveform, b: Waveform) -> bool:
    """Whether both hold the same samples of the same times, disputed in the same places."""
    nowhere = np.zeros(a.data.shape[1], bool)
    one, two = (nowhere if each.conflict is None else each.conflict for each in (a, b))
    return (
        same_rate(a.rate, b.rate)
        and a.data.dtype == b.data.dtype
        and np.array_equal(a.mask, b.mask)
        and np.array_equal(a.data, b.data)
        and np.array_equal(one, two)
        and all(
            np.array_equal(_offsets(a.offsets[row], index), _offsets(b.offsets[row], index))
            for row in range(len(a.mask))
            for index in [np.flatnonzero(a.mask[row]) + a.start]
        )
    )


def _offsets(table: IntArray, index: IntArray) -> IntArray:
    """Of samples [k], by a table (see `workers.waveform.Fragment`)."""
    if not len(table):
        return np.zeros(len(index), np.int64)
    return np.asarray(table[np.searchsorted(table[:, 0], index, side="right") - 1, 1])
