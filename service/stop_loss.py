"""The stop-loss: what a campaign may take, over all its invocations."""

from __future__ import annotations

import json
import time

from catalog.errors import Refusal
from catalog.runs import runs_table
from catalog.store import Store
from service.campaign import Compute


class LimitReached(Refusal):
    """A campaign that has taken what it may, before it began again."""

    exit_code = 3


class StopLoss:
    """Hours and cost of a campaign, from this moment on; `compute` has its limits.

    Counted are the hours of every invocation of every run of its name in this catalogue, whatever
    their plans (an archive that holds more makes another plan, and another run), those that died up
    to their last news, at the price that each was started with. One that goes on beside this one is
    counted as it stood when this one began.
    """

    def __init__(self, compute: Compute, store: Store, name: str) -> None:
        self._compute = compute
        price = compute.price_per_hour or 0.0
        self._hours = self._cost = 0.0
        for row in runs_table(store).to_pylist():
            if json.loads(row["campaign"])["name"] == name:
                hours = row["seconds"] / 3600
                self._hours += hours
                self._cost += hours * price if row["cost"] is None else row["cost"]
        self._begun = time.monotonic()

    @property
    def seconds(self) -> float:
        """Of this invocation."""
        return time.monotonic() - self._begun

    @property
    def cost(self) -> float | None:
        """Of the campaign until now, in $; None where no price is known."""
        price = self._compute.price_per_hour
        return None if price is None else self._cost + self.seconds / 3600 * price

    def reached(self) -> str:
        """Which limit is reached, and at what; empty while none is."""
        limits = self._compute
        hours = self._hours + self.seconds / 3600
        if limits.max_hours is not None and hours >= limits.max_hours:
            return f"compute.max_hours {limits.max_hours:g} reached: it took {hours:,.4g} h"
        cost = self.cost
        if limits.max_cost is not None and cost is not None and cost >= limits.max_cost:
            return f"compute.max_cost {limits.max_cost:g} reached: it took ${cost:,.4g}"
        return ""

    def admit(self) -> None:
        """Raises LimitReached where nothing is left to begin with."""
        if reason := self.reached():
            field = reason.split()[0]
            raise LimitReached(f"{reason} in earlier invocations; raise {field} to go on")
