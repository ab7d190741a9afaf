"""What a comparison lets one say: a verdict for each candidate and phase, and sentences in words.

Recall decides before timing, for timing is of what was found and can be bought with recall; false
picks decide last, for whoever picks nothing makes none. In order:

| verdict | when |
| --- | --- |
| `worse` | recall is worse (any or timed) and not also better, whatever timing and false picks say |
| `mixed` | something is better and something is worse |
| `worse` | timing or false picks are worse, nothing is better |
| `better` | something is better, nothing worse, and each recall is better or not separated |
| `not separated` | everything is |
| `inconclusive` | anything else: the data are too few |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from markupsafe import Markup

from eval.report.rows import Row, code, distinct, interval, of, quote

BETTER, WORSE, MIXED = "better", "worse", "mixed"
SAME, UNCLEAR = "not separated", "inconclusive"
SIGNS: Mapping[str, str] = {BETTER: "▲", WORSE: "▼", MIXED: "◆", SAME: "=", UNCLEAR: "?"}


def is_recall(measure: str) -> bool:
    return measure.startswith("recall")


def is_false_rate(measure: str) -> bool:
    return measure.startswith("false_picks")


def overall(verdicts: Mapping[str, str]) -> str:
    """One verdict of a candidate and phase. verdicts: of each measure of `eval.comparison`."""
    recall = [verdict for measure, verdict in verdicts.items() if is_recall(measure)]
    every = list(verdicts.values())
    if WORSE in recall and BETTER not in recall:
        return WORSE
    if WORSE in every:
        return MIXED if BETTER in every else WORSE
    if recall and BETTER in every and UNCLEAR not in recall:
        return BETTER
    if recall and set(every) == {SAME}:
        return SAME
    return UNCLEAR


def lost_recall(rows: Sequence[Row], candidate: str, phase: str) -> bool:
    """Whether a candidate's recall is worse than the baseline's: then few false picks are no gain."""
    return any(
        row["verdict"] == WORSE and is_recall(row["measure"])
        for row in of(rows, candidate=candidate, phase=phase)
    )


def chip(verdict: str, said: str | None = None) -> Markup:
    """A verdict as a sign and a word. said: another word for it."""
    return Markup('<span class="chip {}">{} {}</span>').format(
        verdict.replace(" ", "-"), SIGNS[verdict], said or verdict
    )


def false_chip(row: Row, rows: Sequence[Row]) -> Markup:
    """The verdict on false picks: few of them are never `better` where recall is worse."""
    verdict = row["verdict"]
    if verdict == BETTER and lost_recall(rows, row["candidate"], row["phase"]):
        return chip(UNCLEAR, "fewer, but recall is worse")
    return chip(verdict, {BETTER: "fewer", WORSE: "more"}.get(verdict))


def spoken(measure: str) -> str:
    """A measure of a comparison, in words."""
    known = {
        "recall": "recall",
        "mae_both_found": "timing (mean absolute residual of arrivals that both found)",
        "false_picks_per_hour": "false picks an hour",
    }
    if measure in known:
        return known[measure]
    if measure.startswith("recall_"):
        return f"recall within {measure.removeprefix('recall_').removesuffix('s')} s"
    if measure.startswith("out_gt"):
        limit = measure.removeprefix("out_gt").split("s_")[0]
        return f"outliers beyond {limit} s among arrivals that both found"
    return measure.replace("_", " ")


def form_of(measure: str) -> str:
    return "difference"


def sentences(rows: Sequence[Row]) -> Iterator[Markup]:
    """For each candidate what can be said of it against its baseline, and what cannot."""
    for candidate in distinct(rows, "candidate"):
        own = list(of(rows, candidate=candidate))
        baseline = own[0]["baseline"]
        clauses = []
        for verdict, opening in (
            (WORSE, Markup("is worse than {} in ").format(code(baseline))),
            (BETTER, Markup("is better than {} in ").format(code(baseline))),
            (SAME, Markup("is not separated from {} in ").format(code(baseline))),
            (UNCLEAR, Markup("cannot be told from {} with these data in ").format(code(baseline))),
        ):
            said = [
                _clause(row, own, verdict)
                for row in own
                if row["verdict"] == verdict and not _hollow(row, own)
            ]
            if said:
                clauses.append(opening + Markup("; ").join(said))
        hollow = [_hollow_clause(row) for row in own if _hollow(row, own)]
        clauses += hollow
        if clauses:
            yield Markup("{} {}.").format(code(candidate), Markup(". It ").join(clauses))


def _hollow(row: Row, own: Sequence[Row]) -> bool:
    """Better in something that lower recall alone can bring about."""
    return (
        row["verdict"] == BETTER
        and not is_recall(row["measure"])
        and lost_recall(own, row["candidate"], row["phase"])
    )


def _hollow_clause(row: Row) -> Markup:
    return Markup("has {} of {} ({}), but with worse {} recall: no gain can be concluded").format(
        "fewer false picks an hour" if is_false_rate(row["measure"]) else "lower values",
        f"{row['phase']}"
        if is_false_rate(row["measure"])
        else f"{row['phase']} {spoken(row['measure'])}",
        _difference(row),
        row["phase"],
    )


def _clause(row: Row, own: Sequence[Row], verdict: str) -> Markup:
    what = f"{row['phase']} {spoken(row['measure'])}"
    if verdict in (BETTER, WORSE):
        return Markup("{} ({}; {} over {} clusters)").format(
            what, _difference(row), quote(row, "n", "count"), quote(row, "clusters", "count")
        )
    if verdict == SAME:
        return Markup("{} (a difference of {} would have been seen)").format(
            what, quote(row, "detectable", "probability")
        )
    if row.known("clusters_needed") and row["clusters_needed"] > row["clusters"]:
        return Markup("{} ({} clusters; about {} are needed to see {})").format(
            what,
            quote(row, "clusters", "count"),
            quote(row, "clusters_needed", "count"),
            quote(row, "margin", "probability"),
        )
    return (
        Markup("{} ({} clusters are too few for an interval)").format(
            what, quote(row, "clusters", "count")
        )
        if not row.known("low")
        else Markup("{} ({})").format(what, _difference(row))
    )


def _difference(row: Row) -> Markup:
    return Markup("{}, 95\N{NO-BREAK SPACE}% {}").format(
        quote(row, "difference", "difference"), interval(row, "difference")
    )
