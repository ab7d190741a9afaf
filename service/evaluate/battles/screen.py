"""A judge's board and matrix in the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from rich.table import Table

from eval.arena.ratings import RATED
from eval.strata import ALL


def board_table(board: pa.Table, elo: Mapping[str, float] | None = None, on: str = "") -> Table:
    """elo: online ratings to be shown beside those of the whole. on: ends the title."""
    rows = board.to_pylist()
    judge = rows[0]["judge"] if rows else ""
    shown = Table(title=f"Board of {judge}{on}", title_justify="left", box=None, pad_edge=False)
    for heading in ("bin", "#", "candidate"):
        shown.add_column(heading, overflow="fold")
    for heading in ("rating", "95%", "won-lost-tied-bad", *(["Elo"] if elo else [])):
        shown.add_column(heading, justify="right", no_wrap=True)
    said = None
    bins = Counter((row["stratum"], row["candidate"]) for row in rows)
    notes = {f"{row['bin']}: {row['detail']}": None for row in rows if row["detail"]}
    for row in rows:
        if row["bin"] != ALL and bins[row["stratum"], row["candidate"]] == 1:
            continue  # a stratum of one bin is the whole again
        where = row["stratum"], row["bin"]
        name = "" if where == said else ("all" if row["bin"] == ALL else row["bin"])
        rated = row["status"] == RATED
        known = rated and row["low"] is not None
        beside = [f"{elo[row['candidate']]:.1f}" if row["bin"] == ALL else ""] if elo else []
        shown.add_row(
            name,
            str(row["rank"]) if rated else "-",
            row["candidate"],
            f"{row['rating']:.0f}" if rated else row["status"],
            f"{row['low']:.0f} to {row['high']:.0f}" if known else "",
            "-".join(str(row[n]) for n in ("wins", "losses", "ties", "both_bad")),
            *beside,
        )
        said = where
    shown.caption, shown.caption_justify = "\n".join(notes) or None, "left"
    return shown


def matrix_table(pairs: pa.Table) -> Table:
    """Win rates of the whole, row against column; an asterisk where the ratings are separated."""
    rows = [row for row in pairs.to_pylist() if row["bin"] == ALL]
    names = list(dict.fromkeys(row["candidate"] for row in rows))
    shown = Table(
        title="Win rate of the row against the column (* ratings separated)",
        title_justify="left", box=None, pad_edge=False,
    )  # fmt: skip
    shown.add_column("", overflow="fold")
    for name in names:
        shown.add_column(name, justify="right", overflow="fold")
    cells: dict[tuple[str, str], str] = {(r["candidate"], r["opponent"]): _rate(r) for r in rows}
    for name in names:
        shown.add_row(name, *(cells.get((name, other), "") for other in names))
    return shown


def side_line(sides: pa.Table) -> str:
    [row] = sides.to_pylist()
    if row["left_bias"] is None:
        bias = "not fitted"
    elif row["low"] is None:
        bias = f"{row['left_bias']:+.0f} points, no interval"
    else:
        bias = f"{row['left_bias']:+.0f} points ({row['low']:+.0f} to {row['high']:+.0f})"
    alarm = " ALARM: voters prefer a side" if row["alarm"] else ""
    return (
        f"sides: left won {row['left']}, right {row['right']} (sign test p {row['sign_p']:.3g}); "
        f"left bias {bias}{alarm}"
    )


def agreement_lines(agreed: pa.Table | None) -> Iterator[str]:
    """How often a vote says what the rule says; nothing where none was compared."""
    for row in [] if agreed is None else agreed.to_pylist():
        if row["votes"] == 0:
            rate = "none of the votes is on a battle of the rule"
        else:
            known = row["low"] is not None
            interval = f" ({row['low']:.2f} to {row['high']:.2f})" if known else ""
            rate = f"{row['agreed']} of {row['votes']} votes, {row['rate']:.2f}{interval}"
        yield f"people say what the rule says, {row['over']}: {rate}"


def _rate(row: Mapping[str, Any]) -> str:
    if row["win_rate"] is None:
        return "never met"
    return f"{row['win_rate']:.2f}{'*' if row['separated'] else ''} ({row['battles']})"
