"""`tidepick eval noise`: false picks per station-hour, and the threshold that meets a rate.

Tables: `noise_windows`, `noise_why` (what became of the windows that are none), `noise_rates` (a
curve over thresholds, all stations), `noise_stations` (each, at the evaluation's threshold) and
`noise_thresholds` (what meets the target rate, and the rate there).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from contextlib import redirect_stdout
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from rich.console import Console

from catalog.errors import Refusal
from catalog.schema import PHASES
from catalog.truth import NOISE_COLUMNS, NOISE_SCHEMA
from eval.noise import rates, station_rates, thresholds_at
from service.evaluate.config import Evaluation, load_evaluation
from service.evaluate.days.curves import thresholds_of
from service.evaluate.days.station_days import StationDays
from service.evaluate.noise.search import METADATA, noise_of
from service.evaluate.pieces import Workbench
from service.evaluate.read.columns import InputError, instant, location_code, rows_of, station_code
from service.evaluate.shown import show
from service.evaluate.tables import keep

WHY_SCHEMA = pa.schema([("what", pa.string()), ("why", pa.string()), ("count", pa.int64())])

THRESHOLD_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("phase", pa.string()),
        ("target_per_hour", pa.float64()),
        ("threshold", pa.float64()),
        ("at_floor", pa.bool_()),  # all that is stored meets the target: a lower one might, too
        ("count", pa.int64()),
        ("hours", pa.float64()),
        ("value", pa.float64()),  # false picks per station-hour at this threshold
        ("garwood_low", pa.float64()),
        ("garwood_high", pa.float64()),
        ("low", pa.float64()),
        ("high", pa.float64()),
        ("clusters", pa.int64()),
    ]
)


SHOWN = ["candidate", "phase", "threshold", "count", "hours", "value", "low", "high", "clusters"]


def eval_noise(options: argparse.Namespace, out: Console) -> int:
    """Returns 1 where a station-day could not be looked at because its worker died."""
    evaluation = load_evaluation(options.evaluation)
    if evaluation.noise is None:
        raise Refusal(f"evaluation {options.evaluation}: noise: missing; name catalog and windows")
    with redirect_stdout(sys.stderr if options.json else sys.stdout):  # Ray writes there
        bench = Workbench.of(
            evaluation, Console(stderr=True) if options.json else out, options.address
        )
        tables = noise_tables(evaluation, bench)
    for name, table in tables.items():
        keep(Path(evaluation.out), name, table)
    here = pc.equal(tables["noise_rates"]["threshold"], evaluation.threshold)
    shown = {
        f"false picks per station-hour at {evaluation.threshold:g}": tables["noise_rates"]
        .filter(here)
        .select(SHOWN),
        "at the target rate": tables["noise_thresholds"].select([*SHOWN, "at_floor"]),
        "windows that are no noise": tables["noise_why"].select(["why", "count"]),
    }
    windows = tables["noise_windows"]
    facts: dict[str, object] = {"noise windows": windows.num_rows}
    if METADATA in (windows.schema.metadata or {}):
        facts["events they are cleared of"] = json.loads(windows.schema.metadata[METADATA])[
            "events"
        ]
    show(out, options.json, tables if options.json else shown, facts)
    return bench.tell_unfinished()


def noise_tables(evaluation: Evaluation, bench: Workbench) -> dict[str, pa.Table]:
    """All tables by name. Raises Refusal."""
    assert evaluation.noise is not None
    settings, seed, names = evaluation.noise, evaluation.seed, evaluation.names
    days = StationDays.open(settings.catalog, evaluation.candidate, "noise")
    days.check_threshold(evaluation.threshold)
    if settings.windows is not None:
        windows, why = _given(Path(settings.windows), days)
    else:
        windows, why = noise_of(settings, days, bench)
    told = [{"what": "noise windows", "why": w, "count": n} for w, n in sorted(why.items())]
    if not windows.num_rows:
        raise Refusal(f"noise: no window is left: {dict(why)}; give more station-days or windows")
    picks = _of_bands(days.picks(), windows)
    try:
        station_rates(picks.slice(0, 0), windows, (evaluation.threshold,), names)
    except ValueError as error:
        raise Refusal(f"{settings.windows or settings.catalog}: {error}") from error
    replicates = evaluation.replicates
    curve = thresholds_of(days.floor, evaluation.threshold)
    return {
        "noise_windows": windows,
        "noise_why": pa.Table.from_pylist(told, WHY_SCHEMA),
        "noise_rates": rates(picks, windows, curve, names, seed=seed, replicates=replicates),
        "noise_stations": station_rates(picks, windows, (evaluation.threshold,), names),
        "noise_thresholds": _thresholds(
            picks, windows, settings.target_rate, evaluation, days.floor
        ),
    }


def _given(path: Path, days: StationDays) -> tuple[pa.Table, Counter[str]]:
    """The windows of a file on the station-days; whoever made it answers for there being data."""
    table = _read_windows(path)
    keys = [(d.trace.network, d.trace.station, d.trace.location) for d in days.held]
    spans = {key: [] for key in keys}  # type: dict[tuple[str, str, str], list[tuple[int, int]]]
    for key, day in zip(keys, days.held, strict=True):
        spans[key].append((day.start_ns, day.end_ns))
    inside = []
    edges = [table[name].cast(pa.int64()).to_pylist() for name in ("start", "end")]
    codes = [table[name].to_pylist() for name in ("network", "station", "location")]
    for network, station, location, start, end in zip(*codes, *edges, strict=True):
        own = spans.get((network, station, location or ""), [])
        inside.append(any(low <= start and end <= high for low, high in own))
    kept = table.filter(pa.array(inside, pa.bool_()))
    why = Counter({"given, but not within a station-day that is picked": len(inside) - sum(inside)})
    return kept, +why


def _read_windows(path: Path) -> pa.Table:
    if path.suffix.lower() == ".parquet":
        try:
            table = pq.read_table(path)
            for name in NOISE_COLUMNS:
                if name not in table.column_names:
                    raise InputError(f"noise.windows {path}: no column {name!r}; {NOISE_COLUMNS}")
            location = pc.fill_null(table["location"].cast(pa.string()), "")
            table = table.set_column(table.column_names.index("location"), "location", location)
            times = NOISE_SCHEMA.field("start").type
            for name in ("start", "end"):
                k = table.column_names.index(name)
                table = table.set_column(k, name, table[name].cast(times))
            return table
        except (OSError, pa.ArrowException) as error:
            raise InputError(f"noise.windows {path}: {error}") from error
    names = {name: (name,) for name in (*NOISE_COLUMNS, "band")}
    rows = [
        {
            "network": station_code(row["network"]),
            "station": station_code(row["station"]),
            "location": location_code(row["location"]),
            "band": row["band"] or None,
            **{name: instant(row[name], name, where) for name in ("start", "end")},
        }
        for where, row in rows_of(path, names, ("network", "station", "start", "end"))
    ]
    table = pa.Table.from_pylist(rows, NOISE_SCHEMA).drop_columns("energy_ratio")
    return table.drop_columns("band") if table["band"].null_count else table


def _of_bands(picks: pa.Table, windows: pa.Table) -> pa.Table:
    """Picks on the bands that the windows were looked for on, where those are known."""
    if "band" not in windows.column_names:
        return picks
    names = ("network", "station", "location", "band")
    keys = [
        pc.binary_join_element_wise(*(table[name].cast(pa.string()) for name in names), ".")
        for table in (picks, windows)
    ]
    return picks.filter(pc.is_in(keys[0], pc.unique(keys[1])))


def _thresholds(
    picks: pa.Table, windows: pa.Table, target: float, evaluation: Evaluation, floor: float
) -> pa.Table:
    """THRESHOLD_SCHEMA; nulls where more picks than the target allows have probability 1."""
    rows = []
    for candidate in evaluation.names:
        own = picks.filter(pc.field("candidate") == candidate)
        for phase in PHASES:
            of_phase = own.filter(pc.field("phase") == phase)
            where = {"candidate": candidate, "phase": phase, "target_per_hour": target}
            try:
                solved = thresholds_at(of_phase, windows, {phase: target}, (candidate,), floor)
            except ValueError:  # even a threshold of 1 leaves too many
                rows.append(where)
                continue
            threshold = solved.at(candidate, phase)
            at = rates(
                of_phase, windows, (threshold,), (candidate,), seed=evaluation.seed,
                replicates=evaluation.replicates,
            ).filter(pc.field("phase") == phase)  # fmt: skip
            [row] = at.to_pylist()
            facts = where | {"at_floor": threshold == floor}
            rows.append(facts | {n: row[n] for n in THRESHOLD_SCHEMA.names if n in row})
    return pa.Table.from_pylist(rows, THRESHOLD_SCHEMA)
