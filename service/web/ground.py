"""Where battles are fought: windows of one kind, as the arena asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import pyarrow as pa

from catalog.store import StoreError
from workers.archives import TooMuch
from workers.decode import BadFormat

Json = dict[str, Any]

UNREADABLE = (BadFormat, TooMuch, StoreError)


class Ground(Protocol):
    """what: they are of, in words. windows: name -> stratum, of those that can be drawn.
    disagreements: DISAGREEMENT_SCHEMA of them, what can be shown."""

    what: str
    windows: Mapping[str, str]
    disagreements: pa.Table

    def holds(self, window: str) -> bool:
        """Whether it can show a window, drawn or not."""
        ...

    def view(self, window: str, sides: Mapping[str, str]) -> Json:
        """What may be seen before the vote (service/web/drawing.py). Raises UNREADABLE.

        sides: what a side is called -> its candidate.
        """
        ...

    def told(self, window: str) -> Json:
        """What is told after the vote: where it is, and `arrivals` of the reference."""
        ...
