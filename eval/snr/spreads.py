"""Other spreads than the gap: would the signal-to-noise ratio of another say more of decisions?

The gap between best and worst rests on two candidates. "Signal and Noise" (AllenAI) tried what
stands here; the names are theirs without `_snr`. Each gives a signal and a noise that are relative
or not as theirs are, so that only ratios of one spread compare.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.spatial.distance import pdist
from scipy.stats import median_abs_deviation, qmc

from catalog.schema import PHASES
from eval.metrics import Sample
from eval.snr.decisions import decision_accuracy
from eval.snr.table import KINDS

SPREAD_SCHEMA = pa.schema(
    [
        ("phase", pa.string()),
        ("noise", pa.string()),  # one of eval.snr.table.KINDS
        ("spread", pa.string()),
        ("bins", pa.int64()),  # rows of the table that have such an SNR and a decision accuracy
        ("predicts", pa.float64()),  # share of pairs of those ranked alike by both; 0.5 is chance
    ]
)


def by_spread(
    scores: npt.ArrayLike, noise: float, last: npt.ArrayLike, deviation: float | None = None
) -> dict[str, tuple[float, float, float]]:
    """Spread -> (signal, noise, their ratio). scores: [k] of the candidates.

    noise: deviation of models that ought to score alike; last: their scores [n]. deviation: of the
    candidates, if it is not that of `scores` (ddof 0). NaN where a spread is not defined, as the
    discrepancies of scores outside [0, 1].
    """
    own, ended = np.asarray(scores, np.float64), np.asarray(last, np.float64)
    mean = float(ended.mean())
    found = {"rel_std": _relative(deviation or float(own.std()), float(own.mean()))}
    found |= {name: spread(own) for name, spread in _PLAIN.items()}
    found |= {name: _relative(_PLAIN[of](own), mean) for name, of in _RELATIVE.items()}
    found["iqr"] = _relative(_iqr(own), mean)
    triples = {name: (signal, _relative(noise, mean)) for name, signal in found.items()}
    for name, depth in (("tukey", _halfspace_depth), ("projection", _projection_depth)):
        below = float(depth(own, ended).mean())
        triples[name] = _relative(_iqr(depth(own, own)), mean), _relative(noise, below)
    return {name: (*pair, _relative(*pair)) for name, pair in triples.items()}


def predicting(rows: Sequence[tuple[Mapping[str, Any], Sample]]) -> pa.Table:
    """Of each spread, how well the ratio predicts decision accuracy over bins: SPREAD_SCHEMA.

    rows: of `eval.snr.table.SNR_SCHEMA`, each with the candidates' scores [k].
    """
    said = []
    for phase in PHASES:
        for kind in KINDS:
            known = [
                (row, scores)
                for row, scores in rows
                if row["phase"] == phase
                and row["decision_accuracy"] is not None
                and row[f"noise_{kind}"]
            ]
            ratios = [by_spread(scores, row[f"noise_{kind}"], scores) for row, scores in known]
            for name in ratios[0] if ratios else ():
                pairs = [
                    (each[name][2], row["decision_accuracy"])
                    for each, (row, _) in zip(ratios, known, strict=True)
                    if math.isfinite(each[name][2])
                ]
                if len(pairs) > 1:
                    predicts = decision_accuracy(*np.array(pairs).T)
                    said.append((phase, kind, name, len(pairs), predicts))
    columns = [dict(zip(SPREAD_SCHEMA.names, row, strict=True)) for row in said]
    return pa.Table.from_pylist(columns, SPREAD_SCHEMA)


def _relative(size: float, mean: float) -> float:
    return size / mean if mean != 0 else math.nan


def _scaled(scores: Sample) -> Sample:
    """Between 0 and 1; NaN where all are alike."""
    gap = np.ptp(scores)
    return np.asarray((scores - scores.min()) / gap if gap > 0 else np.full_like(scores, np.nan))


def _inside(scores: Sample) -> bool:
    return bool(((scores >= 0) & (scores <= 1)).all())


def _star(scores: Sample) -> float:
    if not _inside(scores):
        return math.nan
    below = np.concatenate([[0.0], np.sort(scores)])
    return float(np.abs(np.arange(len(below)) / len(scores) - below).mean())


def _discrepancy(scores: Sample) -> float:
    return float(qmc.discrepancy(scores[:, None])) if _inside(scores) else math.nan


def _gini(scores: Sample) -> float:
    n, sums = len(scores), np.cumsum(np.sort(_scaled(scores)))
    return float((n + 1 - 2 * sums.sum() / sums[-1]) / n)


def _iqr(scores: Sample) -> float:
    high, low = np.percentile(scores, [75, 25])
    return float(high - low)


def _robust_range(scores: Sample) -> float:
    high, low = np.percentile(scores, [95, 5])
    return float(high - low)


def _entropy(scores: Sample) -> float:
    """Of a histogram of densities, bins by Freedman and Diaconis, five or more."""
    width = 2 * _iqr(scores) / len(scores) ** (1 / 3) or 0.1
    bins = max(5, min(int(np.ptp(scores) / width), len(scores)))
    if np.ptp(scores) == 0:
        return math.nan
    density, _ = np.histogram(scores, bins, density=True)
    some = density[density > 0]
    return float(-(some * np.log(some)).sum())


def _halfspace_depth(scores: Sample, at: Sample) -> Sample:
    order, n = np.sort(scores), len(scores)
    left, right = (np.searchsorted(order, at, side=side) / n for side in ("left", "right"))
    return np.asarray(np.minimum(right, 1 - left), np.float64)


def _projection_depth(scores: Sample, at: Sample) -> Sample:
    scale = float(median_abs_deviation(scores, scale="normal"))
    if scale == 0:
        return np.full_like(at, np.nan)
    return np.asarray(1 / (1 + np.abs(at - np.median(scores)) / scale), np.float64)


_PLAIN: Mapping[str, Callable[[Sample], float]] = {
    "discrepancy": _discrepancy,
    "star_discrepancy": _star,
    "star_discrepancy_shifted": lambda scores: _star(_scaled(scores)),
    "dispersion": lambda scores: float(np.ptp(scores)),
    "dispersion_shifted": lambda scores: float(np.ptp(_scaled(scores))),
    "range": lambda scores: float(np.ptp(scores)),
    "robust_range": _robust_range,
    "mpd": lambda scores: float(pdist(scores[:, None]).mean()),
    "mpsd": lambda scores: float(pdist(scores[:, None], "sqeuclidean").mean()),
    "dist_std": lambda scores: float(pdist(scores[:, None]).std()),
    "mad": lambda scores: float(median_abs_deviation(scores)),
    "aad": lambda scores: float(np.abs(scores - scores.mean()).mean()),
    "rms_deviation": lambda scores: float(scores.std()),
    "quartile_deviation": lambda scores: _iqr(scores) / 2,
    "gini": _gini,
    "entropy": _entropy,
}
_RELATIVE = {
    "rel_star_discrepancy": "star_discrepancy",
    "rel_dispersion": "dispersion",
    "rel_mpd": "mpd",
    "rel_mpsd": "mpsd",
}
