"""Whether a store can hold a catalogue: the promises that commits rest on, tried out in it.

Exactly once rests on one of many writers of a key winning, and on readers seeing what was written.
Some stores that speak S3 take a conditional PUT and ignore the condition; docs/s3.md names them.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

from catalog.store import ObjectChanged, Store, StoreError

WRITERS, ROUNDS = 16, 5
KEYS = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One promise, whether it was kept, and what was seen."""

    promise: str
    kept: bool
    seen: str


def try_store(store: Store) -> Iterator[Finding]:
    """Try a store out below a scratch prefix of its own, which is removed again where that may be.

    Raises StoreError where the store cannot be written or read at all.
    """
    scratch = f"tidepick-check-{uuid.uuid4().hex[:12]}/"
    try:
        yield _refuses_a_second(store, scratch + "second")
        yield _one_of_many_wins(store, scratch + "race")
        yield _lists_what_is_there(store, scratch + "list/")
        yield _parts_of_one_version(store, scratch + "part")
    finally:
        removed = _remove(store, scratch)
    yield Finding("cleaned up", True, removed)


def _refuses_a_second(store: Store, key: str) -> Finding:
    first = store.create(key, b"first")
    refused = not store.create(key, b"second")
    stands = store.fetch(key)[0]
    kept = first and refused and stands == b"first"
    seen = "refused" if kept else f"taken; the object now holds {stands.decode()!r}"
    return Finding("a second conditional PUT of a key is refused", kept, seen)


def _one_of_many_wins(store: Store, key: str) -> Finding:
    """Many writers at once, each with a body of its own, round after round."""
    rounds = [_race(store, f"{key}-{k}") for k in range(ROUNDS)]
    good = sum(len(winners) == 1 and stands in winners for winners, stands in rounds)
    counts = ", ".join(str(len(winners)) for winners, _ in rounds)
    promise = f"of {WRITERS} conditional PUTs of a key at once exactly one wins, and stands"
    return Finding(promise, good == ROUNDS, f"winners in {ROUNDS} rounds: {counts}")


def _race(store: Store, key: str) -> tuple[list[int], int]:
    """Who won, and whose body stands."""
    gate = threading.Barrier(WRITERS)
    winners: list[int] = []
    failed: list[StoreError] = []

    def write(writer: int) -> None:
        gate.wait()
        try:
            if store.create(key, str(writer).encode()):
                winners.append(writer)
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(k,)) for k in range(WRITERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return winners, int(store.fetch(key)[0])


def _lists_what_is_there(store: Store, prefix: str) -> Finding:
    """At once, whole, in the order of keys, and with the ETags that reading gives."""
    keys = sorted(f"{prefix}{k}" for k in range(KEYS))
    for key in keys:
        store.create(key, key.encode())
    listed = list(store.list(prefix))
    names = [entry.key for entry in listed]
    same = all(entry.etag == store.fetch(entry.key)[1] for entry in listed)
    kept = names == keys and same
    seen = f"{len(names)} of {KEYS} listed" + ("" if same else ", with other ETags than read")
    return Finding("a listing has what was just written, sorted, with its ETags", kept, seen)


def _parts_of_one_version(store: Store, key: str) -> Finding:
    store.create(key, bytes(range(100)))
    _, etag = store.fetch(key)
    part = store.fetch_part(key, 10, 20, etag)
    right = part.body == bytes(range(10, 20)) and part.size == 100
    try:
        store.fetch_part(key, 0, 10, "0" * 32)
    except ObjectChanged:
        return Finding("a range is read of one version only", right, "another ETag is refused")
    return Finding("a range is read of one version only", False, "another ETag is ignored")


def _remove(store: Store, prefix: str) -> str:
    filesystem, place = store.filesystem(), store.url_of(prefix)
    try:
        filesystem.rm(place, recursive=True)
    except OSError as error:
        return f"{place} stays: {str(error).splitlines()[0]}"
    return f"{place} is removed"
