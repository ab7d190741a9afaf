"""The figures of noise and of continuous days; those of labelled traces are in `measures`.

| name | sum of | over |
| --- | --- | --- |
| `recall` | found arrivals | arrivals |
| `mae_all_found` | abs. residual in s, where every candidate found it | those |
| `f1` | 2 matched | picks + arrivals |
| `f1_lower` | the same where not every arrival was read: an extra may be one | the same |
| `false_picks_per_hour` | false picks | station-hours |

False picks are those of verified noise, and on days those without an arrival where the truth is
complete; where it is not, nobody knows which extras are false, and there is no such figure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import PHASES
from eval import traces as per_trace
from eval.comparison import FOUND_SCHEMA, MARGINS
from eval.days import day_keys
from eval.intervals import Clusters
from eval.metrics import Sample
from eval.reviewed import found_on, judged_picks
from eval.snr.measures import same_rows
from eval.snr.scores import Measure

RATE_MARGIN = 0.5
"""The difference in false picks per station-hour that matters, where no target rate is given."""

STRETCH_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("key", pa.string()),  # of the station-day
        ("phase", pa.string()),
        ("station", pa.string()),
        ("hours", pa.float64()),
        ("arrivals", pa.int64()),
        ("picks", pa.int64()),
        ("matched", pa.int64()),
        ("count", pa.int64()),  # picks that no arrival explains
    ]
)


def of_days(
    picks: pa.Table,
    arrivals: pa.Table,
    days: pa.Table,
    candidates: Sequence[str],
    *,
    tolerance_s: float,
    complete: bool,
    margin: float = RATE_MARGIN,
) -> dict[str, list[Measure]]:
    """Phase -> its figures, recall first, of the phases that were read.

    picks: those that stand at each candidate's thresholds. days: `eval.days.picked_days`. complete:
    whether the arrivals are all there are. margin: of false picks, per station-hour.
    """
    own = picks.filter(pc.is_in(picks["candidate"].cast(pa.string()), pa.array(candidates)))
    found = found_on(own, arrivals, tolerance_s, candidates).select(FOUND_SCHEMA.names)
    counts = stretches(judged_picks(own, arrivals, tolerance_s), arrivals, days, candidates)
    read = set(pc.unique(arrivals["phase"]).to_pylist())
    measures = {}
    for phase in (phase for phase in PHASES if phase in read):
        measures[phase] = [*of_found(found, phase, candidates)]
        if complete:
            measures[phase].append(f1(counts, phase, candidates))
            measures[phase].append(false_picks(counts, phase, candidates, margin))
        else:
            measures[phase].append(f1(counts, phase, candidates, "f1_lower"))
    return measures


def stretches(
    picks: pa.Table, arrivals: pa.Table, days: pa.Table, candidates: Sequence[str]
) -> pa.Table:
    """What was picked and matched of each station-day, also of those without: STRETCH_SCHEMA.

    picks: of `eval.reviewed.judged_picks`. days: `eval.days.picked_days`.
    """
    keys = day_keys(days, days["day"])
    station = pc.binary_join_element_wise(days["network"], days["station"], ".")
    at_arrival = _at(arrivals, keys)
    at_pick, matched = _at(picks, keys), picks["matched"].to_numpy(zero_copy_only=False)
    read, phases, names = (
        column.cast(pa.string()).to_numpy()
        for column in (arrivals["phase"], picks["phase"], picks["candidate"])
    )
    parts = []
    for name in candidates:
        for phase in PHASES:
            own = at_pick[(names == name) & (phases == phase) & (at_pick >= 0)]
            hits = at_pick[(names == name) & (phases == phase) & (at_pick >= 0) & matched]
            labels = at_arrival[(read == phase) & (at_arrival >= 0)]
            arrived, emitted, hit = (
                np.bincount(rows, minlength=len(keys)) for rows in (labels, own, hits)
            )
            counts = [arrived, emitted, hit, emitted - hit]
            where = [pa.repeat(name, len(keys)), keys, pa.repeat(phase, len(keys)), station]
            parts.append(pa.table([*where, days["hours"], *counts], names=STRETCH_SCHEMA.names))
    return pa.concat_tables(
        [STRETCH_SCHEMA.empty_table(), *(p.cast(STRETCH_SCHEMA) for p in parts)]
    )


def of_found(found: pa.Table, phase: str, candidates: Sequence[str]) -> tuple[Measure, Measure]:
    """Recall of arrivals, and timing of those that all found. found: FOUND_SCHEMA."""
    sides, base = _sides(found, phase, candidates, "arrivals")
    of, residual = (
        np.stack([side[name].cast(pa.float64()).to_numpy() for side in sides], axis=1)
        for name in ("found", "residual_s")
    )
    clusters = Clusters(per_trace.codes(base["event"]), per_trace.codes(base["station"]))
    names = tuple(candidates)
    every = np.broadcast_to(of.all(axis=1, keepdims=True), of.shape).astype(np.float64)
    size = np.where(every > 0, np.abs(residual), 0.0)
    return (
        Measure("recall", phase, names, of, np.ones_like(of), clusters, False, MARGINS["recall"]),
        Measure("mae_all_found", phase, names, size, every, clusters, True,
                MARGINS["mae_both_found"]),
    )  # fmt: skip


def false_picks(
    counts: pa.Table, phase: str, candidates: Sequence[str], margin: float = RATE_MARGIN
) -> Measure:
    """False picks per station-hour. counts: `eval.noise.COUNT_SCHEMA`, or STRETCH_SCHEMA where the
    truth is complete. margin: per hour."""
    of, over, clusters = _counted(counts, phase, candidates, ("count",), ("hours",))
    name = "false_picks_per_hour"
    return Measure(name, phase, tuple(candidates), of, over, clusters, True, margin)


def f1(counts: pa.Table, phase: str, candidates: Sequence[str], name: str = "f1") -> Measure:
    """F1, where the truth is complete; else a lower bound. counts: STRETCH_SCHEMA."""
    of, over, clusters = _counted(counts, phase, candidates, ("matched",), ("picks", "arrivals"))
    names = tuple(candidates)
    return Measure(name, phase, names, 2 * of, over, clusters, False, MARGINS["recall"])


def _at(table: pa.Table, keys: pa.Array) -> np.ndarray:
    """The station-day of each row [rows], -1 for none."""
    at = pc.index_in(day_keys(table, table["time"].cast(pa.timestamp("ns"))), value_set=keys)
    return np.asarray(pc.fill_null(at, -1).to_numpy(zero_copy_only=False))


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
    return same_rows(own, candidates, f"{phase} {called}")
