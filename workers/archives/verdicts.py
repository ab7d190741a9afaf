"""What a Zarr store says of a station-day: what it holds, or why it holds nothing.

Objects are put once, and sources change: each verdict that differs from the last is put beside it
under the next number, and the last one holds.
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
    """The later one compares higher. number: -1 of stores from before there were numbers. what:
    one of the above."""

    number: int
    of_samples: bool
    what: str
    name: str


def verdict_named(name: str) -> Verdict | None:
    """The verdict that an object of a station-day is; None where it is something else."""
    if name == "zarr.json":  # of samples, from before there were numbers
        return Verdict(-1, True, SAMPLES, name)
    found = _NAME.fullmatch(name)
    return found and Verdict(int(found[1] or -1), found[2] == SAMPLES, found[2], name)


def last_verdict(store: Store, path: str) -> Verdict | None:
    """The one that holds for the station-day at a path, if any."""
    names = (entry.key.removeprefix(f"{path}/") for entry in store.list(f"{path}/"))
    return max((each for each in map(verdict_named, names) if each is not None), default=None)


def pass_verdict(store: Store, path: str, last: Verdict | None, what: str, body: bytes) -> bool:
    """Lets a verdict hold from now on, where `last` still does: False where another has come.

    That nothing is there needs none where none was, and what was said last is not said again.
    """
    if last is None and what == EMPTY:
        return True
    if last is not None and last.what == what and store.fetch(f"{path}/{last.name}")[0] == body:
        return True
    if last_verdict(store, path) != last:
        return False
    return store.create(f"{path}/{0 if last is None else last.number + 1:04d}.{what}", body)
