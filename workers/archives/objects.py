"""Objects of an archive, looked into once, read as far as a span needs, gathered into a Reading."""

from __future__ import annotations

import errno
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from catalog.schema import Flag, Outcome, TraceId
from catalog.store import (
    AccessDenied,
    LocalStore,
    MissingObject,
    ObjectChanged,
    Store,
    StoreError,
    StoreUnavailable,
)
from workers import shelf
from workers.archives.archive import MOST_SAMPLES, TooMuch
from workers.contents import select, unpack_selected
from workers.decode import BadFormat, Contents, Decoded, extents, look_into
from workers.decoded import Channel
from workers.fragments import clip
from workers.miniseed.body import PIECE
from workers.miniseed.records import ChannelId
from workers.waveform import (
    ALIASES,
    Fragment,
    Given,
    Lost,
    Reading,
    Told,
    given_by,
    grid_index,
)

BODY_BYTES = 64_000_000
"""Of objects held whole: a noisy day is 50 MB, and the next one is read for its halo too."""

CONTENTS_BYTES = 64_000_000
"""Of tables of records, and of decoded objects in other formats than miniSEED."""

FETCHES = 6
"""Objects of one reading that are on their way, or wait to be unpacked, beside the one in hand."""

VERSIONS = 3
"""Times that an object may change while it is read."""

_T = TypeVar("_T")

MARGIN_NS = 10_000_000_000
"""Kept around a span of a decoded object: more than a sample."""

NAMED = 5
"""Traces that a word about an object names at most."""

SPILL_NS = 3_600_000_000_000
"""How far a day's object may reach over midnight, either way; what lies beyond is left out."""


@dataclass(frozen=True, slots=True)
class NamedObject:
    """An object that may hold samples of [start_ns, end_ns), the span it is named for.

    trace: that it is named for, too, where its name tells one; station: NET.STA where it tells
    no more. claim: what told it. lent: network and station that its name has, as the archive spells
    them, for headers that leave theirs blank; where no name tells any, blank headers are their own.
    """

    key: str
    start_ns: int
    end_ns: int
    trace: TraceId | None = None
    station: str = ""
    claim: str = "named for"
    lent: tuple[str, str] = ("", "")

    @property
    def named(self) -> str:
        """The trace or station that it is named for; empty where its name tells none."""
        return self.station if self.trace is None else str(self.trace)

    def may_hold(self, start_ns: int, end_ns: int) -> bool:
        """Whether it is worth a request for [start_ns, end_ns)."""
        return self.start_ns - SPILL_NS < end_ns and self.end_ns + SPILL_NS > start_ns

    def lost(self, outcome: Outcome, why: str) -> Lost:
        """What a reading lacks by it, over the span it is named for."""
        return Lost(outcome, self.start_ns, self.end_ns, why)


class StoredBody:
    """The bytes of one version of an object in a store; held whole up to PIECE, until released."""

    def __init__(self, store: Store, key: str) -> None:
        self._store, self._key, self.url = store, key, store.url_of(key)
        part = store.fetch_part(key, 0, PIECE, room=_room)
        self._head, self.size, self.etag = part.body, part.size, part.etag

    @property
    def held(self) -> int:
        """Bytes in memory."""
        return len(self._head)

    def release(self) -> None:
        """Forget the bytes; what is asked for again is fetched again, of the same version."""
        self._head = b""

    def read(self, start: int, stop: int) -> memoryview:
        """Raises ObjectChanged, and what a store raises."""
        stop = min(stop, self.size)
        if stop <= len(self._head):
            return memoryview(self._head)[start:stop]
        part = self._store.fetch_part(self._key, start, stop, self.etag, _room)
        if len(part.body) != stop - start:
            raise StoreUnavailable(errno.EIO, f"{self.url}: a short answer")
        return memoryview(part.body)


def _room(size: int) -> NDArray[np.uint8]:
    return shelf.empty(size, np.uint8)


Body = Future[StoredBody]


@dataclass(frozen=True, slots=True)
class _Known:
    """An object that was looked into: what it holds, or why it holds nothing."""

    body: StoredBody
    found: Contents | Decoded | BadFormat

    @property
    def nbytes(self) -> int:
        return 0 if isinstance(self.found, BadFormat) else self.found.nbytes


