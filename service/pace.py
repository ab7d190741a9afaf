"""How fast a run is."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 600.0
"""What `now` means."""


class Pace:
    """Station-days that are done, and how many of them an hour of late. Threads may ask."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._marks = deque([(clock(), 0)])  # the first stands for all that is before the window

    def did(self, station_days: int) -> None:
        """So many are done, just now."""
        with self._lock:
            self._marks.append((self._clock(), self._marks[-1][1] + station_days))
            self._forget()

    def per_hour(self) -> float:
        """Over the last ten minutes, or all the time if that is less."""
        with self._lock:
            now = self._forget()
            since, before = self._marks[0]
            seconds = min(now - since, WINDOW_S)
            return (self._marks[-1][1] - before) / seconds * 3600 if seconds > 0 else 0.0

    def _forget(self) -> float:
        now = self._clock()
        while len(self._marks) > 1 and self._marks[1][0] <= now - WINDOW_S:
            self._marks.popleft()
        return now
