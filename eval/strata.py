"""Bins of a per-trace table: distance, depth, magnitude, signal to noise, or any other column."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UNKNOWN = "unknown"
"""The bin of a trace that has no value."""

ALL = "all"
"""Stratum and bin of the row that pools every trace."""

DISTANCE_BINS = ("local (<150km)", "regional (150-1500km)", "teleseismic (>1500km)")
DEPTH_BINS = ("shallow (<70km)", "intermediate (70-300km)", "deep (>300km)")
_MAGNITUDES = (2.0, 3.0, 4.0, 5.0)
_SNR_DB = (0.0, 10.0, 20.0, 30.0)
_ORDER = ("local", "regional", "teleseismic", "shallow", "intermediate", "deep", "<", "\0", ">=")
_BETWEEN = _ORDER.index("\0")

Numbers = npt.NDArray[np.float64]
Bins = npt.NDArray[np.object_]


def distance_bins(kilometres: Numbers) -> Bins:
    """Local below 150 km, regional up to and with 1500 km, teleseismic beyond; NaN is unknown."""
    return _binned(kilometres, (kilometres >= 150) + 1 * (kilometres > 1500), DISTANCE_BINS)


def depth_bins(kilometres: Numbers) -> Bins:
    """Shallow below 70 km, intermediate up to and with 300 km, deep beyond; NaN is unknown."""
    return _binned(kilometres, (kilometres >= 70) + 1 * (kilometres > 300), DEPTH_BINS)


def magnitude_bins(magnitudes: Numbers) -> Bins:
    """Below 2, then unit bins that hold their lower end, 5 and above; NaN is unknown."""
    return _between(magnitudes, _MAGNITUDES, "")


def snr_bins(decibels: Numbers) -> Bins:
    """Below 0 dB, bins of 10 dB that hold their lower end, 30 dB and above; NaN is unknown."""
    return _between(decibels, _SNR_DB, " dB")


def with_pick_snr(picks: pa.Table) -> pa.Table:
    """Picks with `snr_db`, 20 log10(amplitude / noise_amplitude); null where that is no number."""
    ratio = pc.divide(
        picks["amplitude"].cast(pa.float64()), picks["noise_amplitude"].cast(pa.float64())
    )
    decibels = pc.multiply(pc.log10(ratio), 20.0)
    finite = pc.fill_null(pc.is_finite(decibels), False)
    return picks.append_column("snr_db", pc.if_else(finite, decibels, None))


def bins_of(traces: pa.Table, stratum: str) -> Bins:
    """The bin [rows] of each trace.

    stratum: `dist_bin`, `depth_bin` or `mag_bin` (where null, made from `distance_km`, `depth_km`,
    `magnitude`), `snr_bin` (from `snr_db`), or any column of text, whole numbers or truths. Raises
    ValueError for a column that is missing or holds fractions.
    """
    if stratum == ALL:
        return np.full(traces.num_rows, ALL, object)
    made = {
        "dist_bin": ("distance_km", distance_bins),
        "depth_bin": ("depth_km", depth_bins),
        "mag_bin": ("magnitude", magnitude_bins),
        "snr_bin": ("snr_db", snr_bins),
    }
    bins = np.full(traces.num_rows, UNKNOWN, object)
    if stratum in traces.column_names:
        column = traces[stratum]
        if pa.types.is_floating(column.type):
            raise ValueError(f"stratum {stratum!r}: holds fractions; give a column of named bins")
        for row, value in enumerate(column.to_pylist()):
            if value is not None:
                bins[row] = str(value)
    elif stratum not in made:
        raise ValueError(f"stratum {stratum!r}: no such column; there are {traces.column_names}")
    if stratum in made and made[stratum][0] in traces.column_names:
        source, rule = made[stratum]
        numbers = traces[source].cast(pa.float64()).to_numpy()
        absent = bins == UNKNOWN
        bins[absent] = rule(numbers[absent])
    return bins


def bin_order(name: str) -> tuple[int, str]:
    """Sorts bins: near before far, small before large, unknown last."""
    if name == UNKNOWN:
        return len(_ORDER) + 1, name
    known = (k for k, start in enumerate(_ORDER) if name.startswith(start))
    return next(known, _BETWEEN), name


def _between(numbers: Numbers, edges: tuple[float, ...], unit: str) -> Bins:
    names = [f"<{edges[0]:g}{unit}"]
    names += [f"{a:g}-{b:g}{unit}" for a, b in pairwise(edges)]
    names.append(f">={edges[-1]:g}{unit}")
    return _binned(numbers, np.searchsorted(edges, numbers, side="right"), tuple(names))


def _binned(numbers: Numbers, index: npt.NDArray[np.int64], names: tuple[str, ...]) -> Bins:
    bins = np.array(names, object)[index * np.isfinite(numbers)]
    bins[~np.isfinite(numbers)] = UNKNOWN
    return bins
