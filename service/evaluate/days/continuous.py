"""`tidepick eval continuous`: picks of continuous days against the arrivals that analysts read.

Tables: `continuous` (recall, lower bounds of precision and F1, MAE, by tolerance, station and
signal to noise), `continuous_curve` (over thresholds), `extras` (picks no arrival explains),
`residuals` (matched pairs), `calibration` and `reliability`, `audit` (what the reviewers said),
`support` (extras in events), `shift`, `shift_movement` and `shift_left_out` (the same samples under
other windows), `arrivals_left_out`.
Where the truth is complete, `complete` has precision, F1 and false picks per station-hour.

Where it is not, only the stations that the arrivals name are judged: at another station every pick
would be an extra, because nobody looked.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.console import Console

from catalog.errors import Refusal
from catalog.schema import PHASES
from eval.calibration import calibration, reliability
from eval.continuous import matched
from eval.continuous import score as score_complete
from eval.metrics import within
from eval.reviewed import curve, judged_picks, score
from eval.shift import movement
from eval.thresholds import picks_at
from service.evaluate.config import Continuous, Evaluation, load_evaluation
from service.evaluate.days.association import support
from service.evaluate.days.audit import draw_sheet, read_back
from service.evaluate.days.curves import thresholds_of
from service.evaluate.days.shifts import shifts_of
from service.evaluate.days.station_days import StationDays
from service.evaluate.days.truth import truth_on
from service.evaluate.pieces import Workbench
from service.evaluate.read.arrivals import read_arrivals
from service.evaluate.read.events import read_sites
from service.evaluate.shown import show
from service.evaluate.tables import keep

LEFT_OUT_SCHEMA = pa.schema([("why", pa.string()), ("count", pa.int64())])

COMPLETE_METRICS = ("recall", "precision", "f1", "false_picks_per_station_hour")

COMPLETE_SCHEMA = pa.schema(
    [
        ("candidate", pa.string()),
        ("phase", pa.string()),  # P, S, or P+S: both pooled
        ("metric", pa.string()),  # recall_0.5s, precision_0.5s, f1_0.5s...
        ("tolerance_s", pa.float64()),
        ("value", pa.float64()),
        ("low", pa.float64()),  # as if all picks and arrivals were independent
        ("high", pa.float64()),
        ("arrivals", pa.int64()),
        ("picks", pa.int64()),
        ("matched", pa.int64()),
        ("station_hours", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What is judged: stored picks of the days, arrivals in their data, and what was left out.

    tolerance_s: the one that extras and calibration are told at.
    """

    settings: Continuous
    days: StationDays
    picks: pa.Table
    arrivals: pa.Table
    left_out: Counter[str]
    moved: int
    tolerance_s: float

    @classmethod
    def of(cls, evaluation: Evaluation, path: Path, bench: Workbench) -> Judged:
        """Raises Refusal."""
        settings = evaluation.continuous
        if settings is None:
            raise Refusal(f"evaluation {path}: continuous: missing; name catalog and arrivals")
        days = StationDays.open(settings.catalog, evaluation.candidate, "continuous")
        days.check_threshold(evaluation.threshold)
        read = read_arrivals(settings.arrivals)
        if not settings.complete:
            names = (read.table[name].to_pylist() for name in ("network", "station"))
            days = days.only(set(zip(*names, strict=True)))
        truth = truth_on(days, read, bench if settings.waveforms else None)
        if not truth.arrivals.num_rows:
            raise Refusal(
                f"continuous: no arrival is on picked data: {dict(truth.left_out)}; give arrivals "
                f"of the stations and days of {settings.catalog}"
            )
        tolerances = settings.tolerances_s
        tolerance = 0.5 if 0.5 in tolerances else max(tolerances)
        return cls(
            settings, days, days.picks(), truth.arrivals, truth.left_out, truth.moved, tolerance
        )


def eval_continuous(options: argparse.Namespace, out: Console) -> int:
    """Returns 1 where a station-day could not be looked at because its worker died."""
    evaluation = load_evaluation(options.evaluation)
    with redirect_stdout(sys.stderr if options.json else sys.stdout):  # Ray writes there
        console = Console(stderr=True) if options.json else out
        bench = Workbench.of(evaluation, console, options.address)
        judged = Judged.of(evaluation, options.evaluation, bench)
        tables = continuous_tables(evaluation, judged, bench)
    for name, table in tables.items():
        keep(Path(evaluation.out), name, table)
    facts = {
        "station-days": judged.days.table.num_rows,
        "hours": round(judged.days.hours["hours"][0].as_py(), 3),
        "arrivals": judged.arrivals.num_rows,
        "arrivals given the location of the data": judged.moved,
    }
    small = {
        name: table
        for name, table in tables.items()
        if name not in ("extras", "residuals", "shift")
    }
    shown = small if options.json else _shown(tables, judged.tolerance_s)
    show(out, options.json, shown, facts)
    return bench.tell_unfinished()


def eval_audit(options: argparse.Namespace, out: Console) -> int:
    """Draws the sheet; none where a station-day could not be looked at, for its extras lack."""
    evaluation = load_evaluation(options.evaluation)
    with redirect_stdout(sys.stderr if options.json else sys.stdout):
        console = Console(stderr=True) if options.json else out
        bench = Workbench.of(evaluation, console, options.address)
        judged = Judged.of(evaluation, options.evaluation, bench)
    if code := bench.tell_unfinished():
        return code
    _, extras = _at_threshold(evaluation, judged)
    folder = Path(evaluation.out)
    path = draw_sheet(extras, options.draw, folder, evaluation.seed)
    facts = {
        "sheet": str(path),
        "next": f'write real, false or unsure under answer; reviewed = "{path}" in [continuous]',
    }
    show(out, options.json, {}, facts)
    return 0


