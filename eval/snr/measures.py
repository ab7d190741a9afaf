"""The figures of a benchmark: from labelled traces, from counts on noise or continuous days.

| name | sum of | over |
| --- | --- | --- |
| `recall` | found at the threshold | labelled |
| `recall_1.0s` | found, and within 1.0 s | labelled |
| `soft_detection` | probability times exp(-residual^2 / 2 (0.5 s)^2): no threshold | labelled |
| `mae_all_found` | abs. residual in s, where every candidate found it | those |
| `f1` | 2 matched | picks + arrivals |
| `false_picks_per_hour` | false picks | station-hours |

Thresholds are those of equal false picks per hour. Every candidate is judged on the same rows, or
it is refused.
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
        """Recall, timed recall, soft detection, and timing where all candidates found it."""
        given = Thresholds.of(thresholds)
        at = np.array([given.at(name, self.phase) for name in self.candidates])
        found: per_trace.Truths = np.greater_equal(self.probability, at)
        size = np.abs(self.residual_s)
        every = np.ones_like(size)
        all_found = np.broadcast_to(np.all(found, axis=1, keepdims=True), found.shape)
        soft = self.probability * np.exp(-0.5 * (size / SOFT_S) ** 2)
        return [
            self._measure("recall", found, every),
            self._measure("recall_1.0s", found & (size <= 1.0), every),
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
    sides, base = _same_rows(sides, candidates, f"labelled {phase} traces")
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


def of_found(found: pa.Table, phase: str, candidates: Sequence[str]) -> Measure:
    """Recall of analysts' arrivals on continuous days. found: `eval.comparison.FOUND_SCHEMA`."""
    sides, base = _sides(found, phase, candidates, "arrivals")
    of = np.stack([side["found"].cast(pa.float64()).to_numpy() for side in sides], axis=1)
    clusters = Clusters(per_trace.codes(base["event"]), per_trace.codes(base["station"]))
    names = tuple(candidates)
    return Measure("recall", phase, names, of, np.ones_like(of), clusters, False, MARGINS["recall"])


def false_picks(counts: pa.Table, phase: str, candidates: Sequence[str], margin: float) -> Measure:
    """False picks per station-hour. counts: `eval.noise.COUNT_SCHEMA`. margin: per hour."""
    of, over, clusters = _counted(counts, phase, candidates, ("count",), ("hours",))
    name = "false_picks_per_hour"
    return Measure(name, phase, tuple(candidates), of, over, clusters, True, margin)


def f1(counts: pa.Table, phase: str, candidates: Sequence[str]) -> Measure:
    """F1 where the truth is complete. counts: `candidate`, `key` (of a stretch of data), `phase`,
    `station`, and how many were `matched` of the `picks` and `arrivals` there."""
    of, over, clusters = _counted(counts, phase, candidates, ("matched",), ("picks", "arrivals"))
    names = tuple(candidates)
    return Measure("f1", phase, names, 2 * of, over, clusters, False, MARGINS["recall"])


def _counted(
    counts: pa.Table,
    phase: str,
    candidates: Sequence[str],
    above: Sequence[str],
    below: Sequence[str],
) -> tuple[Sample, Sample, Clusters]:
    sides, base = _sides(counts, phase, candidates, "stretches")
    of, over = (
        np.stack(
            [sum(s[n].cast(pa.float64()).to_numpy() for n in names) for s in sides], axis=1
        ).astype(np.float64)
        for names in (above, below)
    )
    return of, over, Clusters(None, per_trace.codes(base["station"]))


def _sides(
    table: pa.Table, phase: str, candidates: Sequence[str], called: str
) -> tuple[list[pa.Table], pa.Table]:
    own = [
        table.filter((pc.field("candidate") == name) & (pc.field("phase") == phase))
        for name in candidates
    ]
    return _same_rows(own, candidates, f"{phase} {called}")


def _same_rows(
    sides: list[pa.Table], candidates: Sequence[str], called: str
) -> tuple[list[pa.Table], pa.Table]:
    """Every side in the order of its keys, and the first."""
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
