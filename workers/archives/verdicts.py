"""What a Zarr store says of a station-day: what it holds, or why it holds nothing.

Objects are put once, and sources change: each verdict that differs from the last is put beside it
under the next number, and the last one holds. Samples, once there, give way to samples alone.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from catalog.store import Store

SAMPLES, UNUSABLE, UNREADABLE, EMPTY = "samples.json", "unusable.json", "unreadable.txt", "empty"
"""There are samples: attributes. None of what was read can be used: the same. The source could not
be read: why; the day is lost to those beside it too. There is nothing any more."""

_NAME = re.compile(r"(?:(\d{4,})\.)?(samples\.json|unusable\.json|unreadable\.txt|empty)")


class Verdict(NamedTuple):
    """samples: whether it is of SAMPLES. number: -1 of stores from before there were numbers.
    what: SAMPLES, UNUSABLE, UNREADABLE or EMPTY."""

    samples: bool
    number: int
    what: str
    name: str


def verdict_named(name: str) -> Verdict | None:
    """The verdict that an object of a station-day is; None where it is something else."""
    if name == "zarr.json":  # of samples, from before there were numbers
        return Verdict(True, -1, SAMPLES, name)
    found = _NAME.fullmatch(name)
    return found and Verdict(found[2] == SAMPLES, int(found[1] or -1), found[2], name)


def last_verdict(store: Store, path: str) -> Verdict | None:
    """The one that holds for the station-day at a path, if any."""
    names = (entry.key.removeprefix(f"{path}/") for entry in store.list(f"{path}/"))
    return max((each for each in map(verdict_named, names) if each is not None), default=None)


def pass_verdict(store: Store, path: str, what: str, body: bytes) -> None:
    """Lets a verdict hold from now on; that nothing is there needs none where none was."""
    last = last_verdict(store, path)
    if last is None and what == EMPTY:
        return
    said = None if last is None else store.fetch(f"{path}/{last.name}")[0]
    if last is not None and (last.what, said) == (what, body):
        return
    number = 0 if last is None else last.number + 1
    while not store.create(f"{path}/{number:04d}.{what}", body):
        number += 1  # somebody else's, who looked at the same time
