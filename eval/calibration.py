"""Does a probability of 0.7 mean that 7 picks of 10 are right? On continuous data only.

Right means matched with an arrival within the tolerance. Where the arrivals are not complete a
right pick may count as wrong, so the shares are lower bounds and a low one proves nothing; planted
or audited truth is needed to call a candidate badly calibrated. Oracle windows cannot say it at
all: they hold no negatives. Picks below the floor they were stored from are not judged.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import PHASES
from eval.intervals import REPLICATES, Clusters, Kind, ratios
from eval.traces import Numbers, codes

BINS = 15

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
    above zero even for a perfect candidate, and no interval around it covers the truth at its
    rate (bootstraps, debiased or not, did in 77 to 91 of 100 planted worlds), so it has none.
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
        unknown = {
            "value": _calibration_error(probability, right, bins),
            "low": None,
            "high": None,
        }
        rows.append({**where, "metric": f"ece_{bins}_equal_mass", **brier.columns, **unknown})
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


def _calibration_error(probability: Numbers, right: Numbers, bins: int) -> float | None:
    """Mean over picks of |share matched - mean probability| of their bin."""
    if len(probability) == 0:
        return None
    gaps = np.bincount(equal_mass(probability, bins), probability - right)
    return float(np.abs(gaps).sum() / len(probability))


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
