"""What the numbers rest on: splits and leakage, provenance, and what each name means."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pyarrow as pa
from markupsafe import Markup

from eval.leakage import FRACTION_SCHEMA
from eval.report.rows import code, counted, interval, quote, rows_of
from eval.report.section import Grid, Part, Section, Subject, Words, missing
from eval.splits import OPENING_SCHEMA

PROVENANCE_SCHEMA = pa.schema(
    [
        ("about", pa.string()),  # candidate `x`, benchmark `y`, software, evaluation
        ("name", pa.string()),  # weights sha256, engine, seed
        ("value", pa.string()),
    ]
)

_DEFINITIONS: tuple[tuple[str, str, str], ...] = (
    (r"recall_t(.+)", "recall_tT", "Share of labelled traces whose highest probability within 5 s of the label reaches T."),
    (r"recall_([\d.]+)s_t(.+)", "recall_Ds_tT", "Share of labelled traces that reach T with a residual of at most D seconds."),
    (r"recall_([\d.]+)s", "recall_Ds", "Continuous days: share of arrivals matched within D seconds."),
    (r"mae_cond_t(.+)", "mae_cond_tT", "Mean absolute residual in seconds of the traces that reach T. It falls with recall: never rank by it alone."),
    (r"rmse_cond_t(.+)", "rmse_cond_tT", "Root of the mean squared residual of the traces that reach T."),
    (r"(mae|rmse)_uncond_w5s", "mae_uncond_w5s, rmse_uncond_w5s", "The same of every labelled trace, whatever its probability: the peak within 5 s."),
    (r"out_gt([\d.]+)s_cond", "out_gtLs_cond", "Share of the detected traces with a residual beyond L seconds (strictly)."),
    (r"out_gt([\d.]+)s_uncond_w5s", "out_gtLs_uncond_w5s", "The same share of every labelled trace."),
    (r"prob_median", "prob_median", "Median of the highest probability within 5 s of the label."),
    (r"mcc_phase_id", "mcc_phase_id", "2 share(P's probability exceeds S's) - 1, where both are labelled. No decision, no negatives; it ranks nobody."),
    (r"mcc_phase_id_10s", "mcc_phase_id_10s", "Matthews' coefficient of telling P from S in a 10 s window with one pick (M\u00fcnchmeyer et al., task 2)."),
    (r"mcc_detection", "mcc_detection", "Matthews' coefficient of telling 30 s windows with an event from noise (task 1)."),
    (r"(f1|precision|recall)_(detection|phase_id_10s)", "f1_, precision_, recall_ of a task", "Of the decision of that task, at the threshold of the development split."),
    (r"(mae|rmse)_10s|out_gt[\d.]+s_10s", "mae_10s, rmse_10s, out_gtLs_10s", "Onset in a 10 s window without any threshold (task 3)."),
    (r"precision_lower_.+", "precision_lower_Ds", "matched / picks: a lower bound of precision, for arrivals may be unread."),
    (r"precision_[\d.]+s", "precision_Ds", "matched / picks, where the truth is complete."),
    (r"f1_lower_.+", "f1_lower_Ds", "2 matched / (picks + arrivals), a lower bound likewise."),
    (r"f1_[\d.]+s", "f1_Ds", "2 matched / (picks + arrivals), where the truth is complete."),
    (r"mae_[\d.]+s", "mae_Ds", "Mean absolute residual in seconds of the pairs matched within D seconds."),
    (r"brier", "brier", "Mean of (probability - matched)\u00b2; 0 is perfect."),
    (r"ece_.+", "ece_15_equal_mass", "Mean over picks of |share matched - mean probability| of their bin, 15 bins of equal counts. Above 0 by chance for few picks."),
    (r"recall", "recall (compared)", "Difference of the shares found, on the same arrivals."),
    (r"mae_both_found", "mae_both_found", "Mean absolute residual of the arrivals that both candidates found."),
    (r"out_gt([\d.]+)s_both_found", "out_gtLs_both_found", "Outlier share among the arrivals that both candidates found."),
    (r"false_picks_per_hour", "false_picks_per_hour", "Picks per station-hour of verified noise, in which no arrival can be."),
)  # fmt: skip

_ALWAYS = (
    ("interval", "95 %. Of recall and timing over events and stations (two-way cluster bootstrap, at least 2,000 draws); of rates over stations, or Garwood's where named; none where there is one cluster."),
    ("false pick, extra", "A false pick is a pick on verified noise or against complete truth. An extra is a pick without a known arrival."),
    ("undefined", "The bin has nothing to count: no label, no detection, no pick. Never 0."),
    ("better, worse", "The paired difference is separated from zero at 5 % after Holm over the candidates. In sum: worse where recall is worse; mixed where one thing is better and another worse; better only where nothing is worse and no recall is in doubt."),
    ("not separated", "It is not, and a difference of the margin would have been seen with 80 % power."),
    ("inconclusive", "It is not, and the data are too few to see the margin."),
)  # fmt: skip


def splits_section(subject: Subject) -> Section:
    leaks = rows_of(subject.tables, "leakage_fractions", FRACTION_SCHEMA)
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
        parts.append(missing(subject, "leakage_fractions"))
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
    for pattern, name, meaning in _DEFINITIONS:
        shown = [metric for metric in used if re.fullmatch(pattern, metric)]
        if shown:
            lines.append([code(name), meaning, ", ".join(shown)])
    known = re.compile("|".join(f"(?:{pattern})" for pattern, _, _ in _DEFINITIONS))
    for metric in used:
        if not known.fullmatch(metric):
            lines.append([code(metric), "Not defined here: see the code that made it.", metric])
    words: list[list[str | Markup]] = [[name, meaning] for name, meaning in _ALWAYS]
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
