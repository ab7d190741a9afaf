"""What was refused is not asked again for a while, so that a refusal costs one request."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict

from catalog.verbs import AccessDenied

REFUSAL_S = 900.0
"""A refused object or listing is not asked for again so long, by the store that was refused."""

MOST_REFUSALS = 10_000
"""So many are remembered, a few megabytes; the oldest are forgotten first."""

FIRST_SILENCE_S = 1.0
"""After a first failure; each one that follows doubles it, up to REFUSAL_S."""


class Refusals:
    """Which URLs of a store were refused, and what was said. Any thread may ask."""

    def __init__(self) -> None:
        self._until: OrderedDict[str, tuple[float, AccessDenied]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, url: str) -> None:
        """Raises AccessDenied again where a URL was refused lately."""
        with self._lock:
            until, refusal = self._until.get(url, (0.0, None))
            if refusal is not None and time.monotonic() >= until:
                del self._until[url]
                return
        if refusal is not None:
            raise AccessDenied(*refusal.args)

    def note(self, url: str, refusal: AccessDenied) -> None:
        """Remember a refusal for REFUSAL_S, the latest MOST_REFUSALS of them."""
        with self._lock:
            self._until[url] = time.monotonic() + REFUSAL_S, AccessDenied(*refusal.args)
            while len(self._until) > MOST_REFUSALS:
                self._until.popitem(last=False)


class Silence:
    """After a failure nothing is asked for 1 s, 2 s, 4 s ... REFUSAL_S; a success ends it.

    So a source that has failed for four hours was asked 24 times, by whatever many requests.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._until = 0.0
        self._why = ""

    def reason(self) -> str:
        """Why not to ask now; empty: ask."""
        return self._why if time.monotonic() < self._until else ""

    def begin(self, why: str) -> None:
        """A failure. Those of requests that were under way at the same time count once."""
        if not self.reason():
            wait = min(REFUSAL_S, FIRST_SILENCE_S * 2**self._failures)
            self._failures += 1
            self._until, self._why = time.monotonic() + wait, why

    def end(self) -> None:
        """A success."""
        self._failures, self._until = 0, 0.0
