"""The headline: recall and timing side by side, with intervals, verdicts, and what they allow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from catalog.schema import PHASES
from eval.comparison import COMPARISON_SCHEMA
from eval.metrics import CONFIDENCE
from eval.noise import RATE_SCHEMA
from eval.oracle import ORACLE_SCHEMA
from eval.report.rows import (
    Row,
    code,
    counted,
    distinct,
    estimate,
    first,
    interval,
    of,
    quote,
    rows_of,
)
from eval.report.section import Grid, Part, Section, Subject, Words, missing
from eval.report.verdicts import (
    SAME,
    UNCLEAR,
    chip,
    false_chip,
    is_false_rate,
    overall,
    sentences,
    spoken,
)
from eval.reviewed import REVIEWED_SCHEMA
from eval.splits import LOOKED_SCHEMA
from eval.strata import ALL
from eval.thresholds import named

NO_WINNER = (
    "Recall and timing stand side by side and no column ranks alone: timing is of what was found, "
    "and can be bought with recall. Candidates stand in the order of the evaluation file."
)

EQUAL_PICKS, EQUAL_FALSE_PICKS = "comparison_days_equal_picks", "comparison_days_equal_false_picks"

AT_EQUAL = {
    EQUAL_PICKS: "continuous days, at as many picks as the baseline",
    EQUAL_FALSE_PICKS: "continuous days, at equal false picks an hour of noise",
}


def headline(subject: Subject) -> Section:
    noise = rows_of(subject.tables, "noise_rates", RATE_SCHEMA)
    oracle = rows_of(subject.tables, "oracle", ORACLE_SCHEMA)
    days = rows_of(subject.tables, "continuous", REVIEWED_SCHEMA)
    comparisons = {
        "labelled traces": rows_of(subject.tables, "comparison", COMPARISON_SCHEMA),
        "continuous days": rows_of(subject.tables, "comparison_days", COMPARISON_SCHEMA),
    }
    parts: list[Part] = []
    parts += _looked(subject)
    if oracle:
        parts.append(_traces(subject, oracle, comparisons["labelled traces"], noise))
    if days:
        parts.append(_days(subject, days, comparisons["continuous days"], noise))
    if not (oracle or days):
        parts += [missing(subject, "oracle"), missing(subject, "continuous")]
    parts.append(Words(list(_said(subject, comparisons, noise)), "What can be concluded"))
    for what, rows in comparisons.items():
        if rows:
            parts.append(_differences(subject, what, rows))
    for name, what in AT_EQUAL.items():
        if rows := rows_of(subject.tables, name, COMPARISON_SCHEMA):
            parts.append(_differences(subject, what, rows))
    if len(subject.candidates) > 1:
        if not comparisons["labelled traces"] and (oracle or not days):
            parts.append(missing(subject, "comparison"))
        if not comparisons["continuous days"] and (days or not oracle):
            parts.append(missing(subject, "comparison_days"))
    return Section("headline", "Leaderboard", NO_WINNER, parts)


def _looked(subject: Subject) -> Iterator[Part]:
    """Which split the labelled traces are of, and where their thresholds come from."""
    for row in rows_of(subject.tables, "looked", LOOKED_SCHEMA):
        said = [Markup("Labelled traces: {}").format(quote(row, "traces", "count"))]
        if row["split"] == "test":
            opened = len(subject.rows("openings"))
            times = "once" if opened == 1 else f"{opened} times"
            said.append(
                Markup("of the <b>test split</b>, which has been <a href='#splits'>opened {}</a>")
                .format(times)
            )  # fmt: skip
        elif row["split"] != "all":
            said.append(Markup("of {}; the test split is sealed").format(row["split"]))
        if row["left_out"]:
            said.append(
                Markup("({} of other splits are left out)").format(quote(row, "left_out", "count"))
            )
        solved = f", solved on {row['solved_on']} and frozen" if row["solved_on"] else ""
        end = Markup(". Thresholds: {}{}.").format(row["thresholds"], solved)
        yield Words([Markup(" ").join(said) + end])


def _traces(
    subject: Subject,
    rows: Sequence[Row],
    paired: Sequence[Row],
    noise: Sequence[Row],
) -> Grid:
    """The board of labelled traces, all bins together."""
    pooled = list(of(rows, stratum=ALL))
    body = []
    for candidate in subject.in_order(distinct(pooled, "candidate")):
        for phase in PHASES:
            own = list(of(pooled, candidate=candidate, phase=phase))
            timed = next((r for r in own if r["metric"].startswith("mae_cond_")), None)
            if timed is None:
                continue
            t = named(timed["threshold"])
            recall = first(own, metric=f"recall_{t}")
            cells = {
                "recall": estimate(recall, "share"),
                "recall_1.0s": estimate(first(own, metric=f"recall_1.0s_{t}"), "share"),
                "mae_both_found": estimate(timed, "seconds"),
                "out_gt1.0s_both_found": estimate(
                    first(own, metric="out_gt1.0s_cond", threshold=timed["threshold"]), "share"
                ),
            }
            body.append(
                _board_row(
                    subject, candidate, phase, timed["threshold"], cells, recall, paired, noise
                )
            )
    return Grid(
        _board_caption(
            subject,
            "Labelled traces, all bins",
            "A pick up to 5 s from the label counts as recall; MAE and outliers are of the "
            "detected alone, the verdicts beneath them of what both candidates found.",
        ),
        (
            "candidate, phase",
            "recall",
            "recall within 1.0 s",
            "MAE of detected (s)",
            "outliers > 1.0 s of detected",
            "false picks per station-hour",
            f"against {subject.baseline}",
        ),
        body,
    )


def _days(
    subject: Subject,
    rows: Sequence[Row],
    paired: Sequence[Row],
    noise: Sequence[Row],
) -> Grid:
    """The board of continuous days, all stations together."""
    tolerance = told_at(rows)
    pooled = list(of(rows, stratum=ALL, tolerance_s=tolerance))
    end = f"_{tolerance:g}s"
    whole = [r for r in subject.rows("complete") if r["tolerance_s"] == tolerance]
    body = []
    for candidate in subject.in_order(distinct(pooled, "candidate")):
        for phase in PHASES:
            own = list(of(pooled, candidate=candidate, phase=phase))
            recall = first(own, metric=f"recall{end}")
            cells = {
                "recall": estimate(recall, "share"),
                "mae_both_found": estimate(first(own, metric=f"mae{end}"), "seconds"),
            }
            complete = {r["metric"]: r for r in of(whole, candidate=candidate, phase=phase)}
            if complete:
                cells |= {
                    "precision": of_complete(complete[f"precision{end}"], "share"),
                    "f1": of_complete(complete[f"f1{end}"], "share"),
                }
            else:
                cells |= {
                    "precision": _with_extras(first(own, metric=f"precision_lower{end}")),
                    "f1": estimate(first(own, metric=f"f1_lower{end}"), "share"),
                }
            body.append(
                _board_row(
                    subject, candidate, phase, subject.threshold, cells, recall, paired, noise
                )
            )
    bound = not whole
    least = "at least: " if bound else ""
    return Grid(
        _board_caption(
            subject,
            f"Continuous days, matched within {tolerance:g} s",
            "Precision and F1 are lower bounds: an extra pick may be an arrival that nobody read."
            if bound
            else "The truth is complete: an extra pick is a false one. Intervals of precision and "
            "F1 take picks as independent.",
        ),
        (
            "candidate, phase",
            "recall",
            "MAE of matched (s)",
            f"{least}precision",
            f"{least}F1",
            "false picks per station-hour",
            f"against {subject.baseline}",
        ),
        body,
    )


def told_at(rows: Sequence[Row]) -> float:
    """The tolerance of headlines: 0.5 s, or the widest where that is not among them."""
    tolerances = distinct(rows, "tolerance_s")
    return 0.5 if 0.5 in tolerances else max(tolerances)


def of_complete(row: Row, form: str) -> Markup:
    """A value of the table `complete`, with what it was counted from."""
    if row["metric"].startswith("false_picks"):
        counts = counted(row, Markup("in"), "station_hours", Markup("h"))
    else:
        counts = counted(row, "matched", Markup("matched of"), "picks", Markup("picks"))
    return Markup("<b>{}</b>{}{}").format(quote(row, "value", form), interval(row, form), counts)


def _with_extras(row: Row | None) -> Markup:
    return estimate(row, "share") + (counted(row, Markup("extra:"), "extra") if row else "")


def _board_row(
    subject: Subject,
    candidate: str,
    phase: str,
    threshold: float,
    cells: Mapping[str, Markup],
    recall: Row | None,
    paired: Sequence[Row],
    noise: Sequence[Row],
) -> list[Markup]:
    own = {row["measure"]: row for row in of(paired, candidate=candidate, phase=phase)}
    said = []
    for measure, cell in cells.items():
        row = own.get(measure)
        said.append(cell + chip(row["verdict"]) if row else cell)
    name = Markup('{} {}<span class="count">threshold {}</span>').format(
        code(candidate), Markup('<span class="phase {}">{}</span>').format(phase, phase),
        f"{threshold:.3g}",
    )  # fmt: skip
    false = _false(noise, candidate, phase, threshold, recall)
    for row in own.values():
        if is_false_rate(row["measure"]):
            false += false_chip(row, paired)
    if candidate == subject.baseline:
        verdict = Markup('<span class="chip baseline">baseline</span>')
    elif not own:
        verdict = Markup('<span class="undefined">not compared</span>')
    else:
        verdict = chip(overall({measure: row["verdict"] for measure, row in own.items()}))
    return [name, *said, false, verdict]


def _false(
    noise: Sequence[Row], candidate: str, phase: str, threshold: float, recall: Row | None
) -> Markup:
    """False picks at the threshold of the row, always with the recall that goes with them."""
    row = first(noise, candidate=candidate, phase=phase, station=ALL, threshold=threshold)
    if row is None:
        return Markup('<span class="undefined">not measured at this threshold</span>')
    at = quote(recall, "value", "share") if recall else Markup("unknown")
    return Markup('<b>{}</b>{}{}<span class="context">at recall {}</span>').format(
        quote(row, "value", "rate"),
        rate_interval(row),
        counted(row, "count", Markup("in"), "hours", Markup("h")),
        at,
    )


def rate_interval(row: Row) -> Markup:
    """Over stations where there are several, else Garwood's, and named so."""
    if row.known("low"):
        return interval(row, "rate")
    return interval(row, "rate", "garwood_low", "garwood_high") + Markup(
        '<span class="interval">(Garwood)</span>'
    )


