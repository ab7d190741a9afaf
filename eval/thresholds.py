"""Thresholds: which one a candidate is judged at, and how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Thresholds:
    """A threshold for each candidate and phase. candidate -> phase -> probability."""

    each: Mapping[str, Mapping[str, float]]
    otherwise: float | None = None

    @classmethod
    def of(cls, given: float | Thresholds) -> Thresholds:
        return given if isinstance(given, Thresholds) else cls({}, float(given))

    def at(self, candidate: str, phase: str) -> float:
        """Raises ValueError, naming candidate and phase, where there is none or it is no share."""
        threshold = self.each.get(candidate, {}).get(phase, self.otherwise)
        if threshold is None:
            raise ValueError(f"thresholds: none for candidate {candidate!r}, phase {phase}")
        if not 0.0 < threshold <= 1.0:
            raise ValueError(f"threshold {threshold!r} of {candidate!r}, {phase}: give (0, 1]")
        return threshold


def named(threshold: float) -> str:
    """A threshold in a metric's name: `t0.30`, `t0.275`."""
    return f"t{threshold:.2f}" if round(threshold, 2) == threshold else f"t{threshold:g}"
