"""Signal and noise in the terminal: the whole first, then every bin with its verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from rich.table import Table
from rich.text import Text

from eval.snr.table import KINDS
from eval.strata import ALL
from service.terminal import rows_table

STYLES = {"separates": "green", "too small": "dim", "inconclusive": "yellow"}
MARKS = {"separates": " *", "too small": "", "inconclusive": " ~"}


def shown_tables(tables: Mapping[str, pa.Table]) -> Iterator[Table]:
    rows = tables["snr"].to_pylist()
    yield _whole([row for row in rows if row["bin"] == ALL])
    per_stratum = Counter((row["stratum"], row["phase"], row["measure"]) for row in rows)
    single = {key for key, count in per_stratum.items() if count == 1}
    bins = [r for r in rows if (r["stratum"], r["phase"], r["measure"]) not in single]
    if bins:
        yield _bins(bins)
    if tables["snr_decisions"].num_rows:
        yield _decisions(tables["snr_decisions"].to_pylist())
    if tables["snr_bins"].num_rows:
        found = tables["snr_bins"]
        columns = [name for name in _OF_BINS if found[name].null_count < found.num_rows]
        rows = [{k: _short(v) for k, v in row.items()} for row in found.to_pylist()]
        shown = rows_table(rows, columns)
        shown.title = "Bins of most signal, chosen on development, scored on tuning"
        shown.title_justify = "left"
        yield shown
    if tables["snr_training"].num_rows:
        yield _training(tables["snr_training"].to_pylist())
    if tables["snr_average"].num_rows:
        yield _averages(tables["snr_average"].to_pylist())


_OF_BINS = (
    "stratum", "phase", "measure", "kept", "traces", "snr_checkpoints", "snr_sampling",
    "decision_accuracy", "verdict",
)  # fmt: skip


def _training(rows: list[dict[str, Any]]) -> Table:
    """A line a measure. Steps that are all up, or all down, are a course and no noise."""
    shown = Table(
        title="Checkpoints, in order: do they waver (steps near 0) or still move (1: all up)?",
        title_justify="left", box=None, pad_edge=False,
    )  # fmt: skip
    for heading in ("checkpoints", "measure"):
        shown.add_column(heading, overflow="fold")
    for heading in ("first", "last", "deviation", "steps"):
        shown.add_column(heading, justify="right")
    for row in rows:
        figures = (_short(row[name]) for name in ("first", "last", "noise"))
        steps = f"{row['monotonicity']:+.2f}"
        shown.add_row(row["family"], f"{row['phase']} {row['measure']}", *figures, steps)
    return shown


def _averages(rows: list[dict[str, Any]]) -> Table:
    shown = Table(
        title="Averaged checkpoints beside what they are the mean of", title_justify="left",
        box=None, pad_edge=False,
    )  # fmt: skip
    for heading in ("average", "measure"):
        shown.add_column(heading, overflow="fold")
    for heading in ("value", "of members", "gain"):
        shown.add_column(heading, justify="right")
    for row in rows:
        ends = "" if row["low"] is None else f" ({row['low']:+.4f} to {row['high']:+.4f})"
        shown.add_row(
            row["average"],
            f"{row['phase']} {row['measure']}",
            f"{row['value']:.4f}",
            f"{row['members_mean']:.4f}",
            f"{round(row['gain'], 4) + 0.0:+.4f}{ends}",
        )
    return shown


def _whole(rows: list[dict[str, Any]]) -> Table:
    known = [kind for kind in KINDS if any(row[f"noise_{kind}"] is not None for row in rows)]
    shown = Table(
        title=f"All bins; signal to noise of {' / '.join(known)}", title_justify="left", box=None,
        pad_edge=False,
    )  # fmt: skip
    shown.add_column("measure", overflow="fold", min_width=16)
    for heading in ("n", "gap", "SNR", "apart", "decides", "needs"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("verdict", no_wrap=True, min_width=12)
    for row in rows:
        where = "" if row["stratum"] == ALL else f", {row['stratum']}"
        shown.add_row(
            f"{row['phase']} {row['measure']}{where}",
            f"{row['traces']:,}",
            _short(row["gap"]),
            " / ".join(_ratio(row[f"snr_{kind}"]) for kind in known),
            _share(row["pairs_separated"]),
            _share(row["decision_accuracy"]),
            _short(row["traces_needed"]),
            Text(row["verdict"], style=STYLES[row["verdict"]]),
        )
    return shown


def _decisions(rows: list[dict[str, Any]]) -> Table:
    """Share of pairs ranked alike, with its interval."""
    targets = list(dict.fromkeys(row["against"] for row in rows))
    shown = Table(
        title="Decision accuracy: share of pairs of candidates that are ranked as by",
        title_justify="left", box=None, pad_edge=False,
    )  # fmt: skip
    for heading in ("measure", *targets):
        shown.add_column(heading, overflow="fold")
    lines: dict[str, dict[str, str]] = {}
    for row in rows:
        ends = "" if row["low"] is None else f" ({row['low']:.2f} to {row['high']:.2f})"
        said = f"{row['accuracy']:.2f}{ends}"
        lines.setdefault(f"{row['phase']} {row['measure']}", {})[row["against"]] = said
    for measure, of in lines.items():
        shown.add_row(measure, *(of.get(target, "") for target in targets))
    return shown


def _bins(rows: list[dict[str, Any]]) -> Table:
    """A line a bin and phase; of each measure the least SNR of a known noise, and the verdict."""
    measures = list(dict.fromkeys(row["measure"] for row in rows))
    shown = Table(
        title="Bins: least SNR of a known noise (* separates, ~ inconclusive, else too small)",
        title_justify="left", box=None, pad_edge=False,
    )  # fmt: skip
    for heading in ("bin", "phase"):
        shown.add_column(heading, overflow="fold")
    shown.add_column("traces", justify="right")
    for measure in measures:
        shown.add_column(measure, overflow="fold", min_width=8)
    lines: dict[tuple[str, str, str], dict[str, dict[str, Any]]] = {}
    for row in rows:
        key = row["stratum"], row["bin"], row["phase"]
        lines.setdefault(key, {})[row["measure"]] = row
    for (stratum, name, phase), of in lines.items():
        cells = [_least(of[measure]) if measure in of else Text("") for measure in measures]
        traces = max(row["traces"] for row in of.values())
        shown.add_row(f"{stratum} {name}", phase, f"{traces:,}", *cells)
    return shown


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _least(row: Mapping[str, Any]) -> Text:
    found = [row[f"snr_{kind}"] for kind in KINDS if row[f"snr_{kind}"] is not None]
    said = f"{min(found):.2g}" if found else "-"
    return Text(said + MARKS[row["verdict"]], style=STYLES[row["verdict"]])


def _short(value: Any) -> Any:
    if value is None:
        return ""
    if not isinstance(value, float):
        return value
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