def _board_caption(subject: Subject, what: str, how: str) -> Markup:
    return Markup(
        "{}. {} Below each value: its {} % interval, its count, and the verdict against {}."
    ).format(what, how, round(100 * CONFIDENCE), code(subject.baseline))


def _said(
    subject: Subject, comparisons: Mapping[str, Sequence[Row]], noise: Sequence[Row]
) -> Iterator[Markup]:
    verdicts = set()
    for what, rows in comparisons.items():
        ordered = sorted(rows, key=lambda row: (subject.rank(row["candidate"]), row.number))
        for line in sentences(ordered):
            yield Markup("{} <i>On {}.</i>").format(line, what)
        verdicts |= {row["verdict"] for row in rows}
    if not verdicts:
        yield Markup(
            "Nothing: no candidate was compared with {}. Whether intervals overlap decides "
            "nothing; only the same arrivals, paired, do."
        ).format(code(subject.baseline))
    if not noise:
        yield Markup(
            "How often a candidate picks where nothing is cannot be said: no verified noise was "
            "judged (<code>tidepick eval noise {}</code>)."
        ).format(subject.file)
    if verdicts & {SAME, UNCLEAR}:
        yield Markup(
            "<i>Not separated</i> means that a difference of the margin would have been seen with "
            "80 % power, <i>inconclusive</i> that the data are too few to see it. Timing and "
            "outliers are of arrivals that both found."
        )


