"""The thresholds that a curve is drawn over."""

from __future__ import annotations

STEPS = tuple(round(0.05 * k, 2) for k in range(1, 20))


def thresholds_of(floor: float, judged_at: float) -> list[float]:
    """The floor, every twentieth above it up to 0.95, and the threshold that is judged at."""
    return sorted({floor, judged_at, *(t for t in STEPS if t > floor)})
