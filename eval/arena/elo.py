"""Online Elo, for parity with other arenas alone: it depends on the order of the battles."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from eval.arena.answers import OUTCOME
from eval.arena.ratings import CENTRE

STEP = 4.0


def online(battles: Iterable[tuple[str, str, str]], step: float = STEP) -> Mapping[str, float]:
    """Ratings after battles (left, right, answer), one by one; all begin at 1000, K is `step`."""
    ratings: dict[str, float] = {}
    for left, right, answer in battles:
        ours, theirs = (ratings.setdefault(name, CENTRE) for name in (left, right))
        expected = 1 / (1 + 10 ** ((theirs - ours) / 400))
        gain = step * (OUTCOME[answer] - expected)
        ratings[left], ratings[right] = ours + gain, theirs - gain
    return ratings
