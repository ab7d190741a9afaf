"""False picks on verified noise: windows in which no arrival can be, however they were chosen.

Only here is every pick false. The noise must not have been screened with a model under evaluation
(nor with one trained on its picks): such noise is quiet by that model's own opinion.

Rates are per station-hour, with Garwood's interval (false picks independent of each other) and one
over stations, which is the one to read: a station with a nearby road makes most of the false picks.
That one is never inside Garwood's: a few stations that happen to agree are not surer than chance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import PHASES
from catalog.truth import NOISE_COLUMNS
from eval.continuous import PICK_COLUMNS, checked, true_times
from eval.intervals import REPLICATES, Clusters, columns, rate
from eval.metrics import Estimate, rate_per_hour
from eval.thresholds import Thresholds, picks_at, threshold_for_rate
from eval.traces import codes, few

_HOUR_NS = 3_600_000_000_000

RATE_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("station", pa.string()),  # NET.STA, or `all`
        ("phase", pa.string()),
        ("threshold", pa.float64()),
        ("count", pa.int64()),
        ("hours", pa.float64()),  # station-hours
        ("windows", pa.int64()),
        ("value", pa.float64()),  # false picks per station-hour
        ("garwood_low", pa.float64()),
        ("garwood_high", pa.float64()),
        ("low", pa.float64()),  # over stations; null where there is one station
        ("high", pa.float64()),
        ("clusters", pa.int64()),
    ]
)

COUNT_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("key", pa.string()),  # of the window
        ("phase", pa.string()),
        ("station", pa.string()),
        ("count", pa.int64()),
        ("hours", pa.float64()),
    ]
)
"""What `eval.comparison.compare_rates` compares."""


@dataclass(frozen=True, slots=True)
class _Noise:
    """Windows [w] and the picks inside them. window: the window of each pick."""

    keys: list[str]
    stations: pa.ChunkedArray
    hours: npt.NDArray[np.float64]
    picks: pa.Table
    window: npt.NDArray[np.int64]


def rates(
    picks: pa.Table,
    noise: pa.Table,
    thresholds: Sequence[float] | Thresholds,
    candidates: Sequence[str] = (),
    *,
    seed: int,
    replicates: int = REPLICATES,
) -> pa.Table:
    """False picks per station-hour of each candidate, phase and threshold: RATE_SCHEMA.

    picks: as stored, with `saddle`; those outside the noise do not count. thresholds: several for
    a curve, or each candidate's own. candidates: to be given even without a pick. Raises
    ValueError for windows of one station that overlap.
    """
    inside = _inside(picks, noise)
    stations = codes(inside.stations)
    rows = []
    for candidate, phase, threshold, counts in _counted(inside, thresholds, candidates):
        garwood, clustered = rate(
            counts,
            inside.hours,
            Clusters(None, stations),
            seed=seed,
            replicates=replicates,
        )
        rows.append(
            _rate_columns(candidate, "all", phase, threshold, counts, inside.hours)
            | {
                "garwood_low": garwood.low,
                "garwood_high": garwood.high,
                "clusters": clustered.freedom + 1,
                **columns(_hull(clustered.estimate, garwood)),
            }
        )
    return pa.Table.from_pylist(rows, RATE_SCHEMA)


def _hull(wide: Estimate, garwood: Estimate) -> Estimate:
    """The interval over stations, NaN where it is not known, and Garwood's inside it."""
    if math.isnan(wide.low):
        return wide
    return Estimate(wide.value, min(wide.low, garwood.low), max(wide.high, garwood.high))


def station_rates(
    picks: pa.Table,
    noise: pa.Table,
    thresholds: Sequence[float] | Thresholds,
    candidates: Sequence[str] = (),
) -> pa.Table:
    """As `rates`, station by station, with Garwood's interval alone: RATE_SCHEMA."""
    inside = _inside(picks, noise)
    names = np.array(inside.stations.to_pylist(), object)
    rows = []
    for candidate, phase, threshold, counts in _counted(inside, thresholds, candidates):
        for station in sorted(set(names)):
            own = names == station
            garwood = rate_per_hour(int(counts[own].sum()), float(inside.hours[own].sum()))
            rows.append(
                _rate_columns(candidate, station, phase, threshold, counts[own], inside.hours[own])
                | {
                    "value": garwood.value,
                    "garwood_low": garwood.low,
                    "garwood_high": garwood.high,
                    "clusters": 1,
                }
            )
    return pa.Table.from_pylist(rows, RATE_SCHEMA)


def window_counts(
    picks: pa.Table,
    noise: pa.Table,
    thresholds: float | Thresholds,
    candidates: Sequence[str] = (),
) -> pa.Table:
    """False picks of every window, those without any included: COUNT_SCHEMA."""
    inside = _inside(picks, noise)
    parts = []
    for candidate, phase, _, counts in _counted(inside, Thresholds.of(thresholds), candidates):
        n = len(counts)
        given = [pa.repeat(candidate, n), inside.keys, pa.repeat(phase, n), inside.stations]
        parts.append(
            pa.table([*given, counts.astype(np.int64), inside.hours], names=COUNT_SCHEMA.names)
        )
    return pa.concat_tables([COUNT_SCHEMA.empty_table(), *(p.cast(COUNT_SCHEMA) for p in parts)])


