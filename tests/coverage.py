"""A station-day's row of coverage, as a commit records it."""

from __future__ import annotations

from typing import Any

from catalog.schema import Outcome, StationDay

WHOLE_DAY = {
    **{"seconds": 86_400.0, "gap_fraction": 0.0, "segments": 1, "fragments": 1},
    **{"n_components": 3, "sampling_rate": 100.0},
}


def covered(day: StationDay, outcome: Outcome = Outcome.NO_DATA, **facts: Any) -> dict[str, Any]:
    """A day of which there is nothing but the facts."""
    row = {
        "network": day.trace.network,
        "station": day.trace.station,
        "location": day.trace.location,
        "band": day.trace.band,
        "day": day.day.isoformat(),
        "outcome": str(outcome),
        "detail": "",
        "picks": 0,
        "seconds": 0.0,
        "gap_fraction": None,
        "segments": 0,
        "fragments": 0,
        "repaired": 0,
        "n_components": 0,
        "sampling_rate": 0.0,
        "resampled_from": 0.0,
        "saturated": 0,
        "flags": 0,
    }
    return row | facts
