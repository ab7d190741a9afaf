"""Samples on the absolute grid: fragments as objects hold them, assembled into one array.

Sample `i` of a grid at `rate` Hz stands at `i / rate` seconds after the Unix epoch. Data keep the
sample they are nearest to; what is left of their true time travels along as an offset.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from catalog.schema import COMPONENTS, Flag, Outcome
from workers import shelf

NS = 1_000_000_000

Samples = NDArray[np.int32] | NDArray[np.float32]
BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]

RATE_TOLERANCE = 1e-6
"""Relative: SAC stores the sampling interval in float32, 2e-8 off; a day then drifts 0.2 sample."""

Told = tuple[str, int, int]
"""What was met, in words, and the span of time that it touches: (words, start ns, end ns)."""

Given = tuple[str, int, int]
"""A component, Z, N or E, and a span of it: [start ns, end ns)."""

TILTED = "UVW"
"""Three axes that are equally inclined (workers/orientation.py): no use but all together."""

ALIASES = {"Z": "Z", "N": "N", "E": "E", "1": "N", "2": "E", "3": "Z", "U": "Z", "V": "N", "W": "E"}
"""Component code -> row of COMPONENTS (SeisBench `flexible_horizontal_components` knows 1 and 2).

That 3 is the vertical is a guess; U, V and W take a row each until they are turned."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """One contiguous stretch of one component.

    samples: int32 or float32 [m]. valid: bool [m], or None where every sample is.
    offsets: int64 [r, 2], rows (grid index from which it holds, true time minus grid time in ns),
    ascending; the first row's index is `start`. chain: where the chain of records that it was cut
    from begins: the same whatever span was asked for.
    """

    component: str
    rate: float
    start: int
    samples: Samples
    offsets: NDArray[np.int64]
    valid: NDArray[np.bool_] | None = None
    chain: int | None = None

    @property
    def stop(self) -> int:
        """Grid index after the last sample."""
        return self.start + len(self.samples)

    @property
    def start_ns(self) -> int:
        """Grid time of the first sample."""
        return grid_time(self.start, self.rate)

    @property
    def stop_ns(self) -> int:
        """Grid time after the last sample."""
        return grid_time(self.stop, self.rate)

    @property
    def order(self) -> int:
        """Of two that overlap the lower comes first, and the offsets of the other hold."""
        return self.start if self.chain is None else self.chain


@dataclass(frozen=True, slots=True)
class Lost:
    """An object that was refused (ACCESS_DENIED) or that nobody can read (BAD_FORMAT).

    start_ns, end_ns: the span that it is named for. why: in words that begin with its URL or with
    what befell it.
    """

    outcome: Outcome
    start_ns: int
    end_ns: int
    why: str


@dataclass(frozen=True, slots=True)
class Reading:
    """What an archive holds of one trace over a span.

    inputs: URL -> ETag of every object that was read; given: where each gave samples; unused: of
    those that cannot be read, or hold nothing of the trace that they are named for, the span that
    they are named for. flags: (bits of `catalog.schema.Flag`, start ns, end ns), what holds over
    [start, end). detail: problems met of the trace, each where; at_large: and those of its objects
    that are of no trace in particular, which no outcome rests on. repairs: ns, one for each record
    that was skipped or equals another. lost: objects that would have had a share in it
    (workers/losses.py says what that costs). absent: [start ns, end ns) of each day, of those whose
    objects may reach into the span, of which no object is there, or one that has nothing of the
    trace; none where names tell no day.
    """

    fragments: Sequence[Fragment]
    inputs: Mapping[str, str] = field(default_factory=dict)
    flags: Sequence[tuple[int, int, int]] = ()
    detail: Sequence[Told] = ()
    repairs: Sequence[int] = ()
    lost: Sequence[Lost] = ()
    at_large: Sequence[Told] = ()
    absent: Sequence[tuple[int, int]] = ()
    given: Mapping[str, Sequence[Given]] = field(default_factory=dict)
    unused: Mapping[str, tuple[int, int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waveform:
    """Grid samples [start, start + n) of one trace.

    data: int32 or float32 [3, n], rows in the order of COMPONENTS, zero where masked and not
    filled. mask: bool [3, n], True where there is a sample. offsets: per row int64 [r, 2] as in
    Fragment. marks: bit of `catalog.schema.Flag` -> bool [n], where it holds for any component.
    """

    rate: float
    start: int
    data: Samples
    mask: NDArray[np.bool_]
    offsets: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]
    marks: Mapping[int, BoolArray] = field(default_factory=dict)

    @property
    def conflict(self) -> BoolArray | None:
        """Where overlapping records disagreed; None: nowhere."""
        return self.marks.get(Flag.CONFLICT)

    @property
    def stop(self) -> int:
        """Grid index after the last sample."""
        return self.start + int(self.data.shape[1])

    def offsets_ns(self, index: NDArray[np.int64]) -> NDArray[np.int64]:
        """True time minus grid time at samples [k]: the mean over the components that have each."""
        total, count = np.zeros(len(index)), np.zeros(len(index))
        for rows, has in zip(self.offsets, self.mask[:, index - self.start], strict=True):
            if len(rows):
                at = np.maximum(np.searchsorted(rows[:, 0], index, side="right") - 1, 0)
                total += np.where(has, rows[at, 1], 0)
                count += has
        return np.rint(total / np.maximum(count, 1)).astype(np.int64)


def given_by(fragments: Iterable[Fragment]) -> list[Given]:
    """What fragments give of Z, N and E; those less than ten minutes apart as one. U, V and W give
    of all."""
    spans: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for one in fragments:
        for row in COMPONENTS if one.component in TILTED else ALIASES.get(one.component, ""):
            spans[row].append((one.start_ns, one.stop_ns))
    found: list[Given] = []
    for row, each in spans.items():
        for low, high in sorted(each):
            if found and found[-1][0] == row and low - found[-1][2] < 600 * NS:
                found[-1] = row, found[-1][1], max(found[-1][2], high)
            else:
                found.append((row, low, high))
    return found


def told(text: str, spans: Iterable[tuple[int, int]]) -> list[Told]:
    """One text of several spans, those less than a minute apart as one."""
    joined: list[Told] = []
    for low, high in sorted(spans):
        if joined and low - joined[-1][2] < 60 * NS:
            joined[-1] = text, joined[-1][1], max(joined[-1][2], high)
        else:
            joined.append((text, low, high))
    return joined


def words(detail: Iterable[Told]) -> list[str]:
    """What is told, each once."""
    return list(dict.fromkeys(text for text, _, _ in detail))


def grid_index(ns: int, rate: float) -> int:
    """The grid sample nearest to a time (half a sample rounds to even)."""
    if float(rate).is_integer() and NS % int(rate) == 0:
        step = NS // int(rate)
        index, rest = divmod(ns, step)
        return index + (1 if 2 * rest > step or (2 * rest == step and index % 2) else 0)
    return round(ns * rate / NS)


def grid_time(index: int, rate: float) -> int:
    """Nanoseconds of a grid sample."""
    if float(rate).is_integer() and NS % int(rate) == 0:
        return index * (NS // int(rate))
    return round(index * NS / rate)


def grid_times(index: NDArray[np.int64], rate: float) -> NDArray[np.int64]:
    """Nanoseconds of grid samples [k]."""
    if float(rate).is_integer() and NS % int(rate) == 0:
        return index * (NS // int(rate))
    return np.array([grid_time(int(i), rate) for i in index], np.int64)


def same_rate(a: float, b: float) -> bool:
    """Whether two rates, in Hz, are one but for rounding."""
    return abs(a - b) <= RATE_TOLERANCE * b


def assemble(fragments: Iterable[Fragment], rate: float, start: int, stop: int) -> Waveform:
    """Fragments at `rate` onto the grid samples [start, stop).

    Identical overlaps are one; where overlapping samples of one component disagree neither is
    trusted and both are masked. `1`, `2` and `3` fill N, E and Z where those have no sample; U, V
    and W are left out (see `workers.orientation`). The result at a sample does not depend on
    [start, stop).
    """
    n = stop - start
    chosen = [
        fragment
        for fragment in fragments
        if fragment.component in ALIASES
        and fragment.component not in TILTED
        and same_rate(fragment.rate, rate)
        and fragment.start < stop
        and fragment.stop > start
    ]
    whole = all(fragment.samples.dtype == np.int32 for fragment in chosen)
    data: Samples = shelf.empty((3, n), np.int32 if whole else np.float32)
    mask = shelf.zeros((3, n), bool)
    marks: dict[int, BoolArray] = {}
    offsets: list[NDArray[np.int64]] = []
    for row, component in enumerate(COMPONENTS):
        _clear(data[row], [f for f in chosen if ALIASES[f.component] == component], start)
        table = np.zeros((0, 2), np.int64)
        disputed = np.zeros(0, np.int64)
        aliases = [component] + [a for a, name in ALIASES.items() if name == component != a]
        for alias in aliases:
            before = mask[row].copy() if alias != component and mask[row].any() else None
            for fragment in sorted(
                (f for f in chosen if f.component == alias), key=lambda f: f.order
            ):
                clash = _place(fragment, start, data[row], mask[row], before)
                if len(clash):
                    disputed = np.union1d(disputed, clash)
                table = _splice(table, fragment)
            if alias == "3":
                guessed = mask[row] if before is None else mask[row] & ~before
                marked(marks, Flag.ROTATED, guessed)
        if len(disputed):
            mask[row, disputed] = False
            data[row, disputed] = 0
            where = np.zeros(n, bool)
            where[disputed] = True
            marked(marks, Flag.CONFLICT, where)
        offsets.append(table)
    return Waveform(rate, start, data, mask, (offsets[0], offsets[1], offsets[2]), marks)


def _clear(data: Samples, fragments: Iterable[Fragment], start: int) -> None:
    """Zeros wherever no fragment writes every sample."""
    done, end = start, start + len(data)
    for fragment in sorted((f for f in fragments if f.valid is None), key=lambda f: f.start):
        data[done - start : max(fragment.start, done) - start] = 0
        done = min(max(done, fragment.stop), end)
    data[done - start :] = 0


def marked(marks: dict[int, BoolArray], bit: int, where: BoolArray) -> None:
    """Add where a flag holds, bool [n], to what is marked; nothing where it holds nowhere."""
    if where.any():
        marks[bit] = marks[bit] | where if bit in marks else where.copy()


def stretches(has: BoolArray) -> IntArray:
    """[k, 2]: maximal [start, stop) of True in bool [n]."""
    edges = np.flatnonzero(has[1:] != has[:-1]) + 1
    first, last = ([k] if len(has) and has[k] else [] for k in (0, -1))
    return np.concatenate([first, edges, [len(has)] * len(last)]).astype(np.int64).reshape(-1, 2)


def _splice(table: NDArray[np.int64], fragment: Fragment) -> NDArray[np.int64]:
    """An offset table in which a fragment's rows hold from its start to its stop, and no further.

    So the offset at a sample is that of a fragment which covers it, whatever the span.
    """
    ends = int(np.searchsorted(table[:, 0], fragment.stop, side="right"))
    resumed = table[ends - 1 : ends].copy()  # what held there before
    resumed[:, 0] = fragment.stop
    before = table[table[:, 0] < fragment.start]
    return np.concatenate([before, fragment.offsets, resumed, table[ends:]])


def _place(
    fragment: Fragment,
    start: int,
    data: Samples,
    mask: NDArray[np.bool_],
    taken: NDArray[np.bool_] | None,
) -> NDArray[np.int64]:
    """Write one fragment into a row; returns the columns where it contradicts what was there."""
    low, high = max(fragment.start, start), min(fragment.stop, start + len(data))
    inside = slice(low - fragment.start, high - fragment.start)
    samples = fragment.samples[inside]
    columns = slice(low - start, high - start)
    if fragment.valid is None and taken is None and not mask[columns].any():
        data[columns], mask[columns] = samples, True
        return np.zeros(0, np.int64)
    fresh = np.ones(high - low, bool) if fragment.valid is None else fragment.valid[inside]
    if taken is not None:
        fresh = fresh & ~taken[columns]
    already = mask[columns] & fresh
    clash = np.zeros(0, np.int64)
    if already.any():
        clash = np.flatnonzero(already & (data[columns] != samples.astype(data.dtype)))
        clash += low - start
    np.copyto(data[columns], samples, where=fresh, casting="same_kind")
    mask[columns] |= fresh
    return clash
