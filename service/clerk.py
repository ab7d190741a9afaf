"""The clerk: summarises the ledger while a run goes on, so that neither its end nor the next start
has to read every commit again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from catalog.errors import Refusal
from catalog.ledger import list_months, summarise
from catalog.store import Store, StoreError

SUMMARY_EVERY = 5000
"""Commits after which the months that they belong to are summarised."""

log = logging.getLogger(__name__)


@contextmanager
def clerk(store: Store) -> Iterator[Callable[[str, int], None]]:
    """A thread that is told of commits: the month, and how many.

    A summary can always be made again: where the store does not answer now, a later one will do.
    """
    fresh: Counter[str] = Counter()

    def keep(months: list[str]) -> None:
        try:
            for listing in list_months(store, months):
                summarise(store, listing)
        except (StoreError, Refusal) as error:  # a damaged summary is told in full when it is read
            log.warning("the ledger of %s is not summarised yet: %s", ", ".join(months), error)

    def committed(month: str, commits: int) -> None:
        fresh[month] += commits
        if fresh.total() >= SUMMARY_EVERY:
            thread.submit(keep, list(fresh))
            fresh.clear()

    thread = ThreadPoolExecutor(1)
    try:
        yield committed
    finally:
        thread.shutdown(cancel_futures=True)
