"""What the numbers rest on: splits and leakage, provenance, and what each name means."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow as pa
from markupsafe import Markup

from eval.leakage import FRACTION_SCHEMA
from eval.oracle import ORACLE_SCHEMA
from eval.report.definitions import METRICS, WORDS
from eval.report.rows import code, counted, estimate, first, interval, of, quote, rows_of
from eval.report.section import Grid, Part, Section, Subject, Words, missing
from eval.splits import OPENING_SCHEMA
from eval.strata import ALL

PROVENANCE_SCHEMA = pa.schema(
    [
        ("about", pa.string()),  # candidate `x`, benchmark `y`, software, evaluation
        ("name", pa.string()),  # weights sha256, engine, seed
        ("value", pa.string()),
    ]
)


def splits_section(subject: Subject) -> Section:
    leaks = rows_of(subject.tables, "leakage", FRACTION_SCHEMA)
    parts: list[Part] = []
    if leaks:
        body = [
            [
                Markup("{} {}").format(code(row["candidate"]), row["dataset"]),
                Markup("<b>{}</b>{}{}").format(
                    quote(row, "value", "share"),
                    interval(row, "share") if row.known("value") else "",
                    counted(row, "leaked", Markup("of"), "n", Markup("verified")),
                ),
                quote(row, "clean", "count"),
                quote(row, "unverifiable", "count"),
                quote(row, "unresolved", "count"),
                quote(row, "events", "count"),
                quote(row, "traces", "count"),
            ]
            for row in sorted(leaks, key=lambda row: (subject.rank(row["candidate"]), row.number))
        ]
        parts.append(
            Grid(
                "Share of the benchmark's events that a candidate was trained on. What cannot be "
                "verified is not called clean",
                (
                    "candidate, data set", "leaked", "clean events", "unverifiable",
                    "manifest entries not known", "events", "traces",
                ),
                body,
            )
        )  # fmt: skip
    else:
        parts.append(missing(subject, "leakage"))
    for name, what in _SELECTIONS.items():
        if name in subject.tables:
            parts.append(_again(subject, name, what))
    if "openings" in subject.tables:
        opened = rows_of(subject.tables, "openings", OPENING_SCHEMA)
        times = len(opened)
        said = f"The test split has been opened {times} time{'' if times == 1 else 's'}."
        parts.append(Words([said]))
        if opened:
            body = [[row["opened"], row["candidates"], row["why"]] for row in opened]
            parts.append(Grid("Every opening", ("opened (UTC)", "candidates", "why"), body))
    else:
        parts.append(missing(subject, "openings"))
    return Section(
        "splits",
        "Splits and leakage",
        "All traces of an event fall into one split, also across catalogues (2 s, 10 km). Each "
        "look at the test split makes its numbers a little less of a test.",
        parts,
    )


_SELECTIONS = {
    "oracle_without_label_errors": "without the traces whose labels are listed as wrong",
    "oracle_clean": "of traces that no candidate with a manifest was trained on",
}


def _again(subject: Subject, name: str, what: str) -> Grid:
    """Recall and timing beside those of all traces."""
    every = list(of(rows_of(subject.tables, "oracle", ORACLE_SCHEMA), stratum=ALL))
    body = []
    here = list(of(rows_of(subject.tables, name, ORACLE_SCHEMA), stratum=ALL))
    judged = {
        (row["candidate"], row["phase"], row["threshold"])
        for row in here
        if row["metric"].startswith("mae_cond_")
    }
    for row in here:
        at = row["candidate"], row["phase"], row["threshold"]
        if at in judged and row["metric"].startswith(("recall_1.0s_", "mae_cond_")):
            same = {c: row[c] for c in ("candidate", "phase", "metric")}
            body.append(
                [
                    Markup("{} {} {}").format(*map(code, same.values())),
                    estimate(first(every, **same), "share"),
                    estimate(row, "share"),
                ]
            )
    return Grid(
        f"Recall within 1.0 s and MAE {what}",
        ("candidate, phase, metric", "all traces", "these"),
        body,
    )


def provenance_section(subject: Subject) -> Section:
    rows = rows_of(subject.tables, "provenance", PROVENANCE_SCHEMA)
    body = [[Markup("{} {}").format(row["about"], row["name"]), code(row["value"])] for row in rows]
    parts: list[Part] = [
        Grid("", ("what", "value"), body) if rows else missing(subject, "provenance")
    ]
    return Section(
        "provenance",
        "Provenance",
        Markup(
            "What is needed to make these numbers again. The tables lie beside this page in "
            "<code>tables/</code>, as csv and parquet; every number of the page names its table, "
            "row and column there (<code>data-of</code>)."
        ),
        parts,
    )


def definitions_section(subject: Subject) -> Section:
    """The metrics that the tables name, and the words of the page."""
    used = sorted(_names(subject))
    lines: list[list[str | Markup]] = []
    for pattern, name, meaning in METRICS:
        shown = [metric for metric in used if re.fullmatch(pattern, metric)]
        if shown:
            lines.append([code(name), meaning, ", ".join(shown)])
    known = re.compile("|".join(f"(?:{pattern})" for pattern, _, _ in METRICS))
    for metric in used:
        if not known.fullmatch(metric):
            lines.append([code(metric), "Not defined here: see the code that made it.", metric])
    words: list[list[str | Markup]] = [[name, meaning] for name, meaning in WORDS]
    parts: list[Part] = [Grid("Words", ("word", "meaning"), words)]
    if lines:
        parts.insert(0, Grid("Metrics", ("name", "meaning", "in the tables as"), lines))
    return Section("definitions", "Definitions", "", parts)


def _names(subject: Subject) -> Iterable[str]:
    found: set[str] = set()
    for table in subject.tables.values():
        for column in ("metric", "measure"):
            if column in table.column_names:
                found |= set(table[column].drop_null().to_pylist())
    return found
