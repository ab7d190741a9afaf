"""Continuous days: recall, bounds and extras by tolerance and station; calibration."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc
from markupsafe import Markup

from catalog.schema import PHASES
from eval.calibration import CALIBRATION_SCHEMA, RELIABILITY_SCHEMA
from eval.report.curves import curves
from eval.report.leaderboard import told_at
from eval.report.panels import Dot, diagonal, dots
from eval.report.rows import (
    Row,
    code,
    counted,
    distinct,
    estimate,
    first,
    from_source,
    of,
    quote,
    rows_of,
    sources,
)
from eval.report.section import (
    Figures,
    Grid,
    Panel,
    Part,
    Section,
    Subject,
    Words,
    missing,
    plain_grid,
)
from eval.reviewed import REVIEWED_SCHEMA
from eval.strata import ALL, bin_order

_MORE = {
    "audit": "What reviewers said of a sample of the extras, and the precision that follows",
    "support": "Extras that association across stations puts into an event: a proxy, no proof",
    "shift_movement": "The same arrivals under windows that begin elsewhere: how picks move",
    "arrivals_left_out": "Arrivals that were not judged, and why",
}


def days_section(subject: Subject) -> Section:
    rows = rows_of(subject.tables, "continuous", REVIEWED_SCHEMA)
    parts: list[Part] = []
    for source in sources(rows):
        own = from_source(rows, source)
        parts.append(_by_tolerance(subject, source, own))
        for stratum in distinct(own, "stratum"):
            if stratum != ALL:
                parts += _stratum(subject, stratum, own)
    if not rows:
        parts.append(missing(subject, "continuous"))
    extras = subject.tables.get("extras")
    parts.append(_extras(extras) if extras is not None else missing(subject, "extras"))
    complete = subject.rows("complete")
    if complete:
        parts.append(plain_grid("Against complete truth, P, S and both", complete, folded=True))
    elif not subject.rows("audit"):
        parts.append(missing(subject, "audit"))
    for name, caption in _MORE.items():
        if found := subject.rows(name):
            why = {row.values.get("detail") for row in found}
            if name == "support" and len(why) == 1 and not any(r.known("value") for r in found):
                parts.append(Words([f"Extras were not associated across stations: {why.pop()}."]))
            else:
                parts.append(plain_grid(caption, found))
    return Section(
        "days",
        "Continuous days",
        "A pick matches at most one arrival of its station and phase, and the matching finds most "
        "pairs, then the closest. A pick without an arrival is an extra: false only where every "
        "arrival is known.",
        parts,
    )


def _by_tolerance(subject: Subject, source: tuple[str, ...], rows: Sequence[Row]) -> Grid:
    pooled = list(of(rows, stratum=ALL))
    metrics = list(dict.fromkeys(row["metric"].rpartition("_")[0] for row in pooled))
    body = []
    for candidate in subject.in_order(distinct(pooled, "candidate")):
        for phase in PHASES:
            for tolerance in distinct(pooled, "tolerance_s"):
                own = {
                    row["metric"].rpartition("_")[0]: row
                    for row in of(pooled, candidate=candidate, phase=phase, tolerance_s=tolerance)
                }
                body.append(
                    [
                        Markup("{} {} within {:g} s").format(code(candidate), phase, tolerance),
                        *(estimate(own.get(metric), "share") for metric in metrics),
                        counted(own["recall"], "matched") if "recall" in own else "",
                        counted(own["recall"], "extra") if "recall" in own else "",
                    ]
                )
    where = Markup(" ({})").format(Markup(", ").join(map(code, source))) if source else ""
    least = "" if subject.rows("complete") else ", at least"
    head = [metric.replace("_lower", least).replace("mae", "MAE (s)") for metric in metrics]
    return Grid(
        Markup("How much the tolerance decides{}").format(where),
        ("candidate, phase, tolerance", *head, "matched", "extra"),
        body,
        folded=True,
    )


def _stratum(subject: Subject, stratum: str, rows: Sequence[Row]) -> list[Part]:
    tolerance = told_at(rows)
    own = list(of(rows, stratum=stratum, tolerance_s=tolerance))
    candidates = subject.in_order(distinct(own, "candidate"))
    title = {"snr_bin": "signal to noise"}.get(stratum, stratum)
    panels = []
    for phase in PHASES:
        for start, label, limits in (
            ("recall_", "recall", (0.0, 1.0)),
            ("mae_", "MAE of matched (s)", None),
        ):
            bins: dict[str, list[Dot]] = {}
            chosen = [row for row in of(own, phase=phase) if row["metric"].startswith(start)]
            for row in sorted(
                chosen, key=lambda row: (bin_order(row["bin"]), subject.rank(row["candidate"]))
            ):
                bins.setdefault(row["bin"], []).append(
                    Dot(subject.rank(row["candidate"]), row["value"], row["low"], row["high"])
                )
            bins = dict(list(bins.items())[:30])
            if bins:
                svg = dots(bins, f"{phase} {label} by {title}", f"{phase} {label}", limits=limits)
                panels.append(Panel(f"{phase} {label} by {title}, within {tolerance:g} s", svg))
    body = [
        [
            Markup("{} {} {}").format(row["bin"], code(row["candidate"]), row["phase"]),
            code(row["metric"]),
            estimate(row, "share"),
        ]
        for row in own
    ]
    numbers = Grid(
        f"By {title}, in numbers",
        ("bin, candidate, phase", "metric", "value"),
        body,
        folded=True,
    )
    return [Figures(panels, candidates), numbers]


def _extras(extras: pa.Table) -> Part:
    if "candidate" not in extras.column_names or "phase" not in extras.column_names:
        raise ValueError("table 'extras': no column 'candidate' or 'phase'; make it anew")
    plain = pa.table({name: extras[name].cast(pa.string()) for name in ("candidate", "phase")})
    counts = plain.group_by(["candidate", "phase"]).aggregate([([], "count_all")])
    counts = counts.sort_by([("candidate", "ascending"), ("phase", "ascending")])
    said = [
        Markup("{} {}: <b>{:,}</b> extras").format(
            code(row["candidate"]), row["phase"], row["count_all"]
        )
        for row in counts.to_pylist()
    ]
    total = pc.count(plain["phase"], mode="all").as_py()
    return Words(
        said or ["There is none."],
        Markup("Extras: {:,} picks that no arrival explains").format(total),
    )


def calibration_section(subject: Subject) -> Section:
    points = rows_of(subject.tables, "reliability", RELIABILITY_SCHEMA)
    errors = rows_of(subject.tables, "calibration", CALIBRATION_SCHEMA)
    parts: list[Part] = []
    if points:
        panels = [p for phase in PHASES if (p := _diagram(subject, phase, points))]
        parts.append(Figures(panels, subject.in_order(distinct(points, "candidate"))))
        body = [
            [
                Markup("{} {} {}\N{EN DASH}{}").format(
                    code(row["candidate"]),
                    row["phase"],
                    quote(row, "lowest", "probability"),
                    quote(row, "highest", "probability"),
                ),
                quote(row, "mean_probability", "share"),
                estimate(row, "share"),
            ]
            for row in points
        ]
        head = ("candidate, phase, probabilities", "mean probability", "share matched")
        parts.append(Grid("Reliability in numbers", head, body, folded=True))
    else:
        parts.append(missing(subject, "reliability"))
    if errors:
        metrics = distinct(errors, "metric")
        body = [
            [
                Markup("{} {}").format(code(candidate), phase),
                *(
                    estimate(first(errors, candidate=candidate, phase=phase, metric=each), "share")
                    for each in metrics
                ),
            ]
            for candidate in subject.in_order(distinct(errors, "candidate"))
            for phase in PHASES
        ]
        columns = ("candidate, phase", *map(code, metrics))
        parts.append(Grid("Calibration errors; 0 is perfect", columns, body))
    else:
        parts.append(missing(subject, "calibration"))
    return Section(
        "calibration",
        "Calibration",
        "Does a probability of 0.7 mean that 7 picks of 10 are right? On the dashed line it does. "
        "Where arrivals are not complete the shares are lower bounds; a low one proves nothing.",
        parts,
    )


def _diagram(subject: Subject, phase: str, points: Sequence[Row]) -> Panel | None:
    own = [row for row in of(points, phase=phase) if row.known("value")]
    if not own:
        return None
    svg = diagonal(
        curves(subject, own, "mean_probability", "value"),
        f"Share of {phase} picks matched against their mean probability, bins of equal counts",
        f"mean {phase} probability",
        "share matched",
    )
    return Panel(f"{phase}: reliability", svg)
