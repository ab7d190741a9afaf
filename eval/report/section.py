"""What a page is made of: sections of words, figures and tables, or of what is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from markupsafe import Markup

from eval.report.rows import Row, quote

WORDS = str | Markup
"""Text is escaped, Markup stands as it is."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is reported. candidates: in the order of the evaluation file; made: when, UTC. serve:
    where battles are shown, if anywhere."""

    name: str
    file: str
    baseline: str
    candidates: Sequence[str]
    threshold: float
    made: str
    tables: Mapping[str, pa.Table]
    serve: str = ""

    def rows(self, name: str) -> list[Row]:
        """A table as it is, none where there is none."""
        return [Row(name, k, row) for k, row in enumerate(self._lists(name))]

    def _lists(self, name: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.tables[name].to_pylist() if name in self.tables else []
        return rows

    def rank(self, candidate: str) -> int:
        """The place of a candidate in the file, which is its colour too."""
        names = list(self.candidates)
        return names.index(candidate) if candidate in names else len(names)

    def in_order(self, candidates: Sequence[str]) -> list[str]:
        return sorted(candidates, key=lambda name: (self.rank(name), name))


@dataclass(frozen=True, slots=True)
class Panel:
    """One figure; its <title> says what it shows to who cannot see it."""

    caption: WORDS
    svg: Markup
    wide: bool = False


@dataclass(frozen=True, slots=True)
class Figures:
    """Panels side by side, with one legend. legend: candidates."""

    panels: Sequence[Panel]
    legend: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Grid:
    """A table; the first cell of a row is its heading. folded: shown on demand."""

    caption: WORDS
    head: Sequence[WORDS]
    rows: Sequence[Sequence[WORDS]]
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """What a section would need. command: the one that makes it."""

    table: str
    what: str
    command: str
    needs: str


@dataclass(frozen=True, slots=True)
class Words:
    """A list of sentences, or one paragraph."""

    lines: Sequence[WORDS]
    heading: WORDS = ""


Part = Figures | Grid | Missing | Words


@dataclass(frozen=True, slots=True)
class Section:
    """anchor: the name of its link."""

    anchor: str
    title: str
    lead: WORDS
    parts: Sequence[Part] = field(default=())


_COMMANDS: Mapping[str, tuple[str, str]] = {
    "oracle": ("oracle", "recall and timing on labelled traces"),
    "composition": ("oracle", "what each bin of the labelled traces is made of"),
    "residual_bins": ("report", "residuals by distance, of the table traces"),
    "muenchmeyer": ("oracle", "the three tasks of M\u00fcnchmeyer et al. (2022)"),
    "comparison": ("compare", "paired differences from the baseline on labelled traces"),
    "comparison_days": ("report", "paired differences from the baseline on continuous days"),
    "noise_rates": ("noise", "false picks per station-hour of verified noise"),
    "noise_stations": ("noise", "false picks by station"),
    "noise_thresholds": ("noise", "the threshold that meets the target rate"),
    "continuous": ("continuous", "picks of continuous days against analysts' arrivals"),
    "continuous_curve": ("continuous", "recall of continuous days at every threshold"),
    "extras": ("continuous", "picks that no arrival explains"),
    "audit": ("audit", "reviewers' answers about a sample of the extras"),
    "calibration": ("continuous", "whether probabilities mean what they say"),
    "reliability": ("continuous", "shares matched by probability"),
    "leakage": ("splits", "whether a candidate was trained on what it is judged by"),
    "openings": ("splits", "how often the test split was opened"),
    "snippets": ("report", "waveforms of misses and extras"),
    "snr": ("snr", "signal and noise of every bin and metric"),
    "ruled_board": ("arena battle", "battles decided by rule on labelled traces"),
    "day_ruled_board": ("arena battle", "battles decided by rule on continuous days"),
    "voted_board": ("arena battle", "what people said of pairs of candidates"),
    "provenance": ("report", "weights, versions and data behind the numbers"),
}


_NEEDS: Mapping[str, str] = {
    "oracle": "where the file names a [[benchmark]]",
    "compare": "where the file names a [[benchmark]] and two candidates",
    "noise": "where the file names [noise]",
    "continuous": "where the file names [continuous]",
    "audit": "with [continuous], as a sheet to answer",
    "splits": "where the file names splits",
    "snr": "where the file names a [[benchmark]] and two candidates; [[family]] gives its noise",
    "arena battle": "where the file names [noise] and traces or days; votes are named in [arena]",
}


def missing(subject: Subject, table: str) -> Missing:
    what, said = _COMMANDS[table]
    command = what if " " in what else f"eval {what}"
    return Missing(table, said, f"tidepick {command} {subject.file}", _NEEDS.get(what, ""))


def plain_grid(caption: str | Markup, rows: Sequence[Row], folded: bool = False) -> Grid:
    """A table as it is, all its columns."""
    names = list(rows[0].values) if rows else []
    return Grid(
        caption,
        [name.replace("_", " ") for name in names],
        [[plain_cell(row, name) for name in names] for row in rows],
        folded,
    )


def plain_cell(row: Row, column: str) -> str | Markup:
    value = row[column]
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return "" if value is None else str(value)
    return quote(row, column, "count" if isinstance(value, int) else "probability")
