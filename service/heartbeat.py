"""A run's pulse: how far it has come, left in the catalogue for those who look from elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

from catalog.runs import FIRST_BEAT_S, write_progress
from catalog.store import Store, StoreError

LAST_BEAT_S = 600.0
"""A record a minute for the first hour, ever fewer until hour ten, then one in ten minutes."""

PATIENCE_S = 10.0
"""How long the end of a run waits for a beat that is being written."""

log = logging.getLogger(__name__)


@contextmanager
def heartbeat(
    store: Store, run: str, invocation: str, facts: Callable[[], Mapping[str, Any]]
) -> Iterator[None]:
    """A thread that records `facts`, of which `seconds` is the run's age.

    A store that does not answer misses a beat.
    """
    over = threading.Event()

    def beat() -> None:
        interval = FIRST_BEAT_S
        for number in count(1):
            if over.wait(interval):
                return
            told = facts()
            interval = min(LAST_BEAT_S, max(FIRST_BEAT_S, told["seconds"] / 60))
            try:
                write_progress(store, run, invocation, number, {**told, "next": interval})
            except StoreError as error:
                log.warning("no word of the run's progress in the catalogue: %s", error)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE_S)