class Objects:
    """Objects of one store. The least recently used lose their bytes first, then what is known."""

    def __init__(
        self, store: Store, bodies: int = BODY_BYTES, contents: int = CONTENTS_BYTES
    ) -> None:
        self.store = store
        self._limits = bodies, contents
        self._known: OrderedDict[str, _Known] = OrderedDict()

    def gather(
        self,
        trace: TraceId,
        objects: Iterable[NamedObject],
        start_ns: int,
        end_ns: int,
        unlisted: Sequence[Lost] = (),
        absent: Sequence[tuple[int, int]] = (),
    ) -> Reading:
        """What the objects hold of a trace inside [start_ns, end_ns).

        unlisted: what may exist beside them, and where; absent: as of a Reading.
        An object counts for its own span and SPILL_NS around it, so that a sample is found or not
        whatever span is asked for. Raises StoreUnavailable and TooMuch.
        """
        fragments: list[Fragment] = []
        inputs: dict[str, str] = {}
        given: dict[str, list[Given]] = {}
        unused: dict[str, tuple[int, int]] = {}
        flags: list[tuple[int, int, int]] = []
        detail: list[Told] = []
        at_large: list[Told] = []
        repairs: list[int] = []
        lost, gone = list(unlisted), set(absent)
        wanted = [one for one in objects if one.may_hold(start_ns, end_ns)]
        for named, body in self._coming(wanted):
            url, own = self.store.url_of(named.key), (named.start_ns, named.end_ns)
            room = MOST_SAMPLES - sum(len(fragment.samples) for fragment in fragments)
            try:
                found, etag = self._read(named, body, trace, start_ns, end_ns, room)
            except MissingObject:  # the archive does not hold it any more
                at_large.append((f"{url}: was listed, and is gone", *own))
                gone.add(own)
                continue
            except AccessDenied as error:
                lost.append(named.lost(Outcome.ACCESS_DENIED, str(error.strerror)))
                continue
            inputs[url] = etag
            if isinstance(found, BadFormat):
                unused[url] = own
                lost.append(named.lost(Outcome.BAD_FORMAT, str(found)))
                continue
            if named.named and not self._holds(named.key, trace):
                unused[url] = own
                gone.add(own)
            given[url] = given_by(
                f for channel in found.channels.values() for f in channel.fragments
            )
            detail += found.detail
            at_large += found.at_large
            for channel in found.channels.values():
                flags += channel.flags
                fragments += channel.fragments
                repairs += channel.repairs.tolist()
        flags = [flag for flag in flags if flag[1] < end_ns and flag[2] > start_ns]
        detail, at_large = (
            [one for one in dict.fromkeys(told) if one[1] < end_ns and one[2] > start_ns]
            for told in (detail, at_large)
        )
        return Reading(
            fragments,
            inputs,
            sorted(set(flags)),
            detail,
            repairs,
            lost,
            at_large,
            sorted(gone),
            given,
            unused,
        )

    def _coming(self, objects: Sequence[NamedObject]) -> Iterator[tuple[NamedObject, Body | None]]:
        """The objects in order, each with its bytes on their way where it is not known yet."""
        pool = ThreadPoolExecutor(FETCHES)

        def begun(named: NamedObject) -> tuple[NamedObject, Body | None]:
            if named.key in self._known:
                return named, None
            return named, pool.submit(StoredBody, self.store, named.key)

        try:
            yield from _ahead(map(begun, objects), FETCHES)
        finally:
            pool.shutdown(cancel_futures=True)

    def look_into(self, key: str) -> Contents | Decoded:
        """What an object holds. Nothing is remembered. Raises BadFormat and what a store raises."""
        return self._settled(
            key, lambda: look_into(StoredBody(self.store, key), self.store.url_of(key))
        )

    def _read(
        self,
        named: NamedObject,
        body: Body | None,
        trace: TraceId,
        start_ns: int,
        end_ns: int,
        room: int,
    ) -> tuple[Decoded | BadFormat, str]:
        """What one object holds of a trace in a span, and its ETag."""
        coming = [body] if body else []

        def read() -> tuple[Decoded | BadFormat, str]:
            known = self._look(named, coming.pop() if coming else None)
            found = _inside(known, named, trace, start_ns, end_ns, room)
            self._forget()
            return found, known.body.etag

        return self._settled(named.key, read)

    def _settled(self, key: str, read: Callable[[], _T]) -> _T:
        """What `read` gives of one version of an object, begun again where that has changed."""
        for _ in range(VERSIONS):
            try:
                return read()
            except ObjectChanged:
                self._known.pop(key, None)
        url = self.store.url_of(key)
        raise StoreUnavailable(errno.ESTALE, f"{url}: changed {VERSIONS} times while it was read")

    def _look(self, named: NamedObject, coming: Body | None) -> _Known:
        key = named.key
        if key in self._known:
            self._known.move_to_end(key)
        else:
            body = coming.result() if coming else StoredBody(self.store, key)
            found: Contents | Decoded | BadFormat
            try:
                found = look_into(body, self.store.url_of(key), *named.lent)
            except BadFormat as error:  # its traceback would keep the whole body
                found = BadFormat(error.source, error.why)
            if body.size > PIECE or not isinstance(found, Contents):
                body.release()
            self._known[key] = _Known(body, found)
        return self._known[key]

    def _holds(self, key: str, trace: TraceId) -> bool:
        """Whether the object that was read last has anything of a trace."""
        found = self._known[key].found
        return not isinstance(found, BadFormat) and any(
            codes.trace == trace for codes, _, _ in extents(found)
        )

    def _forget(self) -> None:
        """Down to the limits; the last object read is kept, however large."""
        bodies, contents = self._limits
        held = sum(known.body.held for known in self._known.values())
        known_bytes = sum(known.nbytes for known in self._known.values())
        for key, known in list(self._known.items())[:-1]:
            if held > bodies:
                held -= known.body.held
                known.body.release()
            if known_bytes > contents:
                known_bytes -= known.nbytes
                del self._known[key]


