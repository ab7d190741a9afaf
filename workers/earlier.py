"""What was ingested of a station-day before: what of it stays when its source has changed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from catalog.schema import Flag, StationDay
from catalog.store import Store
from workers.archives.verdicts import last_verdict
from workers.archives.zarr import ZarrArchive, attributes_of, group_path
from workers.decode import BadFormat
from workers.orientation import completed
from workers.waveform import (
    NS,
    BoolArray,
    IntArray,
    Waveform,
    assemble,
    grid_index,
    marked,
    same_rate,
)

PIECE_NS = 7200 * NS
"""Read at a time: a chunk of each component, at any rate that is written."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """Samples that stand. attributes: of their verdict (workers/archives/zarr.py)."""

    store: Store
    station_day: StationDay
    attributes: Mapping[str, Any]

    @classmethod
    def of(cls, store: Store, station_day: StationDay) -> Earlier | None:
        """None where there are none, or of no version that is read."""
        path = group_path(station_day.trace, station_day.day)
        last = last_verdict(store, path)
        if last is None or not last.samples:
            return None
        body, _ = store.fetch(f"{path}/{last.name}")
        try:
            return cls(store, station_day, attributes_of(body, store.url_of(path)))
        except BadFormat:
            return None

    def gone(self, inputs: Mapping[str, str]) -> str:
        """The first of the objects that were read, by URL, and are not among these; empty: none.

        A newer version of an object, `#2` for `#1`, takes its place.
        """
        now = {_unversioned(url) for url in inputs}
        return min((u for u in self.attributes["inputs"] if _unversioned(u) not in now), default="")

    def attributes_of(
        self, stays: Sequence[tuple[int, int]], now: Mapping[str, Any]
    ) -> dict[str, Any]:
        """What is said `now`, and what was said of the spans that stay as they were: of gaps at
        their edges too."""

        def touched(low: int, high: int) -> bool:
            return any(start <= high + NS and end >= low - NS for start, end in stays)

        flags = [tuple(flag) for flag in self.attributes["flags"] if touched(*flag[1:])]
        known = [*stays, *(flag[1:] for flag in flags)]
        repairs = [
            ns
            for ns in self.attributes["repairs"]
            if any(start <= ns < end for start, end in known)
        ]
        return {
            "inputs": {**self.attributes["inputs"], **now["inputs"]},
            "absent": now["absent"] and bool(self.attributes.get("absent")),
            "flags": sorted({*flags, *now["flags"]}),
            "repairs": sorted({*repairs, *now["repairs"]}),
        }

    def waveforms(self) -> dict[str, Waveform]:
        """By folder. None where any is damaged: all that can be had is what the source gives."""
        path = group_path(self.station_day.trace, self.station_day.day)
        archive, found = ZarrArchive(self.store), {}
        begin, end = self.station_day.start_ns, self.station_day.end_ns
        try:
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
        except BadFormat:
            return {}
        return found


def beneath(now: Waveform, before: Waveform) -> tuple[Waveform, BoolArray]:
    """`now`, and of `before` what it lacks and does not contradict; and where that is, bool [n]."""
    taken = before.mask & ~now.mask
    if now.conflict is not None:
        taken &= ~now.conflict
    marks: dict[int, BoolArray] = {}
    if before.conflict is not None:
        marked(marks, Flag.CONFLICT, before.conflict & ~now.mask.any(axis=0))
    where = np.asarray(taken.any(axis=0))
    if not where.any():
        return now, where
    below = replace(before, data=before.data * taken, mask=taken, marks=marks)
    return completed(now, below, taken), where


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


def _unversioned(url: str) -> str:
    return re.sub(r"#\d+$", "", url)
