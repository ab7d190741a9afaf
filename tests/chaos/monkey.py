"""The monkey: at random moments, drawn from a seed, it does to a campaign what may happen to it."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from tests.chaos.endpoints import Door
from tests.chaos.nodes import Nodes
from tests.chaos.people import User

_T = TypeVar("_T")

WEIGHTS = {
    "actor killed": 8,
    "all actors killed": 1,
    "actor frozen": 3,  # for some seconds: it wakes as a zombie where others took its work
    "node killed": 4,  # another one comes some seconds later
    "driver killed": 3,
    "driver interrupted": 2,
    "second driver": 2,  # beside the one that runs
    "endpoint closed": 2,
    "endpoint frozen": 2,
}

IDLE = 0.9
"""The share of moments that it lets pass while no actor is at work: starting takes its time."""


class Monkey:
    """done: what it did, and how often. It acts until `actions` have hit something."""

    def __init__(
        self, seed: int, actions: int, nodes: Nodes, door: Door, user: User, log: Path
    ) -> None:
        self.done: Counter[str] = Counter()
        self.left = actions
        self._rng = random.Random(f"monkey {seed}")
        self._nodes, self._door, self._user, self._log = nodes, door, user, log
        self._later: list[tuple[float, Callable[[], object]]] = []

    def pause_s(self) -> float:
        """Until it acts again."""
        return self._rng.expovariate(1 / 6.0)

    def act(self) -> None:
        if not self._nodes.actors() and self._rng.random() < IDLE:
            return
        deed = self._rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        if self._act(deed):
            self.done[deed] += 1
            self.left -= 1
            with self._log.open("a") as log:
                print(f"{datetime.now():%H:%M:%S} {deed}, run {self._user.invocations}", file=log)

    def follow_up(self) -> None:
        """End what it has begun and what is over: the frozen thaw, a node comes for a lost one."""
        now = time.monotonic()
        due = [act for when, act in self._later if when <= now]
        self._later = [(when, act) for when, act in self._later if when > now]
        for act in due:
            act()

    def rest(self) -> None:
        """End all that it has begun."""
        while self._later:
            self.follow_up()
            time.sleep(0.1)

    def _act(self, deed: str) -> bool:
        rng, user = self._rng, self._user
        actors = self._nodes.actors()
        if deed in ("actor killed", "all actors killed", "actor frozen"):
            chosen = actors if deed == "all actors killed" else _some(rng, actors)
            for pid in chosen:
                if deed == "actor frozen":
                    self._freeze(pid, rng.uniform(1.0, 12.0))
                else:
                    _signal(pid, signal.SIGKILL)
            return bool(chosen)
        if deed == "node killed":
            if not len(self._nodes):
                return False
            self._nodes.kill_one(rng.randrange(100))
            self.done["actors killed with their node"] += len(actors) - len(self._nodes.actors())
            self._after(rng.uniform(0.0, 15.0), self._nodes.add)
        elif deed in ("driver killed", "driver interrupted"):
            number = signal.SIGKILL if deed == "driver killed" else signal.SIGTERM
            for driver in _some(rng, user.drivers):
                driver.process.send_signal(number)
                return True
            return False
        elif deed == "second driver":
            if len(user.drivers) != 1:
                return False
            user.start()
        elif deed == "endpoint closed":
            self._door.close()
            self._after(rng.uniform(1.0, 12.0), self._door.open)
        else:
            self._freeze(self._door.process.pid, rng.uniform(1.0, 12.0))
        return True

    def _freeze(self, pid: int, seconds: float) -> None:
        _signal(pid, signal.SIGSTOP)
        self._after(seconds, lambda: _signal(pid, signal.SIGCONT))

    def _after(self, seconds: float, act: Callable[[], object]) -> None:
        self._later.append((time.monotonic() + seconds, act))


def _some(rng: random.Random, things: list[_T]) -> list[_T]:
    """One of them, or none where there is none."""
    return [rng.choice(things)] if things else []


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
