"""Signal and noise of the benchmarks: can a difference between candidates be told from chance?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import matplotlib
from markupsafe import Markup

from eval.report.rows import UNDEFINED, Row, code, interval, of, quote, rows_of
from eval.report.section import Figures, Grid, Panel, Part, Section, Subject, Words, missing
from eval.report.snr_figure import is_drawable, sizes_figure, snr_figure
from eval.report.svg import THEME, inline
from eval.snr.average import AVERAGE_SCHEMA
from eval.snr.bins import FILTER_SCHEMA
from eval.snr.decisions import SIZE_SCHEMA
from eval.snr.spreads import SPREAD_SCHEMA
from eval.snr.table import KINDS, SNR_SCHEMA, UNKNOWN
from eval.snr.training import TRAINING_SCHEMA
from eval.strata import ALL

_LEAD = (
    "Signal is the gap between best and worst candidate; noise is how much models differ that "
    "ought to score alike, and how much other events and stations would have changed the score. "
    "Both are relative to their means. Decision accuracy is the share of pairs of candidates that "
    "a benchmark ranks as recall on continuous days does; a half is chance."
)
_WIDTH_IN = 6.4
_CHIPS = {"separates": "better", "inconclusive": "inconclusive", "too small": "inconclusive"}


def signal_section(subject: Subject) -> Section:
    rows = rows_of(subject.tables, "snr", SNR_SCHEMA)
    parts: list[Part] = []
    if rows:
        whole = [row for row in rows if row["bin"] == ALL]
        per_stratum = Counter((row["stratum"], row["phase"], row["measure"]) for row in rows)
        single = {stratum for (stratum, *_), count in per_stratum.items() if count == 1}
        bins = [row for row in rows if row["bin"] != ALL and row["stratum"] not in single]
        lacking = [kind for kind in KINDS if not _known(rows, kind)]
        out = sorted({row["excluded"] for row in rows if row["excluded"]})
        if out:
            parts.append(Words([f"Degenerate, and no signal: {'; '.join(out)}."]))
        for kind in lacking:
            parts.append(Words([f"Noise of {kind}: undefined, {UNKNOWN[kind]}."]))
        parts.append(_grid("All bins together", whole, folded=False))
        parts += _figures(subject)
        if bins:
            parts.append(_grid("Every bin", bins, folded=True))
        parts += _interventions(subject)
    else:
        parts.append(missing(subject, "snr"))
    return Section("signal", "Signal and noise of the benchmarks", _LEAD, parts)


def _known(rows: Sequence[Row], kind: str) -> bool:
    return any(row.known(f"noise_{kind}") for row in rows)


def _grid(caption: str, rows: Sequence[Row], *, folded: bool) -> Grid:
    known = [kind for kind in KINDS if _known(rows, kind)]
    body = []
    for row in rows:
        where = "" if row["stratum"] == ALL else row["stratum"]
        where += "" if row["bin"] == ALL else f" {row['bin']}"
        ends = Markup('<span class="count">all alike</span>')
        if row["best"] is not None:
            ends = Markup('<span class="count">{} over {}</span>').format(
                code(row["best"]), code(row["worst"])
            )
        gap = quote(row, "gap", "probability")
        body.append(
            [
                Markup('<span class="phase {}">{}</span> {}<span class="count">{}</span>').format(
                    row["phase"], row["phase"], code(row["measure"]), where
                ),
                Markup('{}<span class="count">{} clusters</span>').format(
                    quote(row, "traces", "count"), quote(row, "clusters", "count")
                ),
                Markup("<b>{}</b>{}").format(gap, ends) if row.known("gap") else gap,
                *(_with_noise(row, kind) for kind in known),
                quote(row, "pairs_separated", "share"),
                _decision(row, "decision_accuracy", "decision_low", "decision_high"),
                quote(row, "traces_needed", "count"),
                Markup('<span class="chip {}">{}</span>').format(
                    _CHIPS[row["verdict"]], row["verdict"]
                ),
            ]
        )
    return Grid(
        caption,
        (
            "measure", "traces", "gap", *(f"SNR, noise of {kind}" for kind in known),
            "pairs separated", "decision accuracy", "traces for 80 % power", "verdict",
        ),
        body,
        folded,
    )  # fmt: skip


def _with_noise(row: Row, kind: str) -> Markup:
    """The ratio and the noise; where it is not defined, why."""
    if row.known(f"snr_{kind}"):
        return Markup('<b>{}</b><span class="count">noise {}</span>').format(
            quote(row, f"snr_{kind}", "rate"), quote(row, f"noise_{kind}", "probability")
        )
    reasons = dict(
        each.split(": ", 1) for each in (row["undefined"] or "").split("; ") if ": " in each
    )
    return Markup('{}<span class="count">{}</span>').format(
        UNDEFINED, reasons.get(kind, "no score")
    )


def _decision(row: Row, value: str, low: str, high: str) -> Markup:
    if not row.known(value):
        return UNDEFINED
    return Markup("<b>{}</b>{}").format(
        quote(row, value, "share"), interval(row, "share", low, high)
    )


def _figures(subject: Subject) -> Iterator[Part]:
    panels = []
    with matplotlib.rc_context(THEME):
        for kind in KINDS:
            if is_drawable(subject.tables["snr"], kind):
                said = f"Signal to noise of {kind} against decision accuracy; filled: separates"
                figure = snr_figure(subject.tables["snr"], kind, _WIDTH_IN)
                panels.append(Panel(said, inline(figure, said), wide=True))
        sizes = rows_of(subject.tables, "snr_sizes", SIZE_SCHEMA)
        if sizes:
            said = "Decision accuracy against the number of traces; bands hold 95 % of the draws"
            figure = sizes_figure(subject.tables["snr_sizes"], _WIDTH_IN)
            panels.append(Panel(said, inline(figure, said), wide=True))
    if panels:
        yield Figures(panels)


def _interventions(subject: Subject) -> Iterator[Part]:
    """The checkpoints' course, bins kept by SNR, averaged checkpoints and other spreads, where
    they were tried."""
    training = rows_of(subject.tables, "snr_training", TRAINING_SCHEMA)
    if training:
        body = [
            [
                Markup("{} {} {}").format(code(row["family"]), row["phase"], code(row["measure"])),
                quote(row, "checkpoints", "count"),
                quote(row, "first", "probability"),
                quote(row, "last", "probability"),
                quote(row, "noise", "probability"),
                quote(row, "total_variation", "probability"),
                quote(row, "monotonicity", "difference"),
            ]
            for row in training
        ]
        said = (
            "Checkpoints in order: where every step goes one way (1 or \N{MINUS SIGN}1) their "
            "deviation is the training's course rather than noise"
        )
        head = ("measure", "checkpoints", "first", "last", "deviation", "mean step", "one way")
        yield Grid(said, head, body, True)
    kept = rows_of(subject.tables, "snr_bins", FILTER_SCHEMA)
    if kept:
        body = [
            [
                Markup("{} {} {}").format(row["stratum"], row["phase"], code(row["measure"])),
                row["kept"],
                quote(row, "traces", "count"),
                quote(row, "snr_checkpoints", "rate"),
                quote(row, "snr_sampling", "rate"),
                _decision(row, "decision_accuracy", "decision_low", "decision_high"),
                row["verdict"],
            ]
            for row in kept
        ]
        head = ("measure", "bins", "traces", "SNR checkpoints", "SNR sampling", "decision", "")
        yield Grid("Bins of most signal, chosen on development, scored on tuning", head, body, True)
    average = rows_of(subject.tables, "snr_average", AVERAGE_SCHEMA)
    if average:
        body = [
            [
                Markup("{} {} {}").format(code(row["average"]), row["phase"], code(row["measure"])),
                quote(row, "traces", "count"),
                quote(row, "value", "share"),
                quote(row, "members_mean", "share"),
                quote(row, "members_best", "share"),
                quote(row, "noise", "probability"),
                Markup("<b>{}</b>{}").format(
                    quote(row, "gain", "difference"), interval(row, "difference")
                ),
            ]
            for row in of(average)
        ]
        head = ("measure", "traces", "average", "mean of members", "best", "noise", "gain")
        yield Grid("Averaged checkpoints beside those that they are the mean of", head, body)
    spreads = rows_of(subject.tables, "snr_spreads", SPREAD_SCHEMA)
    if spreads:
        body = [
            [
                Markup("{} noise of {}").format(row["phase"], row["noise"]),
                code(row["spread"]),
                quote(row, "bins", "count"),
                quote(row, "predicts", "share"),
            ]
            for row in sorted(
                spreads, key=lambda row: (row["phase"], row["noise"], -row["predicts"])
            )
        ]
        said = "Which spread's SNR tells best in which bins decisions hold; a half is chance"
        yield Grid(said, ("SNR with", "spread", "bins", "ranked alike"), body, True)
