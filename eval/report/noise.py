"""False picks on verified noise: pooled against the threshold, and by station."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from catalog.schema import PHASES
from eval.noise import RATE_SCHEMA
from eval.report.curves import curves
from eval.report.panels import Dot, dots, lines
from eval.report.rows import Row, code, counted, distinct, first, interval, of, quote, rows_of
from eval.report.section import Figures, Grid, Panel, Part, Section, Subject, missing, plain_grid
from eval.strata import ALL


def noise_section(subject: Subject) -> Section:
    """False picks by station."""
    pooled = rows_of(subject.tables, "noise_rates", RATE_SCHEMA)
    stations = rows_of(subject.tables, "noise_stations", RATE_SCHEMA)
    parts: list[Part] = []
    if pooled:
        panels = [_rate_curve(subject, phase, pooled) for phase in PHASES]
        parts.append(
            Figures([p for p in panels if p], subject.in_order(distinct(pooled, "candidate")))
        )
    else:
        parts.append(missing(subject, "noise_rates"))
    if stations:
        thresholds = distinct(stations, "threshold")
        judged = subject.threshold if subject.threshold in thresholds else None
        shown = [row for row in stations if judged is None or row["threshold"] == judged]
        parts += _by_station(subject, shown, judged)
    else:
        parts.append(missing(subject, "noise_stations"))
    if "noise_thresholds" in subject.tables:
        caption = "The lowest thresholds from which on no candidate exceeds the target rate"
        parts.append(plain_grid(caption, subject.rows("noise_thresholds")))
    else:
        parts.append(missing(subject, "noise_thresholds"))
    if why := subject.rows("noise_why"):
        parts.append(plain_grid("Windows that are no noise, and why", why, folded=True))
    return Section(
        "noise",
        "False picks on verified noise",
        "Windows in which no arrival can be, however they were chosen; only here is every pick "
        "false. Intervals of pooled rates are over stations, those of one station Garwood's.",
        parts,
    )


def _rate_curve(subject: Subject, phase: str, pooled: Sequence[Row]) -> Panel | None:
    own = sorted(of(pooled, station=ALL, phase=phase), key=lambda row: row["threshold"])
    if not own:
        return None
    positive = [row["value"] for row in own if row["value"] > 0]
    svg = lines(
        curves(subject, own, "threshold", "value"),
        f"False {phase} picks per station-hour against the threshold",
        "threshold",
        "false picks per station-hour",
        least=min(positive, default=1.0),
        unit_y=False,
    )
    hours = own[0]
    caption = Markup(
        "{}: false picks against the threshold, {} windows, {} station-hours; bars may run on"
    ).format(phase, quote(hours, "windows", "count"), quote(hours, "hours", "rate"))
    return Panel(caption, svg)


def _by_station(subject: Subject, rows: Sequence[Row], judged: float | None) -> list[Part]:
    at = f"at threshold {judged:g}" if judged is not None else "at each candidate's threshold"
    panels = []
    candidates = subject.in_order(distinct(rows, "candidate"))
    for phase in PHASES:
        own = list(of(rows, phase=phase))
        worst = sorted(
            distinct(own, "station"),
            key=lambda station: (
                -max(float(r["value"]) for r in of(own, station=station)),
                station,
            ),
        )
        bins = {
            station: [
                Dot(subject.rank(c), row["value"], row["garwood_low"], row["garwood_high"])
                for c in candidates
                if (row := first(own, station=station, candidate=c)) is not None
            ]
            for station in worst[:20]
        }
        if not bins:
            continue
        more = f" (the worst 20 of {len(worst)})" if len(worst) > 20 else ""
        svg = dots(
            bins,
            f"False {phase} picks per station-hour of each station {at}",
            "false picks per station-hour",
        )
        panels.append(Panel(f"{phase}: stations {at}{more}", svg))
    body = [
        [
            Markup("{} {} {}").format(row["station"], code(row["candidate"]), row["phase"]),
            quote(row, "threshold", "probability"),
            Markup("<b>{}</b>{}").format(
                quote(row, "value", "rate"), interval(row, "rate", "garwood_low", "garwood_high")
            ),
            counted(row, "count", Markup("in"), "hours", Markup("h")),
        ]
        for row in rows
    ]
    table = Grid(
        f"False picks by station {at}",
        ("station, candidate, phase", "threshold", "per station-hour", "count"),
        body,
        folded=True,
    )
    return [Figures(panels, candidates), table]
