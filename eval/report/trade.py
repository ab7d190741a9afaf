"""Recall against false picks: the trade that every threshold makes, and both against thresholds."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from catalog.schema import PHASES
from eval.noise import RATE_SCHEMA
from eval.oracle import ORACLE_SCHEMA
from eval.report.curves import curves
from eval.report.leaderboard import rate_interval
from eval.report.panels import Line, lines
from eval.report.rows import (
    Row,
    code,
    counted,
    distinct,
    first,
    from_source,
    interval,
    of,
    quote,
    rows_of,
    sources,
)
from eval.report.section import Figures, Grid, Panel, Part, Section, Subject, Words, missing
from eval.reviewed import CURVE_SCHEMA
from eval.strata import ALL
from eval.thresholds import named

_LEAD = (
    "Few false picks mean nothing without the recall they leave: a candidate that picks nothing "
    "makes none. Compare at equal recall, that is along a horizontal line. On labelled traces a "
    "pick counts within 1 s of the label: told where to look, a curve that is high everywhere is "
    "high there. Rings are the thresholds that the leaderboard judges at."
)


def trade(subject: Subject) -> Section:
    noise = list(of(rows_of(subject.tables, "noise_rates", RATE_SCHEMA), station=ALL))
    parts: list[Part] = []
    for title, rows, recall in _recalls(subject):
        panels = []
        if noise:
            joined = _joined(rows, recall, noise)
            panels += [_against_noise(subject, title, phase, joined) for phase in PHASES]
        panels += [_against_threshold(subject, title, phase, rows, recall) for phase in PHASES]
        shown = subject.in_order(distinct(rows, "candidate"))
        parts.append(Figures([panel for panel in panels if panel], shown))
        if noise:
            parts += [_at_equal_recall(subject, title, rows, recall, noise)]
        parts.append(_numbers(subject, title, rows, recall, noise))
    if not parts:
        parts = [missing(subject, "oracle"), missing(subject, "continuous_curve")]
    if not noise:
        parts.append(missing(subject, "noise_rates"))
    return Section("trade", "Recall against false picks", _LEAD, parts)


def _recalls(subject: Subject) -> list[tuple[str, list[Row], str]]:
    """(name, rows with candidate, phase and threshold, their column of recall) of each truth."""
    found = []
    oracle = [
        row
        for row in of(rows_of(subject.tables, "oracle", ORACLE_SCHEMA), stratum=ALL)
        if row.known("threshold") and row["metric"] == f"recall_1.0s_{named(row['threshold'])}"
    ]
    for source in sources(oracle):
        name = ", ".join(("labelled traces within 1 s", *source))
        found.append((name, from_source(oracle, source), "value"))
    curve = rows_of(subject.tables, "continuous_curve", CURVE_SCHEMA)
    for source in sources(curve):
        name = ", ".join(("continuous days", *source))
        found.append((name, from_source(curve, source), "recall"))
    return found


def _joined(rows: Sequence[Row], recall: str, noise: Sequence[Row]) -> list[tuple[Row, Row]]:
    """(recall, false picks) at thresholds that both tables have."""
    pairs = []
    for row in sorted(rows, key=lambda row: row["threshold"]):
        same = {name: row[name] for name in ("candidate", "phase", "threshold")}
        false = first(noise, **same)
        if false is not None and row.known(recall):
            pairs.append((row, false))
    return pairs


def _against_noise(
    subject: Subject, title: str, phase: str, joined: Sequence[tuple[Row, Row]]
) -> Panel | None:
    own = [(row, false) for row, false in joined if row["phase"] == phase]
    if not own:
        return None
    column = "recall" if "recall" in own[0][0].values else "value"
    series = []
    for candidate in subject.in_order(distinct([row for row, _ in own], "candidate")):
        points = [(f["value"], r[column], r) for r, f in own if r["candidate"] == candidate]
        series.append(
            Line(
                subject.rank(candidate),
                [x for x, _, _ in points],
                [y for _, y, _ in points],
                judged=[(x, y) for x, y, r in points if r["threshold"] == subject.threshold],
            )
        )
    positive = [f["value"] for _, f in own if f["value"] > 0]
    svg = lines(
        series,
        f"{phase} recall on {title} against false {phase} picks per station-hour of noise; the "
        "numbers stand in the table below",
        f"false {phase} picks per station-hour",
        f"{phase} recall",
        least=min(positive, default=1.0),
    )
    return Panel(f"{phase}: recall on {title} against false picks on noise", svg)


def _against_threshold(
    subject: Subject, title: str, phase: str, rows: Sequence[Row], recall: str
) -> Panel | None:
    own = sorted(
        (row for row in rows if row["phase"] == phase and row.known(recall)),
        key=lambda row: row["threshold"],
    )
    if not own:
        return None
    svg = lines(
        curves(subject, own, "threshold", recall),
        f"{phase} recall on {title} against the threshold, with intervals where there are any",
        "threshold",
        f"{phase} recall",
    )
    return Panel(f"{phase}: recall on {title} against the threshold", svg)


def _at_equal_recall(
    subject: Subject, title: str, rows: Sequence[Row], recall: str, noise: Sequence[Row]
) -> Part:
    """False picks where each candidate has at least the baseline's recall."""
    body = []
    for phase in PHASES:
        base = first(rows, candidate=subject.baseline, phase=phase, threshold=subject.threshold)
        if base is None or not base.known(recall):
            continue
        for candidate in subject.in_order(distinct(rows, "candidate")):
            own = [
                (row, false)
                for row, false in _joined(list(of(rows, candidate=candidate)), recall, noise)
                if row["phase"] == phase
            ]
            enough = [(row, false) for row, false in own if row[recall] >= base[recall]]
            name = Markup("{} {}").format(code(candidate), phase)
            if enough:
                row, false = max(enough, key=lambda pair: float(pair[0]["threshold"]))
                at = Markup("<b>{}</b>{}{}").format(
                    quote(false, "value", "rate"),
                    rate_interval(false),
                    counted(false, "count", Markup("in"), "hours", Markup("h")),
                )
                body.append(
                    [name, quote(row, "threshold", "probability"), quote(row, recall, "share"), at]
                )
            else:
                known = [
                    row for row in of(rows, candidate=candidate, phase=phase) if row.known(recall)
                ]
                best = max(known, key=lambda row: float(row[recall]), default=None)
                most = quote(best, recall, "share") if best else "unknown"
                body.append(
                    [
                        name,
                        Markup('<span class="undefined">none</span>'),
                        Markup("at most {}").format(most),
                        Markup('<span class="undefined">never has the baseline\'s recall</span>'),
                    ]
                )
    if not body:
        return Words(
            [
                "The baseline's recall at its threshold is not known: false picks cannot be "
                "compared at equal recall."
            ]
        )
    return Grid(
        Markup("At equal recall on {}: the highest threshold of the tables at which a candidate "
               "has at least the recall of {} at {}, and its false picks there").format(
            title, code(subject.baseline), f"{subject.threshold:g}"
        ),
        ("candidate, phase", "threshold", "recall there", "false picks per station-hour"),
        body,
    )  # fmt: skip


def _numbers(
    subject: Subject, title: str, rows: Sequence[Row], recall: str, noise: Sequence[Row]
) -> Grid:
    body = []
    ordered = sorted(
        rows, key=lambda row: (subject.rank(row["candidate"]), row["phase"], row["threshold"])
    )
    for row in ordered:
        same = {name: row[name] for name in ("candidate", "phase", "threshold")}
        false = first(noise, **same)
        n = (
            ("count", Markup("of"), "n")
            if "n" in row.values
            else ("matched", Markup("of"), "arrivals")
        )
        body.append(
            [
                Markup("{} {}").format(code(row["candidate"]), row["phase"]),
                quote(row, "threshold", "probability"),
                Markup("<b>{}</b>{}{}").format(
                    quote(row, recall, "share"),
                    interval(row, "share") if "low" in row.values else "",
                    counted(row, *n),
                ),
                Markup("{}{}").format(quote(false, "value", "rate"), rate_interval(false))
                if false
                else Markup('<span class="undefined">not measured</span>'),
            ]
        )
    return Grid(
        f"Recall on {title} and false picks at every threshold",
        ("candidate, phase", "threshold", "recall", "false picks per station-hour"),
        body,
        folded=True,
    )
