"""Objects that a listing passes over: named for no station-day, they are in no plan."""

from __future__ import annotations

from dataclasses import dataclass, field

NAMED = 3
"""Of which the names are kept."""


@dataclass(slots=True)
class PassedOver:
    """count: of them. keys: the first few."""

    count: int = 0
    keys: list[str] = field(default_factory=list)

    def add(self, key: str) -> None:
        """One more."""
        self.count += 1
        if len(self.keys) < NAMED:
            self.keys.append(key)

    def join(self, others: PassedOver) -> None:
        """Those of another listing."""
        self.count += others.count
        self.keys += others.keys[: NAMED - len(self.keys)]