def _differences(subject: Subject, what: str, rows: Sequence[Row]) -> Grid:
    body: list[list[str | Markup]] = []
    for row in sorted(rows, key=lambda row: (subject.rank(row["candidate"]), row.number)):
        verdict = false_chip(row, rows) if is_false_rate(row["measure"]) else chip(row["verdict"])
        only = Markup("{} : {}, p {}").format(
            quote(row, "only_candidate", "count"),
            quote(row, "only_baseline", "count"),
            quote(row, "mcnemar_p", "probability"),
        )
        body.append(
            [
                Markup("{} {} {}").format(
                    code(row["candidate"]), row["phase"], spoken(row["measure"])
                ),
                quote(row, "value", "share"),
                quote(row, "baseline_value", "share"),
                Markup("<b>{}</b>{}").format(
                    quote(row, "difference", "difference"), interval(row, "difference")
                ),
                counted(row, "n", Markup("/"), "clusters"),
                quote(row, "p_holm", "probability"),
                quote(row, "detectable", "probability"),
                quote(row, "clusters_needed", "count"),
                only if row.known("only_candidate") else "",
                verdict,
            ]
        )
    return Grid(
        Markup("Paired differences from {} on {}, in full").format(code(subject.baseline), what),
        (
            "candidate, measure", "value", "baseline's", "difference", "n / clusters", "p (Holm)",
            "least seen with 80 % power", "clusters needed", "found alone, McNemar", "verdict",
        ),
        body,
        folded=True,
    )  # fmt: skip
