"""The sampling rate of every record, as the times of the records tell it.

A header may say 99.99 Hz, 50 Hz, or something else in each record, while the records follow each
other as 100 Hz: then the times are trusted. Looks at the headers of a whole object alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workers.miniseed.chains import Rows, in_time
from workers.miniseed.records import NS, Records

FloatArray = NDArray[np.float64]

LEAST_HZ, MOST_HZ = 1e-4, 1e7
"""A rate beyond is a damaged header's."""

FEW = 10
"""Pairs of records that tell a rate at least."""

FAMILY = 1e-3
"""Relative: rates that lie closer in one channel may be one that flutters."""

CLOCK, NOMINAL = 2e-5, 1e-4
"""Relative: a measured rate this close to a whole number, or to one that a header has, is that
one: the error of a clock, and of a rate that a recorder measured by it."""

SLEEP = 4
"""A header's rate over that of the times, from which records of equal length may be those of a
recorder that sleeps between them."""


WHOLE, SMALL = 1e-3, 0.1
"""Samples by which what is lost after a record may differ from a whole number; and how much of a
record it is at most. Rates that recorders have differ by more, clocks by no whole number."""


def sane(rate: FloatArray) -> NDArray[np.bool_]:
    """Which rates, in Hz, any recorder has; bool like `rate`, False for NaN."""
    return np.asarray((rate > LEAST_HZ) & (rate < MOST_HZ))


def true_rates(records: Records, rows: Rows) -> FloatArray:
    """Hz of each of `rows`, waveform records of one channel and kind of sample, in any order.

    What no times contradict is the header's rate.
    """
    rate = records.rate[rows]
    if len(rows) < 2:
        return rate
    timed = in_time(records, rows)
    order = slice(None) if timed is rows else np.searchsorted(rows, timed)
    start, count = records.start[timed], records.count[timed]
    told = rate[order]
    known = sane(told)
    if known.all():
        told = _measured(start, count, told)
    elif known.any():
        told[known] = _measured(start[known], count[known], told[known])
    rate[order] = _bridged(start, count, told)
    return rate


def _measured(start: NDArray[np.int64], count: NDArray[np.int32], rate: FloatArray) -> FloatArray:
    """Rates of records in order of time, those corrected that their times contradict."""
    one = bool(rate.min() == rate.max())
    step, held = np.diff(start), count[:-1].astype(np.float64)
    sample = np.asarray(NS / rate[0] if one else NS / rate[:-1])
    late = step - held * sample
    fits = np.abs(late) <= sample / 2
    if one:
        if fits.all() and abs(late.sum()) <= sample:  # as nearly everywhere
            return rate
        members, which = rate[:1], np.zeros(len(rate), np.intp)
    else:
        members, which = np.unique(rate, return_inverse=True)
    family = np.append(0, np.cumsum(np.diff(members) > FAMILY * members[:-1]))
    own = which[:-1]
    pair = (step > 0) & (family[own] == family[which[1:]])
    used = pair & fits
    pairs, fitting = (np.bincount(own, some, len(members)) for some in (pair, used))
    for member in np.flatnonzero((pairs >= FEW) & (2 * fitting < pairs)).tolist():
        these = np.flatnonzero(pair & (own == member))
        used[these] = _agreeing(held[these], step[these], float(members[member]))

    sums = np.array([np.bincount(own, used * part, len(members)) for part in (1, held, step)])
    pooled = np.array([np.bincount(family, part)[family] for part in sums])
    alone = np.bincount(family)[family] == 1
    enough = sums[0] >= FEW
    number, samples, time = np.where(enough, sums, pooled)
    with np.errstate(divide="ignore", invalid="ignore"):
        measured = samples * NS / time
        drift = np.abs(measured / members - 1) * samples  # of the header's rate, in samples
    tells = (number >= FEW) & ~(alone & (drift <= 1))
    if not tells.any():
        return rate
    chosen = members.copy()
    chosen[tells] = _meant(measured[tells], members[tells], members)
    return np.asarray(chosen[which])


def _agreeing(held: FloatArray, step: NDArray[np.int64], header: float) -> NDArray[np.bool_]:
    """Which pairs of a rate that its times contradict tell one other rate; none if few do, or if
    it is a whole one and most records have lost what came after them."""
    lacking = step * header / NS - held
    whole = np.abs(lacking - np.rint(lacking)) <= WHOLE
    lossy = whole & (lacking > 0.5) & (lacking <= SMALL * held)
    if header.is_integer() and 4 * lossy.sum() >= 3 * len(held):
        return np.zeros(len(held), bool)
    median = float(np.median(held / step))
    near = np.asarray(np.abs(step * median - held) <= 0.5)
    asleep = header > SLEEP * median * NS and (held == held[0]).all()
    return near & (4 * near.sum() >= 3 * len(near) and not asleep)


def _meant(measured: FloatArray, header: FloatArray, members: FloatArray) -> FloatArray:
    """The rate that is meant by each measured one; the header's, where that is near none."""
    whole = np.rint(measured)
    after = np.clip(np.searchsorted(members, measured), 1, max(len(members) - 1, 1))
    low, high = members[after - 1], members[np.minimum(after, len(members) - 1)]
    nominal = np.where(np.abs(measured - low) <= np.abs(measured - high), low, high)
    to_whole, to_nominal = (np.abs(measured / rate - 1) for rate in (np.maximum(whole, 1), nominal))
    to_whole[whole < 1] = np.inf
    is_whole = (to_whole <= CLOCK) | ((to_whole <= NOMINAL) & (to_whole <= to_nominal))
    return np.where(is_whole, whole, np.where(to_nominal <= NOMINAL, nominal, header))


def _bridged(start: NDArray[np.int64], count: NDArray[np.int32], rate: FloatArray) -> FloatArray:
    """A record of another rate than those before and after it, which fits in between at theirs
    and not at its own, has theirs."""
    if len(rate) < 3 or rate.min() == rate.max():
        return rate
    beside = rate[:-2]
    odd = 1 + np.flatnonzero(sane(beside) & (beside == rate[2:]) & (rate[1:-1] != beside))
    before = odd - 1
    step = NS / rate[before]
    begins = np.abs(start[odd] - start[before] - count[before] * step) <= step / 2
    room = start[odd + 1] - start[odd]
    ends = np.abs(room - count[odd] * step) <= step / 2
    own = np.where(sane(rate[odd]), rate[odd], np.inf)
    fits = begins & ends & (np.abs(room - count[odd] * NS / own) > step / 2)
    rate = rate.copy()
    rate[odd[fits]] = rate[before[fits]]
    return rate
