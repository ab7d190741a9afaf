"""Does a probability of 0.7 mean that 7 picks of 10 are right? On continuous data only.

Right means matched with an arrival within the tolerance. Where the arrivals are not complete a
right pick may count as wrong, so the shares are lower bounds and a low one proves nothing; planted
or audited truth is needed to call a candidate badly calibrated. Oracle windows cannot say it at
all: they hold no negatives. Picks below the floor they were stored from are not judged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from scipy import stats

from catalog.schema import PHASES
from eval.intervals import (
    REPLICATES,
    Clusters,
    Kind,
    cluster_sums,
    columns,
    ratios,
    resampled,
)
from eval.metrics import CONFIDENCE, Estimate
from eval.traces import Numbers, codes

BINS = 15
_TAIL = (1 - CONFIDENCE) / 2

CALIBRATION_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("phase", pa.string()),
        ("metric", pa.string()),  # `brier`, or `ece_15_equal_mass`
        ("value", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("clusters", pa.int64()),  # stations
    ]
)

RELIABILITY_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("phase", pa.string()),
        ("bin", pa.int64()),  # from 0, equally many picks in each
        ("lowest", pa.float64()),  # probability in the bin
        ("highest", pa.float64()),
        ("mean_probability", pa.float64()),
        ("value", pa.float64()),  # share matched
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),
        ("clusters", pa.int64()),
    ]
)


def equal_mass(probability: Numbers, bins: int = BINS) -> npt.NDArray[np.int64]:
    """The bin [rows] of each row, equally many in each; equal probabilities share a bin."""
    ordered = np.sort(probability)
    starts = [part[0] for part in np.array_split(ordered, bins) if len(part)]
    return np.unique(np.searchsorted(np.unique(starts), probability, "right"), return_inverse=True)[
        1
    ].astype(np.int64)


def calibration(
    judged: pa.Table,
    candidates: Sequence[str] = (),
    *,
    seed: int,
    bins: int = BINS,
    replicates: int = REPLICATES,
) -> pa.Table:
    """Brier score and expected calibration error: CALIBRATION_SCHEMA.

    judged: picks with `matched` (`eval.reviewed.judged_picks`). candidates: to have rows even
    without a pick. Intervals are over stations. The expected calibration error of few picks is
    above zero even for a perfect candidate; its interval is of the sampling of stations and does
    not take that away.
    """
    rows = []
    for candidate, phase, probability, right, clusters in _groups(judged, candidates):
        where = {"candidate": candidate, "phase": phase}
        square = np.square(probability - right)[:, None]
        [brier] = ratios(
            square,
            np.ones_like(square),
            [Kind.MAGNITUDE],
            clusters,
            seed=seed,
            replicates=replicates,
        )
        rows.append({**where, "metric": "brier", **brier.columns})
        error = _calibration_error(probability, right, clusters, seed, bins, replicates)
        name = f"ece_{bins}_equal_mass"
        rows.append({**where, "metric": name, **brier.columns, **columns(error)})
    return pa.Table.from_pylist(rows, CALIBRATION_SCHEMA)


def reliability(
    judged: pa.Table, *, seed: int, bins: int = BINS, replicates: int = REPLICATES
) -> pa.Table:
    """The reliability diagram's points with intervals over stations: RELIABILITY_SCHEMA."""
    rows = []
    for candidate, phase, probability, right, clusters in _groups(judged):
        at = equal_mass(probability, bins)
        inside = (at[:, None] == np.arange(at.max(initial=-1) + 1)).astype(np.float64)
        shares = ratios(
            inside * right[:, None],
            inside,
            [Kind.PROPORTION] * inside.shape[1],
            clusters,
            seed=seed,
            replicates=replicates,
        )
        for k, share in enumerate(shares):
            own = probability[at == k]
            rows.append(
                {
                    "candidate": candidate,
                    "phase": phase,
                    "bin": k,
                    "lowest": float(own.min()),
                    "highest": float(own.max()),
                    "mean_probability": float(own.mean()),
                    **share.columns,
                }
            )
    return pa.Table.from_pylist(rows, RELIABILITY_SCHEMA)


def _calibration_error(
    probability: Numbers,
    right: Numbers,
    clusters: Clusters,
    seed: int,
    bins: int,
    replicates: int,
) -> Estimate:
    """Mean over picks of |share matched - mean probability| of their bin."""
    if len(probability) == 0:
        return Estimate(math.nan, math.nan, math.nan)
    at = equal_mass(probability, bins)
    inside = (at[:, None] == np.arange(at.max() + 1)).astype(np.float64)
    gaps = inside * (probability - right)[:, None]
    value = float(np.abs(gaps.sum(axis=0)).sum() / len(probability))
    [(_, station)] = clusters.levels(len(probability))
    sums = cluster_sums(np.concatenate([gaps, np.ones((len(gaps), 1))], axis=1), station)
    if len(sums) < 2:
        return Estimate(value, math.nan, math.nan)
    drawn = resampled(sums, replicates, np.random.default_rng([seed, 0]))
    errors = np.abs(drawn[:, :-1]).sum(axis=1) / drawn[:, -1]
    # Resampling adds its own scatter to every bin and so lifts the error: basic interval, widened
    # for few stations as Student's is (Hesterberg 2015, Am. Stat. 69, 371).
    freedom = len(sums) - 1
    wider = float(stats.t.ppf(1 - _TAIL, freedom) / stats.norm.ppf(1 - _TAIL))
    wider *= math.sqrt(len(sums) / freedom)
    below, above = (wider * (value - np.quantile(errors, [1 - _TAIL, _TAIL]))).tolist()
    return Estimate(value, max(0.0, value + min(0.0, below)), value + max(0.0, above))


def _groups(
    judged: pa.Table, candidates: Sequence[str] = ()
) -> list[tuple[str, str, Numbers, Numbers, Clusters]]:
    for name in ("candidate", "phase", "probability", "matched", "network", "station"):
        if name not in judged.column_names:
            raise ValueError(f"picks: no column {name!r}; give `eval.reviewed.judged_picks`")
    groups = []
    held = pc.unique(judged["candidate"].cast(pa.string())).to_pylist()
    for candidate in sorted({*held, *candidates}):
        for phase in PHASES:
            own = judged.filter((pc.field("candidate") == candidate) & (pc.field("phase") == phase))
            station = pc.binary_join_element_wise(own["network"], own["station"], ".")
            probability = own["probability"].cast(pa.float64()).to_numpy()
            right = own["matched"].cast(pa.float64()).to_numpy()
            groups.append((candidate, phase, probability, right, Clusters(None, codes(station))))
    return groups
