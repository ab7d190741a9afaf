"""Signal and noise of a benchmark, after "Signal and Noise" (AllenAI).

Signal is the gap between the best and the worst candidate, noise the deviation (ddof 0) of models
that ought to score alike, such as the last checkpoints of one training; each relative to its mean:

    SNR = (max |m_j - m_k| / mean(m)) / (std(noise) / mean(noise))

Noise is taken within each family of such models and never over several families at once, where it
would hold the signal.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from eval.metrics import Sample

DEGENERATE_DEVIATIONS = 5.0
DEGENERATE_SHARE = 0.5
"""A candidate is degenerate that is worse than the median by more than so many deviations (1.4826
times the median absolute deviation) and by more than this share of the median: one broken model
would lift the signal tenfold."""


def signal_to_noise(scores: npt.ArrayLike, noise: npt.ArrayLike) -> float | None:
    """SNR of candidates' scores [k] and one family's scores [n]; None where it is undefined.

    It is undefined without noise (all of the family score the same) and where a mean is zero.
    Raises ValueError for NaN, and for a family of fewer than two.
    """
    return ratio(relative_signal(scores), relative_noise([noise]))


def ratio(signal: float, noise: float) -> float | None:
    """signal / noise; None where the noise is zero or either is unknown."""
    if math.isnan(signal) or math.isnan(noise) or noise <= 0 or math.isinf(noise):
        return None
    return signal / noise


def relative_signal(scores: npt.ArrayLike) -> float:
    """(max - min) / |mean| of the scores [k]."""
    numbers = _numbers(scores)
    return _relative(float(np.ptp(numbers)), float(numbers.mean()))


def relative_noise(families: Sequence[npt.ArrayLike]) -> float:
    """Deviation within families, the root of its mean square, relative to their mean.

    NaN without a family. Raises ValueError for a family of fewer than two, which has no noise.
    """
    squares, means = [], []
    for family in families:
        scores = _numbers(family)
        if len(scores) < 2:
            raise ValueError(f"noise: a family of {len(scores)}; give at least two models")
        # Equal scores may have a deviation of rounding alone.
        squares.append(float(scores.var()) if np.ptp(scores) > 0 else 0.0)
        means.append(float(scores.mean()))
    if not squares:
        return math.nan
    return _relative(math.sqrt(float(np.mean(squares))), float(np.mean(means)))


def degenerate(scores: Mapping[str, float], *, less_is_better: bool) -> list[str]:
    """The candidates that are so much worse than the rest that they are no signal."""
    values = np.array(list(scores.values()), np.float64)
    middle = float(np.median(values)) if len(values) else math.nan
    spread = 1.4826 * float(np.median(np.abs(values - middle))) if len(values) else math.nan
    worse = (values - middle) * (1 if less_is_better else -1)
    far = (worse > DEGENERATE_DEVIATIONS * spread) & (worse > DEGENERATE_SHARE * abs(middle))
    return sorted(name for name, out in zip(scores, far, strict=True) if out)


def _numbers(scores: npt.ArrayLike) -> Sample:
    numbers = np.asarray(scores, np.float64)
    if np.isnan(numbers).any():
        raise ValueError("scores: hold NaN; leave out what was not scored")
    return numbers


def _relative(size: float, mean: float) -> float:
    if mean == 0:
        return 0.0 if size == 0 else math.inf
    return size / abs(mean)
