"""A run's pulse: how far it has come, left in the catalogue for those who look from elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import count
from typing import Any

from catalog.runs import BEAT_S, write_progress
from catalog.store import Store, StoreError

PATIENCE_S = 10.0
"""How long the end of a run waits for a beat that is being written."""

log = logging.getLogger(__name__)


@contextmanager
def heartbeat(
    store: Store, run: str, invocation: str, facts: Callable[[], Mapping[str, Any]]
) -> Iterator[None]:
    """A thread that records `facts` every BEAT_S. A store that does not answer misses a beat."""
    over = threading.Event()

    def beat() -> None:
        for number in count(1):
            if over.wait(BEAT_S):
                return
            try:
                write_progress(store, run, invocation, number, facts())
            except StoreError as error:
                log.warning("no word of the run's progress in the catalogue: %s", error)

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(PATIENCE_S)
