"""The report: one html page that needs nothing but itself."""

from __future__ import annotations

from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eval.report.arena import arena_section
from eval.report.bins import strata_section, timing_section
from eval.report.continuous_days import calibration_section, days_section
from eval.report.examples import examples_section
from eval.report.honesty import definitions_section, provenance_section, splits_section
from eval.report.leaderboard import headline
from eval.report.noise import noise_section
from eval.report.section import Figures, Grid, Missing, Section, Subject, Words
from eval.report.signal import signal_section
from eval.report.svg import COLOURS, DASHES, MARKERS, line_style
from eval.report.trade import trade

SECTIONS: tuple[Callable[[Subject], Section], ...] = (
    headline,
    trade,
    timing_section,
    strata_section,
    days_section,
    calibration_section,
    noise_section,
    signal_section,
    arena_section,
    examples_section,
    splits_section,
    provenance_section,
    definitions_section,
)
"""In the order of the page."""

_SHAPES = {
    "o": '<circle cx="16" cy="6" r="3.2"/>',
    "s": '<rect x="13" y="3" width="6" height="6"/>',
    "^": '<path d="M16 2l4 7h-8z"/>',
    "D": '<path d="M16 2l4 4-4 4-4-4z"/>',
    "v": '<path d="M16 10l4-7h-8z"/>',
    "P": '<path d="M14.5 2h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5z"/>',
    "X": '<path d="M12 3.5l1.5-1.5 2.5 2.5 2.5-2.5 1.5 1.5-2.5 2.5 2.5 2.5-1.5 1.5-2.5-2.5-2.5 '
    '2.5-1.5-1.5 2.5-2.5z"/>',
    "*": '<path d="M16 1l1.5 3.4 3.7.4-2.8 2.5.8 3.7-3.2-1.9-3.2 1.9.8-3.7-2.8-2.5 3.7-.4z"/>',
}
assert set(_SHAPES) == set(MARKERS)


def render(subject: Subject) -> str:
    """The page. Raises ValueError, naming table and column, for a table of another schema."""
    environment = Environment(
        loader=PackageLoader("eval.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests |= {
        "figures": lambda part: isinstance(part, Figures),
        "grid": lambda part: isinstance(part, Grid),
        "missing": lambda part: isinstance(part, Missing),
        "words": lambda part: isinstance(part, Words),
    }
    style, _, _ = environment.loader.get_source(environment, "page.css")  # type: ignore[union-attr]
    return environment.get_template("page.html.jinja").render(
        subject=subject,
        sections=[make(subject) for make in SECTIONS],
        style=Markup(style),
        swatch=lambda name: swatch(subject.rank(name)),
    )


def swatch(rank: int) -> Markup:
    """A candidate's line and marker, as its figures draw them."""
    dash = line_style(rank)["ls"]
    dashes = "" if dash == "-" else ' stroke-dasharray="{}"'.format(" ".join(map(str, dash[1])))
    assert dash in DASHES
    shape = _SHAPES[MARKERS[rank % len(MARKERS)]]
    return Markup(
        f'<svg class="swatch" viewBox="0 0 32 12" aria-hidden="true" '
        f'style="color:var(--c{rank % COLOURS})"><path d="M0 6h32" stroke="currentColor" '
        f'stroke-width="2"{dashes}/><g fill="currentColor">{shape}</g></svg>'
    )
