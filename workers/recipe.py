"""How windows become a candidate's curve: its networks, and how their windows are put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from catalog.schema import PHASES
from workers.preparation import Preparation

Curve = Tensor
"""Probabilities on an engine's device: float32 [n] of one phase, or [PHASES, n]."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """networks: as an engine loaded them; several are an ensemble, whose curves are averaged."""

    networks: tuple[Any, ...]
    stacking: str = "avg"  # or max
    blinding: tuple[int, int] = (0, 0)


def phase_rows(preparation: Preparation) -> list[int]:
    """Which of the network's phases stand for PHASES; -1 where it has none."""
    return [preparation.phases.find(phase) for phase in PHASES]


def mean(curves: Sequence[Tensor]) -> Tensor:
    """The mean of curves [PHASES, n], float32, summed in order (in place of the first)."""
    total = curves[0]
    for curve in curves[1:]:
        total += curve
    return total.div_(len(curves)) if len(curves) > 1 else total