def continuous_tables(
    evaluation: Evaluation, judged: Judged, bench: Workbench
) -> dict[str, pa.Table]:
    """All tables by name. Raises Refusal."""
    settings, days, arrivals = judged.settings, judged.days, judged.arrivals
    names, seed, replicates = evaluation.names, evaluation.seed, evaluation.replicates
    tolerance = judged.tolerance_s
    at, extras = _at_threshold(evaluation, judged)
    standing = at.drop_columns("matched")
    stored = judged_picks(picks_at(judged.picks, days.floor), arrivals, tolerance)
    tables = {
        "continuous": score(
            standing, arrivals, settings.tolerances_s, candidates=names, seed=seed,
            replicates=replicates,
        ),
        "continuous_curve": curve(
            judged.picks, arrivals, thresholds_of(days.floor, evaluation.threshold), tolerance,
            names,
        ),
        "extras": extras,
        "residuals": matched(standing, arrivals, max(settings.tolerances_s)),
        "calibration": calibration(stored, names, seed=seed, replicates=replicates),
        "reliability": reliability(stored, seed=seed, replicates=replicates),
        "support": support(
            at, ~at["matched"].to_numpy(),
            read_sites(settings.stations) if settings.stations else None, names, seed=seed,
            replicates=replicates,
        ),
        "arrivals_left_out": _left_out(judged.left_out),
    }  # fmt: skip
    if settings.shifts:
        shifts, why = shifts_of(days, arrivals, evaluation.candidate, settings.shifts, seed, bench)
        tables["shift"], tables["shift_left_out"] = shifts, _left_out(why)
        tables["shift_movement"] = movement(shifts, evaluation.threshold, names)
    if settings.complete:
        tables["complete"] = _complete(standing, judged, names)
    if settings.reviewed is not None:
        counts = {
            (candidate, phase): at.filter(
                (pc.field("candidate") == candidate)
                & (pc.field("phase") == phase)
                & pc.field("matched")
            ).num_rows
            for candidate in names
            for phase in PHASES
        }
        tables["audit"] = read_back(
            Path(settings.reviewed), Path(evaluation.out), extras, counts, tolerance, names
        )
    return tables


def _left_out(why: Counter[str]) -> pa.Table:
    rows = [{"why": each, "count": n} for each, n in sorted(why.items())]
    return pa.Table.from_pylist(rows, LEFT_OUT_SCHEMA)


def _at_threshold(evaluation: Evaluation, judged: Judged) -> tuple[pa.Table, pa.Table]:
    """Picks at the evaluation's threshold with `matched`, and those that are extra."""
    standing = picks_at(judged.picks, evaluation.threshold)
    at = judged_picks(standing, judged.arrivals, judged.tolerance_s)
    return at, at.filter(pc.invert(at["matched"])).drop_columns("matched")


def _complete(picks: pa.Table, judged: Judged, names: Sequence[str]) -> pa.Table:
    rows = []
    for tolerance in judged.settings.tolerances_s:
        scores = score_complete(picks, judged.arrivals, judged.days.hours, tolerance, names)
        for row in scores.to_pylist():
            counts = {name: row[name] for name in COMPLETE_SCHEMA.names if name in row}
            for metric in (within(name, tolerance) for name in COMPLETE_METRICS):
                ends = zip(("value", "low", "high"), ("", "_low", "_high"), strict=True)
                figures = {name: row[f"{metric}{end}"] for name, end in ends}
                none = {k: None if np.isnan(v) else v for k, v in figures.items()}
                rows.append(counts | none | {"metric": metric})
    return pa.Table.from_pylist(rows, COMPLETE_SCHEMA)


def _shown(tables: dict[str, pa.Table], tolerance_s: float) -> dict[str, pa.Table]:
    figures = ["value", "low", "high"]
    whole = tables["continuous"].filter(
        (pc.field("stratum") == "all") & (pc.field("tolerance_s") == tolerance_s)
    )
    shown = {
        "against the arrivals": whole.select(
            ["candidate", "phase", "metric", *figures, "n", "matched", "extra"]
        ),
        "calibration": tables["calibration"].select(
            ["candidate", "phase", "metric", *figures, "n"]
        ),
        "extras in events": tables["support"].select(
            ["candidate", "phase", *figures, "n", "detail"]
        ),
    }
    if "complete" in tables:
        here = tables["complete"].filter(pc.field("tolerance_s") == tolerance_s)
        shown["complete truth"] = here.select(
            ["candidate", "phase", "metric", *figures, "arrivals", "picks", "matched"]
        )
    if "audit" in tables:
        shown["audit"] = tables["audit"].select(
            ["candidate", "phase", "metric", *figures, "extras", "answered", "unsure"]
        )
    if "shift_movement" in tables:
        shown["under other windows"] = tables["shift_movement"]
        shown["not picked under other windows"] = tables["shift_left_out"]
    shown["arrivals left out"] = tables["arrivals_left_out"]
    return shown
