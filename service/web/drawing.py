"""A stretch of a station as the pages draw it: samples, curves and picks, as JSON.

Samples are float32 and probabilities one byte, both in base64: a minute is 120 kB.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from catalog.schema import COMPONENTS, PHASES
from workers.snippets import Snippet
from workers.waveform import NS

FULL, NONE = 250, 255
"""A byte for probability 1, and one for no value."""


def drawing(
    snippets: Sequence[Snippet],
    sides: Mapping[str, str],
    picks: Mapping[str, Iterable[Mapping[str, Any]]],
    start_ns: int,
) -> dict[str, Any]:
    """snippets: of the same span, one a ground. sides: what a side is called -> its candidate.

    picks: candidate -> rows of `phase`, `ns` and `probability`. Times are seconds after start_ns.
    The samples are those of the ground of the highest rate; every curve is put on their grid, so
    that nothing but its shape tells a side.
    """
    best = max(snippets, key=lambda each: each.rate)
    count = best.waveform.shape[1]
    curves = {name: each for each in snippets for name in each.curves}
    return {
        "rate": best.rate,
        "count": count,
        "first": (best.start_ns - start_ns) / NS,
        "components": [
            {"name": name, "samples": _floats(row)}
            for name, row in zip(COMPONENTS, best.waveform, strict=True)
        ],
        "sides": {
            side: {
                "curves": _curves(curves[name], name, best),
                "picks": [
                    {
                        "phase": row["phase"],
                        "time": round((row["ns"] - start_ns) / NS, 4),
                        "probability": round(row["probability"], 2),
                    }
                    for row in picks.get(name, ())
                ],
            }
            for side, name in sides.items()
        },
    }


def _curves(snippet: Snippet, candidate: str, axis: Snippet) -> dict[str, str]:
    """Phase -> bytes on the grid of `axis`; N is what is left of 1."""
    own = (snippet.start_ns - axis.start_ns) / NS + _seconds(snippet)
    rows = [np.interp(_seconds(axis), own, row) for row in snippet.curves[candidate]]
    named = dict(zip(PHASES, rows, strict=True))
    named["N"] = 1 - np.sum(rows, axis=0)
    return {phase: _bytes(row) for phase, row in named.items()}


def _seconds(snippet: Snippet) -> NDArray[np.float64]:
    return np.arange(snippet.waveform.shape[1]) / snippet.rate


def _floats(row: NDArray[np.float32]) -> str:
    """Less their mean, which is not to be seen and takes digits."""
    has = np.isfinite(row)
    centred = row.astype(np.float64) - (row[has].mean(dtype=np.float64) if has.any() else 0.0)
    return b64encode(centred.astype("<f4").tobytes()).decode()


def _bytes(row: NDArray[np.float64]) -> str:
    levels = np.where(np.isfinite(row), np.clip(row, 0, 1) * FULL, NONE)
    return b64encode(np.rint(levels).astype(np.uint8).tobytes()).decode()
