"""What a comparison lets one say: a verdict for each candidate and phase, and sentences in words.

Recall decides before timing, for timing is of what was found and can be bought with recall; false
picks decide last, for whoever picks nothing makes none. In order:

| verdict | when |
| --- | --- |
| `worse` | recall is worse and not also better, whatever timing and false picks say |
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
    """Whether recall is worse than the baseline's: then few false picks are no gain."""
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
        "mae_both_found": "timing",
        "false_picks_per_hour": "false picks an hour",
    }
    if measure in known:
        return known[measure]
    if measure.startswith("recall_"):
        return f"recall within {measure.removeprefix('recall_').removesuffix('s')} s"
    if measure.startswith("out_gt"):
        limit = measure.removeprefix("out_gt").split("s_")[0]
        return f"outliers beyond {limit} s"
    return measure.replace("_", " ")


def sentences(rows: Sequence[Row]) -> Iterator[Markup]:
    """For each candidate what can be said of it against its baseline, and what cannot."""
    for candidate in distinct(rows, "candidate"):
        own = list(of(rows, candidate=candidate))
        who, baseline = code(candidate), code(own[0]["baseline"])
        hollow = [row for row in own if _hollow(row, own)]
        for verdict, saying in (
            (WORSE, "{} is worse than {} in "),
            (BETTER, "{} is better than {} in "),
            (SAME, "{} is not separated from {} in "),
        ):
            clauses = [_clause(r) for r in own if r["verdict"] == verdict and r not in hollow]
            if clauses:
                opening = Markup(saying).format(who, baseline)
                yield chip(verdict) + " " + opening + Markup("; ").join(clauses) + "."
        unclear = [row for row in own if row["verdict"] == UNCLEAR]
        if unclear:
            opening = Markup("Inconclusive for {} against {}: ").format(who, baseline)
            yield chip(UNCLEAR) + " " + opening + _unclear(unclear) + "."
        if hollow:
            said = Markup("; ").join(
                Markup("{} {} ({})").format(row["phase"], spoken(row["measure"]), _difference(row))
                for row in hollow
            )
            yield chip(UNCLEAR, "no gain") + Markup(
                " {} has lower values than {} in {}, but its recall is worse: a candidate that "
                "finds little errs little, and no gain can be concluded."
            ).format(who, baseline, said)


def _hollow(row: Row, own: Sequence[Row]) -> bool:
    """Better in something that lower recall alone can bring about."""
    return (
        row["verdict"] == BETTER
        and not is_recall(row["measure"])
        and lost_recall(own, row["candidate"], row["phase"])
    )


def _unclear(rows: Sequence[Row]) -> Markup:
    """How many it would take to see a difference in recall; the other measures by name. Their
    numbers stand in the table of all differences."""
    chief = [row for row in rows if row["measure"] == "recall"]
    others = [f"{row['phase']} {spoken(row['measure'])}" for row in rows if row not in chief]
    said = [_clause(row) for row in chief]
    if others:
        more = "the data are too few for " + ", ".join(others)
        said.append(Markup("{}").format(more))
    return Markup("; ").join(said)


def _clusters(row: Row) -> Markup:
    """`57 stations`: what the interval is over."""
    kinds = {"event": "events", "station": "stations", "event+station": "events or stations"}
    return Markup("{} {}").format(
        quote(row, "clusters", "count"), kinds.get(row["interval_over"], "rows")
    )


def _clause(row: Row) -> Markup:
    what = f"{row['phase']} {spoken(row['measure'])}"
    clusters = _clusters(row)
    if row["verdict"] in (BETTER, WORSE):
        n = quote(row, "n", "count")
        return Markup("{} ({}; n = {}, {})").format(what, _difference(row), n, clusters)
    if row["verdict"] == SAME:
        return Markup("{} (a difference of {} would have been seen)").format(
            what, quote(row, "detectable", "probability")
        )
    if not row.known("detectable"):
        return Markup("{} ({}: too few)").format(what, clusters)
    if row["clusters_needed"] > row["clusters"]:
        return Markup("{} ({}; about {} are needed to see {})").format(
            what,
            clusters,
            quote(row, "clusters_needed", "count"),
            quote(row, "margin", "probability"),
        )
    return Markup("{} ({}; a difference below {} would not be seen)").format(
        what, clusters, quote(row, "detectable", "probability")
    )


def _difference(row: Row) -> Markup:
    return Markup("{}, 95\N{NO-BREAK SPACE}% {}").format(
        quote(row, "difference", "difference"), interval(row, "difference")
    )
