"""python -m tests.chaos --seeds 0-19 --station-days 200 --out chaos.json"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from tests.chaos.archive import Network
from tests.chaos.campaign import Result, place, run_seed


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Whole campaigns on Ray under attack.",
        epilog="Its processes are started again all the time and import this checkout: run it from "
        "a clone that nobody edits meanwhile.",
    )
    parser.add_argument("--seeds", type=seeds, default=seeds("0-2"), help="0-19, or 3,5,8")
    parser.add_argument("--station-days", type=int, default=200, help="at least so many")
    parser.add_argument("--actions", type=int, default=30, help="attacks on processes, a seed")
    parser.add_argument("--out", type=Path, default=Path("chaos.json"))
    parser.add_argument("--folder", type=Path, help="of logs, kept; else a temporary one")
    options = parser.parse_args()
    network = Network.of(options.station_days)
    console = Console()
    results: list[Result] = []
    folder = options.folder or Path(tempfile.mkdtemp(prefix="tidepick-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"{network.station_days} station-days, 2 candidates; logs in {folder}")
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with (
        Progress(*columns, TimeElapsedColumn(), console=console) as progress,
        place(network, folder) as where,
    ):
        task = progress.add_task("seeds", total=len(options.seeds))
        for seed in options.seeds:
            result = run_seed(
                where,
                seed,
                options.actions,
                lambda text, seed=seed: progress.update(task, description=f"seed {seed}: {text}"),  # type: ignore[misc]
            )
            results.append(result)
            progress.update(task, advance=1)
            told = {
                "station_days": network.station_days,
                "seeds": [result.to_json() for result in results],
            }
            options.out.write_text(json.dumps(told, indent=1))
            if not result.holds:
                console.print(f"seed {seed} does not hold: {result.why} {result.misread}")
    wide = Console(width=max(console.width, 150))
    wide.print(runs_table(results))
    console.print(faults_table(results))
    return 0 if all(result.holds for result in results) else 1


def seeds(text: str) -> list[int]:
    """`0-3,8` -> 0, 1, 2, 3, 8."""
    found: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return found


def runs_table(results: Sequence[Result]) -> Table:
    titles = ("seed", "runs", "actors", "nodes", "drivers", "endpoint", "faults", "of requests")
    rows = ("rows", "found", "lost", "twice", "strange", "no outcome", "orphans", "reads", "s")
    table = Table(*titles, *rows, title="killed, frozen or closed; and what came of it")
    for result in results:
        deeds, verdict = Counter(result.deeds), result.verdict
        table.add_row(
            *map(
                str,
                (
                    result.seed,
                    result.invocations,
                    sum(n for deed, n in deeds.items() if "actor" in deed),
                    deeds["node killed"],
                    sum(n for deed, n in deeds.items() if deed.startswith("driver")),
                    sum(n for deed, n in deeds.items() if deed.startswith("endpoint")),
                    sum(result.faults.values()),
                    sum(result.requests.values()),
                    verdict.expected,
                    verdict.found,
                    verdict.lost,
                    verdict.twice,
                    verdict.strange,
                    verdict.without,
                    verdict.orphans,
                    sum(n for read, n in result.reads.items() if read.endswith("answered")),
                    round(result.seconds),
                ),
            )
        )
    return table


def faults_table(results: Sequence[Result]) -> Table:
    """Every kind of attack, over all seeds."""
    table = Table("what befell", "times")
    for kind in ("deeds", "faults"):
        total: Counter[str] = Counter()
        for result in results:
            total.update(getattr(result, kind))
        for name, count in sorted(total.items()):
            table.add_row(name, f"{count:,}")
        table.add_section()
    return table


if __name__ == "__main__":
    sys.exit(main())
