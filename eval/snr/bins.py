"""Keeping the bins with most signal: chosen on one split, scored on another.

A bin whose signal was high by chance is kept for that chance; scored on the same traces the gain
would be of the choosing, not of the bins.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from eval.intervals import REPLICATES
from eval.snr.measures import labelled
from eval.snr.scores import Scores
from eval.snr.table import KINDS, SNR_SCHEMA, Families, judged, table
from eval.thresholds import Thresholds
from eval.traces import few

FILTER_SCHEMA = pa.schema(
    [
        ("kept", pa.string()),  # `every bin`, or the bins, joined by commas
        *(f for f in SNR_SCHEMA if f.name not in ("bin", "excluded")),
    ]
)


def kept(
    found: pa.Table, stratum: str, phase: str, measure: str, kind: str, share: float = 0.5
) -> list[str]:
    """The bins of highest SNR, as many as `share` of those that have one, and at least one.

    found: SNR_SCHEMA. kind: of noise, one of `eval.snr.table.KINDS`. Raises ValueError where no bin
    has a defined SNR.
    """
    if kind not in KINDS or not 0 < share <= 1:
        raise ValueError(f"bins: kind {kind!r} of {KINDS}, share {share!r} of (0, 1]")
    of_bin = {
        row["bin"]: row[f"snr_{kind}"]
        for row in found.to_pylist()
        if (row["stratum"], row["phase"], row["measure"]) == (stratum, phase, measure)
        and row[f"snr_{kind}"] is not None
    }
    if not of_bin:
        raise ValueError(f"bins: none of {stratum!r} has an SNR of {phase} {measure} by {kind}")
    count = max(1, round(share * len(of_bin)))
    return sorted(sorted(of_bin, key=lambda name: (-of_bin[name], name))[:count])


def filtered(
    choosing: pa.Table,
    scoring: pa.Table,
    candidates: Sequence[str],
    thresholds: float | Thresholds,
    stratum: str,
    phase: str,
    measure: str,
    *,
    kind: str = "sampling",
    share: float = 0.5,
    families: Families | None = None,
    days: Scores | None = None,
    seed: int,
    replicates: int = REPLICATES,
) -> pa.Table:
    """What keeping the best bins gives on other traces: FILTER_SCHEMA, every bin and those kept.

    choosing, scoring: TRACE_SCHEMA, two splits. Raises ValueError where they share an event or a
    trace.
    """
    families = families or Families()
    names = list(dict.fromkeys([*candidates, *families.members]))
    check_apart(choosing, scoring, phase, names)
    chosen = table(
        *(choosing, candidates, thresholds, (stratum,)),
        families=families,
        seed=seed,
        replicates=replicates,
    )
    best = kept(chosen, stratum, phase, measure, kind, share)
    return rescored(
        *(best, scoring, candidates, thresholds, stratum, phase, measure),
        families=families,
        days=days,
        seed=seed,
        replicates=replicates,
    )


def rescored(
    best: Sequence[str],
    scoring: pa.Table,
    candidates: Sequence[str],
    thresholds: float | Thresholds,
    stratum: str,
    phase: str,
    measure: str,
    *,
    families: Families,
    days: Scores | None = None,
    seed: int,
    replicates: int = REPLICATES,
) -> pa.Table:
    """Every bin, and those named, on traces that they were not chosen on: FILTER_SCHEMA."""
    names = list(dict.fromkeys([*candidates, *families.members]))
    other = labelled(scoring, phase, names, (stratum,))
    [whole] = [m for m in other.measures(thresholds) if m.name == measure]
    inside = np.isin(other.bins[stratum].astype(str), list(best))
    rows = []
    for label, part in (("every bin", whole), (", ".join(best), whole.take(inside))):
        [row] = judged([part], candidates, families, days, seed=seed, replicates=replicates)
        rows.append({"kept": label, "stratum": stratum} | row)
    return pa.Table.from_pylist(rows, FILTER_SCHEMA)


def check_apart(choosing: pa.Table, scoring: pa.Table, phase: str, names: Sequence[str]) -> None:
    """Raises ValueError where two splits share an event or a trace."""
    first, second = (labelled(split, phase, names) for split in (choosing, scoring))
    events = {event for event in first.events if event is not None} & set(second.events)
    shared = sorted(map(str, events)) or sorted(set(first.keys) & set(second.keys))
    if shared:
        raise ValueError(
            f"bins: {few(shared)} in the split they are chosen on and in the one they are scored "
            "on; give two splits that share no event"
        )
