"""The bytes of one version of one object, read a piece at a time or held whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

PIECE = 32 * 2**20
"""Bytes read at once. An object up to this size is held whole while it is read."""

GAP = 2**20
"""Bytes between two records that are read along with them rather than asked for apart."""


class Body(Protocol):
    """`size` bytes; what `read` gives never mixes two versions of the object."""

    @property
    def size(self) -> int:
        """Bytes of the object."""
        ...

    def read(self, start: int, stop: int) -> memoryview:
        """Bytes [start, stop) as far as the object reaches."""
        ...


class Held:
    """A body in memory: reading it copies nothing."""

    def __init__(self, body: bytes | memoryview) -> None:
        self._view = memoryview(body)
        self.size = len(body)

    def read(self, start: int, stop: int) -> memoryview:
        return self._view[start:stop]


def pieces(
    body: Body, at: NDArray[np.int64], length: NDArray[np.int32]
) -> Iterator[tuple[slice, int, memoryview]]:
    """Records at ascending positions `at` [r], `length` bytes each, in few reads of up to PIECE.

    Yields which of them a piece holds, the position of its first byte, and its bytes. Records that
    lie far apart come in pieces of their own.
    """
    first, stop = 0, len(at)
    if not stop:
        return
    ends = np.maximum.accumulate(at + length)
    apart = np.flatnonzero(at[1:] - ends[:-1] > GAP) + 1
    for bound in (*apart.tolist(), stop):
        while first < bound:
            begin = int(at[first])
            last = max(int(np.searchsorted(ends[:bound], begin + PIECE, side="right")), first + 1)
            yield slice(first, last), begin, body.read(begin, int(ends[last - 1]))
            first = last
