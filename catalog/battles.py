"""Battles of two candidates on one window, and how people or a rule answered them."""

from __future__ import annotations

import pyarrow as pa

ANSWERS = ("left", "right", "tie", "both_bad")
"""What a judge can answer about the two sides of a battle."""

SKIP, UNDO, REVEAL = "skip", "undo", "reveal"
"""Rows of VOTE_SCHEMA that are no answer: nothing to say; an earlier vote is taken back; the voter
was told who stood on the sides, after which the vote cannot be taken back."""

BATTLE_SCHEMA = pa.schema(
    [
        ("battle", pa.string()),  # a random UUID: it says nothing of the candidates
        ("issued", pa.timestamp("us", tz="UTC")),
        ("annotator", pa.string()),  # who alone may vote on it
        ("window", pa.string()),  # its trace and span, as eval/arena/windows.py calls it
        ("stratum", pa.string()),  # "regional (150-1500km) | 10-20 dB | UW", see eval/arena
        ("left", pa.string()),  # the candidates, as the sides were drawn
        ("right", pa.string()),
        ("left_sha256", pa.string()),  # of their weights
        ("right_sha256", pa.string()),
        ("left_thresholds", pa.string()),  # phase -> probability, json
        ("right_thresholds", pa.string()),
        ("probability", pa.float64()),  # with which this window, pair and turn was drawn
        ("repeat_of", pa.string()),  # the battle it repeats to measure agreement, or null
        ("version", pa.string()),  # of the code
    ]
)
"""One pair of candidates on one window, shown to one annotator; written before it is shown."""

VOTE_SCHEMA = pa.schema(
    [
        ("vote", pa.string()),  # a UUID made where the vote was cast; sent twice, it counts once
        ("battle", pa.string()),  # the window, of a REVEAL to who has not voted on it
        ("annotator", pa.string()),
        ("answer", pa.string()),  # one of ANSWERS, SKIP, UNDO or REVEAL
        ("undoes", pa.string()),  # the vote that an UNDO takes back; else null
        ("latency_ms", pa.int64()),  # from the window being shown to the answer
        ("cast", pa.timestamp("us", tz="UTC")),
    ]
)
"""The log of a voters' arena, append-only: nothing in it is ever changed (catalog/votes.py)."""

JUDGED_SCHEMA = pa.schema(
    [*VOTE_SCHEMA, *(f for f in BATTLE_SCHEMA if f.name not in VOTE_SCHEMA.names)]
)
"""Every vote that stands, with its battle: what people said."""

RULED_SCHEMA = pa.schema(
    [
        ("rule", pa.string()),  # `auto:` and the rule's name and numbers; never a person
        ("window", pa.string()),
        ("stratum", pa.string()),
        ("left", pa.string()),
        ("right", pa.string()),
        ("answer", pa.string()),  # one of ANSWERS
        ("left_errors", pa.int64()),  # misses and extras
        ("right_errors", pa.int64()),
        ("left_residual_s", pa.float64()),  # mean |pick - arrival| of what it matched, or null
        ("right_residual_s", pa.float64()),
        ("thresholds", pa.string()),  # how they were solved, in words
    ]
)
"""A battle decided by rule against reference arrivals (eval/arena/battles.py)."""