def _ahead(items: Iterator[_T], count: int) -> Iterator[_T]:
    """The same items, each taken `count` items early."""
    taken = deque(islice(items, count))
    while taken:
        yield taken.popleft()
        taken.extend(islice(items, 1))


def _inside(
    known: _Known, named: NamedObject, trace: TraceId, start_ns: int, end_ns: int, room: int
) -> Decoded | BadFormat:
    """The samples of a trace in a span, at most `room` of them, else raises TooMuch."""
    found = known.found
    if isinstance(found, BadFormat):
        return found
    low, high = named.start_ns - SPILL_NS, named.end_ns + SPILL_NS
    beyond = any(
        codes.trace == trace and (start < low or end > high) for codes, start, end in extents(found)
    )
    start_ns, end_ns = max(start_ns, low), min(end_ns, high)
    own = named.start_ns, named.end_ns
    detail: list[Told] = []
    at_large: list[Told] = []
    held = sorted({str(codes.trace) for codes, _, _ in extents(found)})
    if named.station and str(trace) not in held:  # a location or a band that the plan did not see
        others = ", ".join(held[:NAMED]) or "nothing"
        at_large.append((f"{known.body.url}: holds {others}, and nothing of {trace}", *own))
    if named.named and not any(f"{text}.".startswith(f"{named.named}.") for text in held):
        others = ", ".join(held[:NAMED]) or "nothing"
        detail.append((f"{known.body.url}: {named.claim} {named.named}, and holds {others}", *own))
    mine = {codes.component for codes, _, _ in extents(found) if codes.trace == trace}
    if mine and mine.isdisjoint(ALIASES):
        text = f"holds {', '.join(sorted(mine))} of {trace}, which are no components that are read"
        detail.append((f"{known.body.url}: {text}", *own))
    if isinstance(found, Contents):
        stretches = select(known.body, found, trace, start_ns, end_ns)
        samples = sum(int(found.records.count[stretch.rows].sum()) for stretch in stretches)
        if samples > room:
            raise TooMuch(known.body.url, samples)
        try:
            found = unpack_selected(known.body, found, trace, stretches)
        except BadFormat as error:
            return error
        clipped = low, high
    else:
        clipped = max(low, start_ns - MARGIN_NS), min(high, end_ns + MARGIN_NS)
    detail += found.detail
    if beyond:
        text = f"{known.body.url}: samples more than an hour outside of its day were left out"
        detail.append((text, *own))
    channels: dict[ChannelId, Channel] = {}
    for codes, channel in found.channels.items():
        if codes.trace == trace:
            parts = [clip(fragment, *clipped) for fragment in channel.fragments]
            inside = [part for part in parts if part and overlaps(part, start_ns, end_ns)]
            flags = [_to_its_end(flag, named) for flag in channel.flags]
            channels[codes] = replace(channel, fragments=inside, flags=flags)
    result = Decoded(channels, detail, [*found.at_large, *at_large])
    samples = sum(len(one.samples) for channel in channels.values() for one in channel.fragments)
    if samples > room:
        raise TooMuch(known.body.url, samples)
    return result


def _to_its_end(flag: tuple[int, int, int], named: NamedObject) -> tuple[int, int, int]:
    """What an object that is cut off lacks may be as long as what it is named for."""
    bits, low, high = flag
    return bits, low, max(high, named.end_ns) if bits == Flag.TRUNCATED else high


def overlaps(fragment: Fragment, start_ns: int, end_ns: int) -> bool:
    """Whether any grid sample of it may fall in [start_ns, end_ns)."""
    return fragment.start <= grid_index(end_ns, fragment.rate) and fragment.stop >= grid_index(
        start_ns, fragment.rate
    )


def require_root(store: Store) -> None:
    """Raises StoreError where a local root is no folder. A bucket says so itself when listed."""
    if isinstance(store, LocalStore) and not store.root.is_dir():
        raise StoreError(
            errno.ENOENT,
            f"archive root {store.root}: no such folder; set [archive] root to a folder that "
            "exists, or to an s3:// URL",
        )
