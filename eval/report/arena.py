"""The arena: boards of the rule and of people, apart, how often the two agree, and battles."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from eval.arena.agreement import AGREEMENT_SCHEMA
from eval.arena.board import BOARD_SCHEMA, PAIR_SCHEMA, SIDE_SCHEMA
from eval.arena.ratings import RATED
from eval.report.battles import battle_grids
from eval.report.rows import Row, code, distinct, first, interval, of, quote, rows_of
from eval.report.section import Grid, Part, Section, Subject, Words, missing
from eval.strata import ALL

_LEAD = (
    "Two candidates meet on one window. The rule: within 0.5 s of the reference, fewer misses and "
    "extras win, else the smaller residual if smaller by more than 0.05 s; thresholds are those of "
    "equal false picks per hour. Ratings are Bradley-Terry in Elo points, errors over windows. "
    "People and the rule are never pooled."
)


def arena_section(subject: Subject) -> Section:
    parts: list[Part] = []
    for name, title in _BOARDS:
        board = rows_of(subject.tables, f"{name}_board", BOARD_SCHEMA)
        pairs = rows_of(subject.tables, f"{name}_matrix", PAIR_SCHEMA)
        if not board:
            if name != "day_ruled":
                parts.append(missing(subject, f"{name}_board"))
            continue
        parts.append(_board(f"{title}: all windows", list(of(board, stratum=ALL))))
        if pairs:
            parts.append(_matrix(subject, f"{title}: win rates", list(of(pairs, stratum=ALL))))
        rest = [row for row in board if row["stratum"] != ALL]
        if rest:
            parts.append(_board(f"{title}: every bin", rest, folded=True))
    parts += _beside(subject)
    parts += battle_grids(subject)
    if subject.serve:
        link = Markup('<a href="{0}/arena">{0}/arena</a>').format(subject.serve.rstrip("/"))
        parts.append(Words([Markup("Judge others: {}").format(link)]))
    return Section("arena", "Arena", _LEAD, parts)


_BOARDS = (
    ("ruled", "By rule, labelled traces"),
    ("day_ruled", "By rule, continuous days"),
    ("voted", "By people"),
)


def _board(caption: str, rows: Sequence[Row], folded: bool = False) -> Grid:
    body = []
    for row in rows:
        rated = row["status"] == RATED
        where = "" if row["bin"] == ALL else f"{row['stratum']} {row['bin']}"
        record = [quote(row, n, "count") for n in ("wins", "losses", "ties", "both_bad")]
        rating = Markup("<b>{}</b>{}").format(quote(row, "rating", "count"), interval(row, "count"))
        why = Markup('<span class="undefined">{}: {}</span>').format(row["status"], row["detail"])
        body.append(
            [
                Markup("{} {}").format(where, code(row["candidate"])),
                quote(row, "rank", "count") if rated else "",
                rating if rated else why,
                *record,
                quote(row, "windows", "count"),
            ]
        )
    head = ("candidate", "rank", "rating", "won", "lost", "tied", "both bad", "windows")
    return Grid(caption, head, body, folded)


def _matrix(subject: Subject, caption: str, rows: Sequence[Row]) -> Grid:
    names = subject.in_order(distinct(rows, "candidate"))
    body: list[list[str | Markup]] = []
    for name in names:
        cells: list[str | Markup] = []
        for other in names:
            row = first(rows, candidate=name, opponent=other)
            cells.append(_met(row) if row else "")
        body.append([code(name), *cells])
    return Grid(
        f"{caption}, the row against the column; ties count half", ["", *map(code, names)], body
    )


def _met(row: Row) -> Markup:
    if not row.known("win_rate"):
        return Markup('<span class="undefined">never met</span>')
    said = Markup('<span class="chip">separated</span>') if row["separated"] else ""
    return Markup('<b>{}</b>{}<span class="count">{} battles</span>{}').format(
        quote(row, "win_rate", "share"),
        interval(row, "share"),
        quote(row, "battles", "count"),
        said,
    )


def _beside(subject: Subject) -> list[Part]:
    """Whether voters prefer a side, and how often a vote says what the rule says."""
    lines: list[Markup | str] = []
    for row in rows_of(subject.tables, "voted_sides", SIDE_SCHEMA):
        alarm = "Voters prefer a side." if row["alarm"] else "No preference for a side is seen."
        lines.append(
            Markup("Left won {}, right {}; left bias {} points {}. {}").format(
                quote(row, "left", "count"),
                quote(row, "right", "count"),
                quote(row, "left_bias", "count"),
                interval(row, "count"),
                alarm,
            )
        )
    for row in rows_of(subject.tables, "arena_agreement", AGREEMENT_SCHEMA):
        lines.append(
            Markup("Of {} votes on windows and pairs of the rule, {}: {} say the same {}.").format(
                quote(row, "votes", "count"),
                row["over"],
                quote(row, "agreed", "count"),
                interval(row, "share") if row.known("rate") else "",
            )
        )
    return [Words(lines, "People beside the rule")] if lines else []