def thresholds_at(
    picks: pa.Table,
    noise: pa.Table,
    per_hour: Mapping[str, float],
    candidates: Sequence[str] = (),
    floor: float = 0.0,
) -> Thresholds:
    """The thresholds from which on each candidate makes at most so many false picks an hour.

    per_hour: phase -> false picks per station-hour. floor: what the picks were stored from.
    """
    inside = _inside(picks, noise)
    hours = float(inside.hours.sum())
    each: dict[str, dict[str, float]] = {}
    for candidate in _names(inside, candidates):
        each[candidate] = {}
        for phase, target in per_hour.items():
            own = inside.picks.filter(
                (pc.field("candidate") == candidate) & (pc.field("phase") == phase)
            )
            probability, saddle = (own[name].to_numpy() for name in ("probability", "saddle"))
            each[candidate][phase] = threshold_for_rate(probability, hours, target, saddle, floor)
    return Thresholds(each)


def _counted(
    inside: _Noise, thresholds: Sequence[float] | Thresholds, candidates: Sequence[str]
) -> Iterator[tuple[str, str, float, npt.NDArray[np.float64]]]:
    """(candidate, phase, threshold, picks [windows])."""
    names = _names(inside, candidates)
    given = [thresholds] if isinstance(thresholds, Thresholds) else map(Thresholds.of, thresholds)
    for each in given:
        numbered = inside.picks.append_column("window", pa.array(inside.window))
        standing = picks_at(numbered, each)
        for candidate in names:
            for phase in PHASES:
                own = standing.filter(
                    (pc.field("candidate") == candidate) & (pc.field("phase") == phase)
                )
                counts = np.bincount(own["window"].to_numpy(), minlength=len(inside.hours))
                yield candidate, phase, each.at(candidate, phase), counts.astype(np.float64)


def _names(inside: _Noise, candidates: Sequence[str]) -> list[str]:
    return sorted({*candidates, *pc.unique(inside.picks["candidate"]).to_pylist()})


def _rate_columns(
    candidate: str,
    station: str,
    phase: str,
    threshold: float,
    counts: npt.NDArray[np.float64],
    hours: npt.NDArray[np.float64],
) -> dict[str, object]:
    return {
        "candidate": candidate,
        "station": station,
        "phase": phase,
        "threshold": threshold,
        "count": int(counts.sum()),
        "hours": float(hours.sum()),
        "windows": len(hours),
    }


def _inside(picks: pa.Table, noise: pa.Table) -> _Noise:
    for name in NOISE_COLUMNS:
        if name not in noise.column_names or noise[name].null_count:
            raise ValueError(f"noise: column {name!r} lacks or holds nulls; give {NOISE_COLUMNS}")
    if noise.num_rows == 0:
        raise ValueError("noise: there are no windows; a rate needs station-hours")
    noise = noise.sort_by([(n, "ascending") for n in NOISE_COLUMNS])
    start, end = (
        noise[name].cast(pa.timestamp("ns", tz="UTC")).cast(pa.int64()).to_numpy()
        for name in ("start", "end")
    )
    names = ("network", "station", "location")
    trace = pc.binary_join_element_wise(*(noise[n].cast(pa.string()) for n in names), ".")
    keys = [f"{t}.{s}" for t, s in zip(trace.to_pylist(), start.tolist(), strict=True)]
    places = np.array(trace.to_pylist(), object)
    overlapping = (places[1:] == places[:-1]) & (start[1:] < end[:-1])
    if (bad := np.flatnonzero(end <= start)).size or (bad := np.flatnonzero(overlapping)).size:
        raise ValueError(
            f"noise: {few([keys[k] for k in bad])}: the window ends before it starts, or overlaps "
            "the next of its station; hours would count twice"
        )

    plain = checked(picks, PICK_COLUMNS, "picks")
    if "saddle" not in picks.column_names:
        raise ValueError("picks: no column 'saddle'; give picks as the catalogue stores them")
    plain = plain.append_column("saddle", picks["saddle"])
    times = true_times(plain)
    of_pick = np.array(
        pc.binary_join_element_wise(*(plain[n] for n in names), ".").to_pylist(), object
    )
    window = np.full(plain.num_rows, -1, np.int64)
    for place in set(places) & set(of_pick):
        mine, here = np.flatnonzero(of_pick == place), np.flatnonzero(places == place)
        k = np.searchsorted(start[here], times[mine], side="right") - 1
        inside = (k >= 0) & (times[mine] < end[here[k]])
        window[mine[inside]] = here[k[inside]]
    return _Noise(
        keys,
        pc.binary_join_element_wise(noise["network"], noise["station"], "."),
        (end - start) / _HOUR_NS,
        plain.filter(pa.array(window >= 0)),
        window[window >= 0],
    )
