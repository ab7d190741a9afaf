"""What a set of picks is worth: recall, precision, false picks per hour, residuals.

Every figure comes with its counts and a 95 % interval. The intervals treat arrivals, picks and
residuals as independent. They are not: one event is seen by many stations, and one station errs in
the same way many times, so an interval over a network is too narrow. Read them as a lower bound of
the uncertainty.

Names say the definition: `recall_0.5s` counts arrivals matched within 0.5 s, `mae_matched_s` is
over matched pairs only and in seconds.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

CONFIDENCE = 0.95
_TAIL = (1 - CONFIDENCE) / 2

Sample = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % interval; NaN where the data cannot say."""

    value: float
    low: float
    high: float


def proportion(successes: int, trials: int) -> Estimate:
    """successes / trials with Wilson's score interval (Wilson 1927)."""
    if not 0 <= successes <= trials:
        raise ValueError(f"proportion: {successes} successes in {trials} trials")
    if trials == 0:
        return Estimate(math.nan, math.nan, math.nan)
    return wilson(successes / trials, trials, float(stats.norm.ppf(1 - _TAIL)))


def wilson(share: float, trials: float, z: float) -> Estimate:
    """Wilson's score interval of a share of so many independent trials, also effective ones."""
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2)
    half /= 1 + z * z / trials
    # Rounding may put the ends of 0 / n and n / n a little inside the value.
    low, high = max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half))
    return Estimate(share, low, high)


def f1_score(matched: int, picks: int, arrivals: int) -> Estimate:
    """Harmonic mean of precision and recall, 2 matched / (picks + arrivals).

    F1 = 2 J / (1 + J) rises with J = matched / (matched + extra + missed), a proportion: its
    interval is Wilson's for J, carried over.
    """
    share = proportion(matched, picks + arrivals - matched)
    return Estimate(*(2 * j / (1 + j) for j in (share.value, share.low, share.high)))


def rate_per_hour(count: int, hours: float) -> Estimate:
    """count / hours with Garwood's exact Poisson interval (Garwood 1936)."""
    if not (hours > 0 and math.isfinite(hours)):
        raise ValueError(f"hours {hours!r}: a rate needs a positive number of hours")
    if count < 0:
        raise ValueError(f"count {count}: must not be negative")
    low = stats.chi2.ppf(_TAIL, 2 * count) / (2 * hours) if count else 0.0
    high = stats.chi2.ppf(1 - _TAIL, 2 * count + 2) / (2 * hours)
    return Estimate(count / hours, float(low), float(high))


def mean(values: Sample) -> Estimate:
    """Mean with Student's interval; NaN interval below two values."""
    if len(values) == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(np.mean(values))
    if len(values) == 1:
        return Estimate(value, math.nan, math.nan)
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    half = float(stats.t.ppf(1 - _TAIL, len(values) - 1)) * error
    return Estimate(value, value - half, value + half)


def median(values: Sample) -> Estimate:
    """Median with the distribution-free interval between two order statistics.

    Below six values no pair of order statistics covers the median with 95 %: NaN interval.
    """
    if len(values) == 0:
        return Estimate(math.nan, math.nan, math.nan)
    value = float(np.median(values))
    rank = int(stats.binom.ppf(_TAIL, len(values), 0.5))  # values left out at either end, at most
    if rank == 0:
        return Estimate(value, math.nan, math.nan)
    ordered = np.sort(values)
    return Estimate(value, float(ordered[rank - 1]), float(ordered[-rank]))


def mean_absolute(values: Sample) -> Estimate:
    """Mean of |values| with Student's interval, cut at zero."""
    estimate = mean(np.abs(values))
    return Estimate(estimate.value, _not_below_zero(estimate.low), estimate.high)


def root_mean_square(values: Sample) -> Estimate:
    """Root of the mean square; its interval is the root of Student's for the mean square."""
    square = mean(np.square(values))
    low, high = _not_below_zero(square.low), square.high
    return Estimate(math.sqrt(square.value), math.sqrt(low), math.sqrt(high))


def within(metric: str, tolerance_s: float) -> str:
    """The name of a metric that counts matches within a tolerance: `recall_0.5s`."""
    return f"{metric}_{tolerance_s:g}s"


def score_complete_truth(
    residuals_s: Sample, picks: int, arrivals: int, station_hours: float, tolerance_s: float
) -> dict[str, float]:
    """The figures of one candidate and phase where the truth is complete.

    Complete means that every arrival in the data is among the `arrivals`: planted ones, or none
    on verified noise. Only then is an extra pick (one without an arrival) a false pick, and the
    share of matched picks the precision. Analysts' catalogues are not complete: do not use this.

    residuals_s: float64 [matched], pick minus arrival in seconds, of the matched pairs.
    picks, arrivals: how many there are, matched or not. station_hours: hours of data picked, over
    all stations. tolerance_s: of the matching.

    Returns the counts, and for each metric `name`, `name_low` and `name_high`.
    """
    matched = len(residuals_s)
    if matched > min(picks, arrivals):
        raise ValueError(f"{matched} matched pairs of {picks} picks and {arrivals} arrivals")
    extra = picks - matched
    metrics = {
        within("recall", tolerance_s): proportion(matched, arrivals),
        within("precision", tolerance_s): proportion(matched, picks),
        within("f1", tolerance_s): f1_score(matched, picks, arrivals),
        within("false_picks_per_station_hour", tolerance_s): rate_per_hour(extra, station_hours),
        "median_matched_s": median(residuals_s),
        "mean_matched_s": mean(residuals_s),
        "mae_matched_s": mean_absolute(residuals_s),
        "rmse_matched_s": root_mean_square(residuals_s),
    }
    row: dict[str, float] = {
        "tolerance_s": tolerance_s,
        "station_hours": station_hours,
        "arrivals": arrivals,
        "picks": picks,
        "matched": matched,
        "missed": arrivals - matched,
        "false_picks": extra,
    }
    for name, estimate in metrics.items():
        row |= {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return row


def _not_below_zero(value: float) -> float:
    return value if math.isnan(value) else max(0.0, value)
