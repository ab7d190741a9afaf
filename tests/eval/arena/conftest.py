"""Votes of a made-up arena, with the truth known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from catalog.battles import JUDGED_SCHEMA
from eval.arena.ratings import SCALE

ANSWER = {"model_a": "left", "model_b": "right", "tie": "tie", "both_bad": "both_bad"}


def votes_of(rows: Sequence[tuple[str, ...]]) -> pa.Table:
    """JUDGED_SCHEMA of (left, right, answer, window, annotator); window and annotator may lack."""
    made = []
    for k, (left, right, answer, *more) in enumerate(rows):
        window, annotator = (*more, *(f"w{k}", "ann")[len(more) :])
        now = datetime(2026, 1, 1, tzinfo=UTC)
        made.append(
            {
                **{"vote": f"v{k}", "battle": f"b{k}", "annotator": annotator, "answer": answer},
                **{"latency_ms": 900, "cast": now, "issued": now, "window": window},
                **{"left": left, "right": right, "left_sha256": left, "right_sha256": right},
                **{"left_thresholds": "{}", "right_thresholds": "{}", "probability": 0.1},
                "version": "0",
            }
        )
    return pa.Table.from_pylist(made, JUDGED_SCHEMA)


def simulated(
    rng: np.random.Generator,
    strengths: dict[str, float],
    windows: int,
    per_window: int,
    window_deviation: float = 0.0,
    left_bias: float = 0.0,
    ties: float = 0.15,
) -> pa.Table:
    """Votes by Bradley-Terry; a window shifts each candidate's strength for all who judge it.

    strengths, left_bias and window_deviation are in Elo points.
    """
    names = list(strengths)
    rows = []
    for window in range(windows):
        shift = dict(zip(names, rng.normal(0, window_deviation, len(names)), strict=True))
        for _ in range(per_window):
            left, right = (names[k] for k in rng.choice(len(names), 2, replace=False))
            odds = strengths[left] + shift[left] - strengths[right] - shift[right] + left_bias
            answer = "left" if rng.random() < 1 / (1 + np.exp(-odds / SCALE)) else "right"
            if rng.random() < ties:
                answer = "tie"
            rows.append((left, right, answer, f"w{window}", f"a{rng.integers(8)}"))
    return votes_of(rows)


@pytest.fixture(scope="session")
def golden_elo(data: Path) -> dict[str, Any]:
    """The reference battles, and what they are worth."""
    read: dict[str, Any] = json.loads((data / "golden" / "golden_elo.json").read_text())
    return read


@pytest.fixture(scope="session")
def golden_votes(golden_elo: dict[str, Any]) -> pa.Table:
    return votes_of(
        [
            (b["model_a"], b["model_b"], ANSWER[b["winner"]], b["window_id"], b["annotator"])
            for b in golden_elo["battles"]
        ]
    )
