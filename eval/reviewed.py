"""Picks on continuous days against reviewed arrivals, which are true but not complete.

A pick without an arrival is an extra, never a false pick: the analyst may not have looked. Recall
stands on the arrivals; precision has a lower bound only, TP / (TP + extras), and an estimate where
a sample of the extras was reviewed (eval/audit.py). Where the truth is complete use
`eval.continuous.score`, on verified noise `eval.noise`.

Picks have the columns of `eval.continuous` (and `saddle` for `curve`), arrivals ARRIVAL_SCHEMA;
both may have more columns to stratify by, and must be cut to the same stations and time span.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.schema import PHASES
from catalog.truth import ARRIVAL_SCHEMA
from eval.comparison import FOUND_SCHEMA
from eval.continuous import PICK_COLUMNS, checked, nanoseconds, paired_rows, true_times
from eval.intervals import REPLICATES, Clusters, Codes, Kind, ratios
from eval.metrics import within
from eval.strata import ALL, bins_of
from eval.thresholds import picks_at
from eval.traces import Numbers, codes, few

TOLERANCES_S = (0.1, 0.25, 0.5, 1.0)
STRATA = (ALL, "station", "snr_bin")
FIGURES = ("recall", "precision_lower", "f1_lower", "mae")

REVIEWED_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("stratum", pa.string()),
        ("bin", pa.string()),
        ("phase", pa.string()),
        ("metric", pa.string()),  # recall_0.5s, precision_lower_0.5s, f1_lower_0.5s, mae_0.5s
        ("tolerance_s", pa.float64()),
        ("value", pa.float64()),  # null: undefined
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("n", pa.int64()),  # arrivals, picks, both, or pairs
        ("matched", pa.int64()),
        ("extra", pa.int64()),  # picks without an arrival
        ("clusters", pa.int64()),
        ("interval_over", pa.string()),
    ]
)

CURVE_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("phase", pa.string()),
        ("threshold", pa.float64()),
        ("picks", pa.int64()),
        ("arrivals", pa.int64()),
        ("matched", pa.int64()),
        ("extra", pa.int64()),
        ("recall", pa.float64()),  # null where there is no arrival
        ("precision_lower", pa.float64()),  # null where there is no pick
        ("f1_lower", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class _Judged:
    """One candidate and phase. found, residual_s, event: [arrivals]; matched, of_event: [picks].

    event, of_event: codes of the arrivals' events, also of the pick's arrival; -1 where none is.
    """

    candidate: str
    phase: str
    arrivals: pa.Table
    picks: pa.Table
    found: npt.NDArray[np.bool_]
    residual_s: Numbers
    matched: npt.NDArray[np.bool_]
    event: Codes
    of_event: Codes


def score(
    picks: pa.Table,
    arrivals: pa.Table,
    tolerances_s: Sequence[float] = TOLERANCES_S,
    strata: Sequence[str] = STRATA,
    candidates: Sequence[str] = (),
    *,
    seed: int,
    replicates: int = REPLICATES,
) -> pa.Table:
    """Recall, lower bounds of precision and F1, and MAE of the matched pairs: REVIEWED_SCHEMA.

    strata: columns of both tables, or made as `eval.strata.bins_of` says; an arrival is binned by
    the arrivals' columns and a pick by the picks'. Intervals are over events and stations; an extra
    has no event and stays while events are drawn. candidates: to be scored even without a pick.
    """
    rows = []
    names = {stratum: _bin_names(picks, arrivals, stratum) for stratum in strata}
    for tolerance in tolerances_s:
        for judged in _judged(picks, arrivals, tolerance, candidates):
            for stratum in strata:
                for bin_name, inside in _bins(judged, stratum, names[stratum]):
                    where = {
                        "candidate": judged.candidate,
                        "stratum": stratum,
                        "bin": bin_name,
                        "phase": judged.phase,
                        "tolerance_s": float(tolerance),
                    }
                    rows += [where | row for row in _scored(inside, tolerance, seed, replicates)]
    return pa.Table.from_pylist(rows, REVIEWED_SCHEMA)


def found_on(
    picks: pa.Table, arrivals: pa.Table, tolerance_s: float = 0.5, candidates: Sequence[str] = ()
) -> pa.Table:
    """What became of each arrival, for `eval.comparison.compare`: FOUND_SCHEMA.

    Raises ValueError for two arrivals of one station, phase and time.
    """
    parts = []
    for judged in _judged(picks, arrivals, tolerance_s, candidates):
        own = judged.arrivals
        ids = [own[name] for name in ("network", "station", "location")]
        times = pa.array(nanoseconds(own)).cast(pa.string())
        keys = pc.binary_join_element_wise(*ids, times, ".").combine_chunks()
        counts = pc.value_counts(keys)
        if (
            twice := counts.filter(pc.greater(counts.field("counts"), 1))
            .field("values")
            .to_pylist()
        ):
            raise ValueError(f"arrivals: {judged.phase} stands twice at {few(twice)}; drop one")
        columns = {
            "candidate": pa.repeat(judged.candidate, own.num_rows),
            "key": keys,
            "phase": own["phase"],
            "event": own["event"],
            "station": _station(own),
            "found": pa.array(judged.found),
            "residual_s": pa.array(judged.residual_s, mask=~judged.found),
        }
        parts.append(pa.table(columns, FOUND_SCHEMA))
    return pa.concat_tables([FOUND_SCHEMA.empty_table(), *parts])


def extras(picks: pa.Table, arrivals: pa.Table, tolerance_s: float = 0.5) -> pa.Table:
    """The picks that no arrival explains, all their columns."""
    judged = judged_picks(picks, arrivals, tolerance_s)
    return judged.filter(pc.invert(judged["matched"])).drop_columns("matched")


def judged_picks(picks: pa.Table, arrivals: pa.Table, tolerance_s: float = 0.5) -> pa.Table:
    """The picks, all their columns, and `matched`: an arrival explains it. Sorted by candidate."""
    parts = [
        judged.picks.append_column("matched", pa.array(judged.matched))
        for judged in _judged(picks, arrivals, tolerance_s, ())
    ]
    if not parts:
        return picks.append_column("matched", pa.nulls(0, pa.bool_()))
    return pa.concat_tables(parts)


def curve(
    picks: pa.Table,
    arrivals: pa.Table,
    thresholds: Sequence[float],
    tolerance_s: float = 0.5,
    candidates: Sequence[str] = (),
) -> pa.Table:
    """Counts and shares at each threshold, matched anew at each: CURVE_SCHEMA.

    picks: as stored, from their low floor, with `saddle`.
    """
    names = sorted({*candidates, *_names(picks)})
    rows = []
    for threshold in thresholds:
        standing = picks_at(picks, threshold)
        for judged in _judged(standing, arrivals, tolerance_s, names):
            matched, emitted, all_arrivals = (
                int(judged.matched.sum()),
                judged.picks.num_rows,
                judged.arrivals.num_rows,
            )
            rows.append(
                {
                    "candidate": judged.candidate,
                    "phase": judged.phase,
                    "threshold": float(threshold),
                    "picks": emitted,
                    "arrivals": all_arrivals,
                    "matched": matched,
                    "extra": emitted - matched,
                    "recall": _share(matched, all_arrivals),
                    "precision_lower": _share(matched, emitted),
                    "f1_lower": _share(2 * matched, emitted + all_arrivals),
                }
            )
    return pa.Table.from_pylist(rows, CURVE_SCHEMA)


def _judged(
    picks: pa.Table, arrivals: pa.Table, tolerance_s: float, candidates: Sequence[str]
) -> Iterator[_Judged]:
    plain_picks = checked(picks, PICK_COLUMNS, "picks")
    plain_arrivals = checked(arrivals, ARRIVAL_SCHEMA.names, "arrivals")
    picks = _replaced(picks, plain_picks)
    arrivals = _replaced(arrivals, plain_arrivals)
    arrival_rows, pick_rows = paired_rows(plain_picks, plain_arrivals, tolerance_s)
    residuals = (
        true_times(plain_picks)[pick_rows] - nanoseconds(plain_arrivals)[arrival_rows]
    ) / 1e9
    matched = np.zeros(picks.num_rows, bool)
    matched[pick_rows] = True
    known = codes(arrivals["event"])
    event = np.full(arrivals.num_rows, -1) if known is None else known
    of_event = np.full(picks.num_rows, -1)
    of_event[pick_rows] = event[arrival_rows]
    of = picks["candidate"].to_numpy()
    for candidate in sorted({*candidates, *_names(picks)}):
        mine = of[pick_rows] == candidate
        residual = np.full(arrivals.num_rows, np.nan)
        residual[arrival_rows[mine]] = residuals[mine]
        for phase in PHASES:
            these_arrivals = pc.equal(arrivals["phase"], phase).to_numpy()
            these_picks = pc.equal(picks["phase"], phase).to_numpy() & (of == candidate)
            yield _Judged(
                candidate,
                phase,
                arrivals.filter(pa.array(these_arrivals)),
                picks.filter(pa.array(these_picks)),
                ~np.isnan(residual[these_arrivals]),
                residual[these_arrivals],
                matched[these_picks],
                event[these_arrivals],
                of_event[these_picks],
            )


def _bin_names(picks: pa.Table, arrivals: pa.Table, stratum: str) -> list[str]:
    """All bins, so that a phase or a candidate without rows in one is undefined there, not gone."""
    if stratum == ALL:
        return [ALL]
    return sorted({*_bins_of(picks, stratum), *_bins_of(arrivals, stratum)})


def _bins(judged: _Judged, stratum: str, names: Sequence[str]) -> Iterator[tuple[str, _Judged]]:
    of_arrivals = _bins_of(judged.arrivals, stratum)
    of_picks = _bins_of(judged.picks, stratum)
    for name in names:
        a, p = of_arrivals == name, of_picks == name
        yield (
            name,
            _Judged(
                judged.candidate,
                judged.phase,
                judged.arrivals.filter(pa.array(a)),
                judged.picks.filter(pa.array(p)),
                judged.found[a],
                judged.residual_s[a],
                judged.matched[p],
                judged.event[a],
                judged.of_event[p],
            ),
        )


def _bins_of(table: pa.Table, stratum: str) -> npt.NDArray[np.object_]:
    if stratum == "station":
        return np.array(_station(table).to_pylist(), object)
    return bins_of(table, stratum)


def _scored(
    inside: _Judged, tolerance_s: float, seed: int, replicates: int
) -> list[dict[str, object]]:
    """All figures, over the arrivals and then the picks; a pick lies in its arrival's event."""
    found, matched = inside.found.astype(np.float64), inside.matched.astype(np.float64)
    size = np.where(inside.found, np.abs(inside.residual_s), 0.0)
    one, none = np.ones(len(found)), np.zeros(len(found))
    of_arrivals = np.stack([found, none, found, size], axis=1)  # in the order of FIGURES
    over_arrivals = np.stack([one, none, one, found], axis=1)
    over_picks = np.tile([0.0, 1.0, 1.0, 0.0], (len(matched), 1))
    of_picks = over_picks * matched[:, None]
    all_stations = pa.concat_tables(
        pa.table({"station": _station(table)}) for table in (inside.arrivals, inside.picks)
    )
    event = np.concatenate([inside.event, inside.of_event])
    clusters = Clusters(event if (event >= 0).any() else None, codes(all_stations["station"]))
    over = np.concatenate([over_arrivals, over_picks])
    scored = ratios(
        np.concatenate([of_arrivals, of_picks]),
        over,
        [Kind.PROPORTION, Kind.PROPORTION, Kind.PROPORTION, Kind.MAGNITUDE],
        clusters,
        seed=seed,
        replicates=replicates,
    )
    return [
        {
            "metric": within(name, tolerance_s),
            "matched": int(found.sum()),
            "extra": len(matched) - int(matched.sum()),
            "interval_over": clusters.over,
            **figure.columns,
        }
        for name, figure in zip(FIGURES, scored, strict=True)
    ]


def _station(table: pa.Table) -> pa.ChunkedArray:
    return pc.binary_join_element_wise(table["network"], table["station"], ".")


def _names(picks: pa.Table) -> list[str]:
    names: list[str] = pc.unique(picks["candidate"].cast(pa.string())).to_pylist()
    return names


def _replaced(table: pa.Table, plain: pa.Table) -> pa.Table:
    """The table with its checked columns in place of those given."""
    more = {name: table[name] for name in table.column_names if name not in plain.column_names}
    return pa.table({name: plain[name] for name in plain.column_names} | more)


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
