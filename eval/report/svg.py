"""A matplotlib figure -> SVG inside the page, in the page's own colours and letters.

Colours are drawn as stand-ins and replaced by the page's variables, so that one figure is right on
a light and on a dark page.
"""

from __future__ import annotations

import io
import re
from typing import Any

import matplotlib
from markupsafe import Markup
from matplotlib.figure import Figure

from eval.report.figure import GAP_COLOUR, PHASE_COLOUR, STYLE, TRACE_COLOUR
from eval.report.score_figure import CANDIDATE_COLOURS

INK, FAINT, PAPER = "#010101", "#020202", "#ffffff"
COLOURS = 8
DASHES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

_VARIABLES: dict[str, str] = {
    INK: "currentColor",
    TRACE_COLOUR: "currentColor",
    FAINT: "var(--faint)",
    PAPER: "var(--paper)",
    GAP_COLOUR: "var(--gap)",
    PHASE_COLOUR["P"].lower(): "var(--p)",
    PHASE_COLOUR["S"].lower(): "var(--s)",
    "#dddddd": "var(--rule)",
}
_VARIABLES |= {f"#0101{16 + k:02x}": f"var(--c{k})" for k in range(COLOURS)}
_VARIABLES |= {name.lower(): f"var(--c{k})" for k, name in enumerate(CANDIDATE_COLOURS)}

_NOTHING = r"<g>\s*<g/>\s*</g>|<g/>"
"""Where matplotlib keeps the place of a tick that is not drawn."""

THEME: dict[Any, Any] = STYLE | {
    "svg.fonttype": "none",
    "svg.hashsalt": "tidepick",
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": FAINT,
    "grid.linewidth": 0.4,
    "grid.alpha": 0.5,
    "font.size": 9,
}


def colour(rank: int) -> str:
    """The stand-in of a candidate's colour; after eight they begin again, with another dash."""
    return f"#0101{16 + rank % COLOURS:02x}"


def line_style(rank: int) -> dict[str, Any]:
    """Colour, dash and marker of a candidate: two of three differ for any two of the first 32."""
    return {
        "color": colour(rank),
        "ls": DASHES[(rank + rank // COLOURS) % len(DASHES)],
        "marker": MARKERS[rank % len(MARKERS)],
        "ms": 4,
        "lw": 1.4,
    }


def new_figure(width_in: float, height_in: float) -> Figure:
    return Figure(figsize=(width_in, height_in), layout="constrained")


def inline(figure: Figure, alt: str) -> Markup:
    """The figure as an <svg> element, which may stand in a page with others."""
    sink = io.StringIO()
    with matplotlib.rc_context(THEME):
        figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None})
    return as_element(sink.getvalue(), alt)


def as_element(text: str, alt: str) -> Markup:
    """The <svg> element of a file that matplotlib wrote, in the page's colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", "", text, flags=re.S)
    head, _, body = text.partition(">")
    box = re.search(r'viewBox="[^"]*"', head)
    assert box, "matplotlib writes a viewBox"
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r"#[0-9a-f]{6}\b", lambda found: _VARIABLES.get(found[0], found[0]), body)
    body = re.sub(r' d="([^"]*)"', lambda path: f' d="{shortened(path[1])}"', body)
    body = re.sub(r" ?font-family: [^;\"]*;?| transform=\"rotate\(-?0 [^\"]*\"", "", body)
    body = re.sub(r"\n\s*", "\n", re.sub(_NOTHING, "", body))
    title = Markup("<title>{}</title>").format(alt)
    return Markup(f'<svg {box[0]} role="img">{title}{body.rstrip()}')


def shortened(path: str) -> str:
    """The same path in steps of a hundredth of a point, each point told from the one before.

    Curves keep their coordinates, to a hundredth.
    """
    if re.search(r"[^MLz\d\s.eE+-]", path):
        return re.sub(r"(\.\d\d)\d+", r"\1", path)
    said: list[str] = []
    at, begun = (0, 0), (0, 0)
    for letter, x, y in re.findall(r"([MLz])\s*([\d.eE+-]*)\s*([\d.eE+-]*)", path):
        if letter == "z":
            said.append("z")
            at = begun
            continue
        to = round(100 * float(x)), round(100 * float(y))
        if letter == "M":
            begun = to
        said.append(f"{letter.lower()}{_step(to[0] - at[0])} {_step(to[1] - at[1])}")
        at = to
    return "".join(said)


def _step(hundredths: int) -> str:
    """`.5`, `-12.25`, `0`."""
    text = f"{hundredths / 100:.2f}".rstrip("0").rstrip(".")
    return re.sub(r"^(-?)0\.", r"\1.", text) if text not in ("-0", "0") else "0"
