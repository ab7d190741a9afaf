"""bench.json as tables in markdown, to read in the terminal and to paste."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.table import Table

from service.bench.stages import STAGES

TARGETS = {
    "non_forward_cpu_s": "0.30",
    "rss_gb": "1.1",
    "two_workers": "1.8",
    "two_candidates_saved_s": "before_forward_s",
}


def tables(results: Mapping[str, Any]) -> Iterator[tuple[str, Table]]:
    machine = ", ".join(f"{name} {value}" for name, value in results["machine"].items())
    yield (
        f"A station-day of {results['hours']:g} h with gaps, one thread ({machine})",
        speed(results["contenders"], "SeisBench"),
    )
    if results["without_gaps"]:
        title = "The same without gaps, of which RAPID would keep the first stretch alone"
        yield title, speed(results["without_gaps"], "RAPID")
    wide = results["wide"]
    yield (
        f"{wide['hours']:g} h without gaps, network twice as wide",
        speed(wide["contenders"], "SeisBench"),
    )
    yield "CPU seconds by stage, and the least that this machine needs", stages(results)
    yield (
        f"How many times our CPU seconds the peers take (RAPID: {results['rapid']})",
        ratios(results),
    )
    yield "And", others(results)


def speed(contenders: Mapping[str, Any], peer: str) -> Table:
    """peer: the one that all are held against; its first entry is its default."""
    table = _table("", "CPU s", f"{peer}, default / it", f"{peer}, best / it", "picks")
    theirs = [taken["cpu_s"] for name, taken in contenders.items() if name.startswith(peer)]
    for name, taken in contenders.items():
        against = [_figure(cpu_s / taken["cpu_s"]) for cpu_s in (theirs[0], min(theirs))]
        table.add_row(name, _figure(taken["cpu_s"]), *against, f"{taken['picks']:,}")
    return table


def ratios(results: Mapping[str, Any]) -> Table:
    keys = ("cpu_s", "vs_seisbench_default", "vs_seisbench_best", "vs_rapid")
    table = _table("", "CPU s", "SeisBench, default", "SeisBench, best", "RAPID")
    for name, part in (("original size", results), ("twice as wide", results["wide"])):
        for engine in ("exact", "fast"):
            table.add_row(f"{engine}, {name}", *(_figure(part[engine][key]) for key in keys))
    return table


def stages(results: Mapping[str, Any]) -> Table:
    table = _table("stage", "fast", "at least", "exact", "SeisBench, batch 256")
    taken, least = results["stages"], results["limits"]["seconds"]
    for stage in STAGES:
        exact, seisbench = taken["exact"][stage], taken["seisbench"][stage]
        cells = taken["fast"][stage], least.get(stage), exact, seisbench
        table.add_row(stage, *(_figure(cell, 3) for cell in cells))
    fast, exact, seisbench = (sum(taken[name].values()) for name in ("fast", "exact", "seisbench"))
    table.add_row("all", *(_figure(cell, 3) for cell in (fast, None, exact, seisbench)))
    return table


def others(results: Mapping[str, Any]) -> Table:
    table = _table("what", "measured", "target")
    flat = {k: v for k, v in results.items() if isinstance(v, float) and k != "hours"}
    flat |= {f"resample_cpu_s, {rate} Hz": v for rate, v in results["resample_cpu_s"].items()}
    flat |= {k: v for k, v in results["limits"].items() if not isinstance(v, dict)}
    for name, value in flat.items():
        target = "0.3" if name.startswith("resample") else TARGETS.get(name, "")
        table.add_row(name, _figure(value), target)
    return table


def _table(first: str, *columns: str) -> Table:
    table = Table(first, box=box.MARKDOWN)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _figure(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"
