"""Labelled traces bin by bin: residuals, recall beside timing, what the bins are made of."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from catalog.schema import PHASES
from eval.oracle import COMPOSITION_SCHEMA, ORACLE_SCHEMA
from eval.report.panels import Dot, dots, histogram
from eval.report.rows import (
    UNDEFINED,
    Row,
    code,
    distinct,
    estimate,
    first,
    from_source,
    of,
    quote,
    rows_of,
    sources,
)
from eval.report.section import Figures, Grid, Panel, Part, Section, Subject, Words, missing
from eval.report.tasks import tasks
from eval.residuals import RESIDUAL_BINS_SCHEMA
from eval.strata import ALL, UNKNOWN, bin_order
from eval.thresholds import named
from eval.unread import UNREAD_SCHEMA

STRATA = {
    "dist_bin": "distance",
    "depth_bin": "depth",
    "mag_bin": "magnitude",
    "snr_bin": "signal to noise",
    "dataset": "data set",
}


def timing_section(subject: Subject) -> Section:
    traces = rows_of(subject.tables, "residual_bins", RESIDUAL_BINS_SCHEMA)
    days = rows_of(subject.tables, "residual_bins_days", RESIDUAL_BINS_SCHEMA)
    parts: list[Part] = []
    if traces:
        parts += _histograms(subject, "labelled traces", "label", traces)
    else:
        parts.append(missing(subject, "residual_bins"))
    if days:
        parts += _histograms(subject, "continuous days", "arrival", days)
    return Section(
        "timing",
        "Residuals by distance",
        "Pick minus label or arrival, at each candidate's threshold. Each curve is "
        "scaled by its own count, which stands in the table: a narrow curve of few picks is no "
        "better than a wide one of many.",
        parts,
    )


def _histograms(subject: Subject, of_what: str, label: str, rows: Sequence[Row]) -> list[Part]:
    candidates = subject.in_order(distinct(rows, "candidate"))
    panels, body = [], []
    for phase in PHASES:
        for name in sorted(distinct(rows, "bin"), key=bin_order):
            own = list(of(rows, phase=phase, bin=name))
            inner = [row for row in own if row.known("from_s") and row.known("to_s")]
            shares = {}
            for candidate in candidates:
                steps = list(of(inner, candidate=candidate))
                ends = [r for r in of(own, candidate=candidate) if r not in steps]
                if not steps:
                    continue
                early = next((r for r in ends if not r.known("from_s")), None)
                late = next((r for r in ends if not r.known("to_s")), None)
                body.append(
                    [
                        Markup("{} {} {}").format(code(candidate), phase, name),
                        quote(steps[0], "n", "count"),
                        quote(early, "count", "count") if early else "",
                        quote(late, "count", "count") if late else "",
                    ]
                )
                if steps[0]["n"]:
                    shares[subject.rank(candidate)] = [r["count"] / r["n"] for r in steps]
            if not shares:
                continue
            edges = [r["from_s"] for r in of(inner, candidate=inner[0]["candidate"])]
            edges.append(inner[len(edges) - 1]["to_s"])
            svg = histogram(
                edges,
                shares,
                f"Histogram of {phase} residuals, {of_what}, {name}, of {len(shares)} candidates",
                f"{phase} pick minus {label} (s)",
            )
            where = "distance unknown" if name == UNKNOWN else name
            panels.append(Panel(f"{phase}, {of_what}, {where}", svg))
    reach = max(row["from_s"] for row in rows if row.known("from_s"))
    return [
        Figures(panels, candidates),
        Grid(
            f"Counts behind the histograms of {of_what}",
            (
                "candidate, phase, bin",
                "picks",
                f"earlier than {reach:.3g} s",
                f"later than {reach:.3g} s",
            ),
            body,
            folded=True,
        ),
    ]


def strata_section(subject: Subject) -> Section:
    oracle = rows_of(subject.tables, "oracle", ORACLE_SCHEMA)
    composition = rows_of(subject.tables, "composition", COMPOSITION_SCHEMA)
    parts: list[Part] = []
    for source in sources(oracle):
        rows = from_source(oracle, source)
        made = from_source(composition, source)
        pooled = list(of(made, stratum=ALL))
        if pooled:
            parts.append(_made_of(subject, "the labelled traces", "", pooled))
        for stratum in distinct(rows, "stratum"):
            if stratum != ALL:
                parts += _stratum(subject, source, stratum, rows, made)
        parts += _phase_id(subject, rows)
    if not oracle:
        parts.append(missing(subject, "oracle"))
    if not composition:
        parts.append(missing(subject, "composition"))
    if not_run := rows_of(subject.tables, "unread", UNREAD_SCHEMA):
        parts.append(_unread(not_run))
    parts += tasks(subject)
    return Section(
        "strata",
        "Bin by bin",
        "What a bin cannot support is undefined, never 0. Recall and timing of a bin stand side by "
        "side; what the bin is made of stands beneath.",
        parts,
    )


def _stratum(
    subject: Subject,
    source: tuple[str, ...],
    stratum: str,
    oracle: Sequence[Row],
    composition: Sequence[Row],
) -> list[Part]:
    rows = list(of(oracle, stratum=stratum))
    made = list(of(composition, stratum=stratum))
    names = sorted(distinct(rows, "bin"), key=bin_order)
    candidates = subject.in_order(distinct(rows, "candidate"))
    title = STRATA.get(stratum, stratum)
    if names == [UNKNOWN]:
        return [Words([f"The {title} of no trace is known: there are no bins of it."])]
    if len(names) == 1:
        return [Words([f"All traces are in one bin of {title}: {names[0]}."])]
    panels, body = [], []
    for phase in PHASES:
        shown = {
            f"{phase} recall": ("share", "recall_1.0s_", f"{phase} recall within 1.0 s"),
            f"{phase} MAE": ("seconds", "mae_cond_", f"{phase} MAE of detected (s)"),
        }
        for label, (_, start, axis) in shown.items():
            bins = {}
            for name in names:
                bins[name] = [
                    Dot(subject.rank(c), row["value"], row["low"], row["high"])
                    for c in candidates
                    if (row := _metric(rows, c, name, phase, start)) is not None
                ]
            bins = {name: each for name, each in bins.items() if each}
            if bins:
                svg = dots(
                    bins,
                    f"{axis} of each candidate in each bin of {title}",
                    axis,
                    limits=(0.0, 1.0) if "recall" in label else None,
                )
                panels.append(Panel(f"{title}: {axis}", svg))
    for name in names:
        for candidate in candidates:
            for phase in PHASES:
                recall = _recall(rows, candidate, name, phase)
                if recall is None:
                    continue
                cells = [
                    _metric(rows, candidate, name, phase, start)
                    for start in ("recall_1.0s_", "mae_cond_", "out_gt1.0s_cond")
                ]
                body.append(
                    [
                        Markup("{} {} {}").format(name, code(candidate), phase),
                        estimate(recall, "share"),
                        *(estimate(cell, "share") for cell in cells),
                    ]
                )
    where = Markup(" ({})").format(Markup(", ").join(map(code, source))) if source else ""
    parts: list[Part] = [Figures(panels, candidates)]
    if made:
        parts.append(_made_of(subject, f"the bins of {title}", where, made))
    parts.append(
        Grid(
            Markup("By {}{}, in numbers").format(title, where),
            (
                "bin, candidate, phase",
                "recall",
                "recall within 1.0 s",
                "MAE of detected (s)",
                "outliers > 1.0 s of detected",
            ),
            body,
            folded=True,
        )
    )
    return parts


def _metric(rows: Sequence[Row], candidate: str, name: str, phase: str, start: str) -> Row | None:
    """The first is the one at the threshold that the candidate is judged at."""
    return next(
        (
            row
            for row in of(rows, candidate=candidate, bin=name, phase=phase)
            if row["metric"].startswith(start)
        ),
        None,
    )


def _recall(rows: Sequence[Row], candidate: str, name: str, phase: str) -> Row | None:
    """Recall at the threshold that timing is judged at."""
    timed = _metric(rows, candidate, name, phase, "mae_cond_")
    if timed is None:
        return None
    metric = f"recall_{named(timed['threshold'])}"
    return first(rows, candidate=candidate, bin=name, phase=phase, metric=metric)


def _made_of(subject: Subject, title: str, where: str | Markup, made: Sequence[Row]) -> Grid:
    """One line a bin where all candidates were run on the same traces, else one for each."""
    columns = ("traces", "not_read", "labelled_P", "labelled_S", "events", "stations", "datasets")
    same = len({tuple(r[c] for c in ("bin", *columns)) for r in made}) == len(distinct(made, "bin"))
    chosen = made
    if same:
        chosen = [row for name in distinct(made, "bin") if (row := first(made, bin=name))]
    body = []
    for row in sorted(chosen, key=lambda row: bin_order(row["bin"])):
        name = row["bin"] if same else Markup("{} {}").format(row["bin"], code(row["candidate"]))
        body.append(
            [
                name,
                quote(row, "traces", "count"),
                quote(row, "not_read", "count"),
                _labels(row, "labelled_P"),
                _labels(row, "labelled_S"),
                quote(row, "events", "count"),
                quote(row, "stations", "count"),
                row["datasets"] or "",
            ]
        )
    return Grid(
        Markup("What {}{} are made of{}").format(
            title, where, ", for every candidate alike" if same else ""
        ),
        ("bin", "traces", "not read", "P labels", "S labels", "events", "stations", "data sets"),
        body,
    )


def _unread(rows: Sequence[Row]) -> Grid:
    body = [
        [
            Markup("{} {}").format(code(row["outcome"]), row["dataset"]),
            quote(row, "traces", "count"),
            row["candidates"],
            Markup("{}: {}").format(code(row["example"]), row["why"]),
        ]
        for row in rows
    ]
    return Grid(
        "Labelled traces that could not be run: in no figure, and never taken for noise",
        ("outcome, data set", "traces", "for", "the first of them, and why"),
        body,
    )


def _labels(row: Row, column: str) -> Markup:
    count = quote(row, column, "count")
    return count if row[column] else Markup("{} {}").format(count, UNDEFINED)


def _phase_id(subject: Subject, rows: Sequence[Row]) -> list[Part]:
    own = list(of(rows, stratum=ALL, metric="mcc_phase_id"))
    if not own:
        return []
    ordered = sorted(own, key=lambda row: subject.rank(row["candidate"]))
    body = [[code(row["candidate"]), estimate(row, "share")] for row in ordered]
    return [
        Grid(
            Markup(
                "<code>mcc_phase_id</code>: does P's probability exceed S's where both are "
                "labelled? It knows no negatives, and a candidate without any S recall can score "
                "near 1: it ranks nobody"
            ),
            ("candidate", "value"),
            body,
            folded=True,
        )
    ]
