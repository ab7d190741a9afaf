"""The figures of labelled traces; those of noise and of continuous days are in `eval.snr.days`.

| name | sum of | over |
| --- | --- | --- |
| `recall` | found at the threshold | labelled |
| `recall_1.0s` | found, and within 1.0 s | labelled |
| `f1_1.0s` | 2 found within 1.0 s | found + labelled |
| `soft_detection` | probability times exp(-residual^2 / 2 (0.5 s)^2): no threshold | labelled |
| `mae_all_found` | abs. residual in s, where every candidate found it | those |

A labelled window has one pick, its highest peak near the label: in `f1_1.0s` one that is off by
more than 1.0 s is an extra and a miss. What else is picked there nobody knows, so that F1 says
little unless thresholds are of equal false picks per hour. Every candidate is judged on the same
rows, or it is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from eval import traces as per_trace
from eval.comparison import MARGINS
from eval.intervals import Clusters
from eval.metrics import Sample
from eval.snr.scores import Measure
from eval.strata import ALL, Bins, bins_of
from eval.thresholds import Thresholds
from eval.traces import few, spoken

SOFT_S = 0.5
"""Width of the soft score: a peak 0.5 s off the label counts 0.6 of its probability."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One phase of the labelled traces that all candidates read, in one order.

    probability, residual_s: float64 [rows, k]. bins: stratum -> bin [rows]. events: [rows], null
    where unknown. keys: [rows], of the traces.
    """

    phase: str
    candidates: tuple[str, ...]
    probability: Sample
    residual_s: Sample
    clusters: Clusters
    bins: dict[str, Bins]
    events: list[str | None]
    keys: list[str]

    def of(self, candidates: Sequence[str]) -> Labelled:
        """The same of some candidates, in this order."""
        at = [self.candidates.index(name) for name in candidates]
        return Labelled(
            self.phase,
            tuple(candidates),
            self.probability[:, at],
            self.residual_s[:, at],
            self.clusters,
            self.bins,
            self.events,
            self.keys,
        )

    def measures(self, thresholds: float | Thresholds) -> list[Measure]:
        """Recall, timed recall, F1, soft detection, and timing where all candidates found it."""
        given = Thresholds.of(thresholds)
        at = np.array([given.at(name, self.phase) for name in self.candidates])
        found: per_trace.Truths = np.greater_equal(self.probability, at)
        size = np.abs(self.residual_s)
        every = np.ones_like(size)
        all_found = np.broadcast_to(np.all(found, axis=1, keepdims=True), found.shape)
        timed = found & (size <= 1.0)
        soft = self.probability * np.exp(-0.5 * (size / SOFT_S) ** 2)
        return [
            self._measure("recall", found, every),
            self._measure("recall_1.0s", timed, every),
            self._measure("f1_1.0s", 2.0 * timed, found + every),
            self._measure("soft_detection", soft, every),
            self._measure("mae_all_found", np.where(all_found, size, 0.0), all_found, True),
        ]

    def own_timing(self, thresholds: float | Thresholds) -> Measure:
        """Mean abs. residual of what each candidate found itself; never rank by it."""
        given = Thresholds.of(thresholds)
        at = np.array([given.at(name, self.phase) for name in self.candidates])
        found: per_trace.Truths = np.greater_equal(self.probability, at)
        return self._measure("mae_own", np.where(found, abs(self.residual_s), 0.0), found, True)

    def _measure(
        self, name: str, of: np.ndarray, over: np.ndarray, less_is_better: bool = False
    ) -> Measure:
        margin = MARGINS["mae_both_found"] if less_is_better else MARGINS["recall"]
        columns = of.astype(np.float64), over.astype(np.float64)
        return Measure(
            name, self.phase, self.candidates, *columns, self.clusters, less_is_better, margin
        )


def labelled(
    traces: pa.Table, phase: str, candidates: Sequence[str], strata: Sequence[str] = (ALL,)
) -> Labelled:
    """One phase of a per-trace table, candidate by candidate on the same rows.

    traces: TRACE_SCHEMA. strata: of `eval.strata.bins_of`. Raises ValueError, naming traces, where
    a candidate is not there or was not given, or could not read, the labelled traces of another.
    """
    table = per_trace.conformed(traces)
    p = phase.lower()
    sides = []
    for name in candidates:
        own = table.filter(pc.equal(table["weight"], name))
        own = own.filter(pa.array(per_trace.phase_rows(own, phase).labelled))
        key = pc.binary_join_element_wise(
            per_trace.keys(own), own[f"{p}_in_window"].cast(pa.string()).combine_chunks(), "@"
        )
        sides.append(own.append_column("key", key))
    sides, base = same_rows(sides, candidates, f"labelled {phase} traces")
    probability, residual = (
        np.stack([side[f"{p}_{what}"].to_numpy() for side in sides], axis=1)
        for what in ("prob", "residual_s")
    )
    return Labelled(
        phase,
        tuple(candidates),
        probability,
        residual,
        per_trace.clusters(base),
        {stratum: bins_of(base, stratum) for stratum in strata},
        base["event_id"].to_pylist(),
        per_trace.keys(base).to_pylist(),
    )


def same_rows(
    sides: list[pa.Table], candidates: Sequence[str], called: str
) -> tuple[list[pa.Table], pa.Table]:
    """Every side in the order of its keys, and the first.

    sides: a table with `key` of each candidate. Raises ValueError, naming rows, where keys differ.
    """
    if len(set(candidates)) < max(len(candidates), 2):
        raise ValueError(f"candidates {list(candidates)}: give two or more, each once")
    sides = [side.sort_by("key") for side in sides]
    base = sides[0]
    for name, side in zip(candidates, sides, strict=True):
        if not side["key"].equals(base["key"]):
            apart = sorted(set(side["key"].to_pylist()) ^ set(base["key"].to_pylist()))
            raise ValueError(
                f"{name!r} and {candidates[0]!r} were not judged on the same {called}: "
                f"{few([spoken(key) for key in apart]) or 'some stand there twice'} differ"
            )
    return sides, base
