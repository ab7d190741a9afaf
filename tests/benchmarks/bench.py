"""`make bench`: tidepick against SeisBench on one synthetic station-day, in one run, as ratios.

Both read the same miniSEED files and run the same weights on one thread; CPU seconds, the least of
several rounds that take turns. Prints a table and writes bench.json.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import obspy
import seisbench.models as sbm
import torch
from rich.console import Console
from rich.table import Table

from catalog.schema import StationDay, TraceId
from workers.archives import ArchiveConfig, open_archive
from workers.engines import open_engine
from workers.pipeline import pick_span
from workers.span import Candidate
from workers.synthetic import network_days, write_sds
from workers.weights import Weights, resolve

TRACE = TraceId("XX", "BENCH", "", "HH")
DAY = StationDay(TRACE, date(2024, 3, 1))
GAPS_S = ((7_200.0, 7_201.0), (30_000.0, 30_090.0), (50_000.0, 50_000.5), (70_000.0, 73_600.0))
ROUNDS = 3
BATCHES = (32, 64, 256)  # 256 is SeisBench's default


def main() -> int:
    torch.set_num_threads(1)
    console = Console()
    with tempfile.TemporaryDirectory(prefix="tidepick-bench-") as folder:
        console.print("one station-day: 3 components, 100 Hz, gaps, about 200 events")
        write_day(Path(folder))
        results = measure(Path(folder), console)
    Path("bench.json").write_text(json.dumps(results, indent=1) + "\n")
    console.print(table(results))
    console.print("written: bench.json")
    return 0


def write_day(root: Path) -> None:
    rng = np.random.default_rng(1)
    write_sds(
        root, network_days([TRACE], DAY.start_ns, 86_400.0, 200 / 24, rng, gaps={TRACE: GAPS_S})
    )


def measure(root: Path, console: Console) -> dict[str, Any]:
    """CPU seconds of every contender, and the ratios that the README quotes."""
    weights = resolve("builtin:synthetic")
    contenders: dict[str, Callable[[], int]] = {
        f"seisbench batch {batch}": seisbench_run(root, weights, batch) for batch in BATCHES
    }
    for engine in ("exact", "fast"):
        contenders[engine] = tidepick_run(root, weights, engine, 1)
    contenders["fast, two candidates"] = tidepick_run(root, weights, "fast", 2)
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    picks: dict[str, int] = {}
    for round_ in range(ROUNDS):
        for name, run in contenders.items():
            begun = time.process_time()
            picks[name] = run()
            seconds[name].append(time.process_time() - begun)
            console.print(f"round {round_ + 1}: {name}: {seconds[name][-1]:.2f} CPU s")
    least = {name: min(values) for name, values in seconds.items()}
    default = least["seisbench batch 256"]
    best = min(value for name, value in least.items() if name.startswith("seisbench"))
    ratios = {
        engine: {
            "cpu_s": round(least[engine], 3),
            "vs_seisbench_default": round(default / least[engine], 2),
            "vs_seisbench_best": round(best / least[engine], 2),
        }
        for engine in ("exact", "fast")
    }
    return {
        **ratios,
        "two_candidates": round(2 * least["fast"] / least["fast, two candidates"], 2),
        "cpu_s": least,
        "picks": picks,
        "torch": torch.__version__,
    }


def seisbench_run(root: Path, weights: Weights, batch: int) -> Callable[[], int]:
    use = weights.preparation
    model = sbm.PhaseNet(phases=use.phases, norm=use.norm, component_order=use.components)
    model.load_state_dict(weights.network().state_dict())
    model.eval()

    def run() -> int:
        stream = obspy.Stream()
        for path in sorted(root.rglob(f"{TRACE.network}.{TRACE.station}.*")):
            stream += obspy.read(str(path))
        return len(model.classify(stream, P_threshold=0.2, S_threshold=0.2, batch_size=batch).picks)

    return run


def tidepick_run(root: Path, weights: Weights, engine: str, count: int) -> Callable[[], int]:
    candidates = [
        Candidate(str(k), weights, open_engine(engine, weights), {"P": 0.2, "S": 0.2})
        for k in range(count)
    ]

    def run() -> int:
        archive = open_archive(ArchiveConfig(kind="sds", root=str(root)))
        picked = pick_span(archive, TRACE, DAY.start_ns, DAY.end_ns, candidates)["0"].picks
        # at the floor itself, the picks that SeisBench reports: the rest serve higher thresholds
        return sum(saddle < 0.1 for saddle in picked["saddle"].to_pylist())

    return run


def table(results: dict[str, Any]) -> Table:
    drawn = Table("one station-day, one thread", "CPU s", "SeisBench default / it", "picks")
    default = results["cpu_s"]["seisbench batch 256"]
    for name, seconds in results["cpu_s"].items():
        picks = f"{results['picks'][name]:,}"
        drawn.add_row(name, f"{seconds:.2f}", f"{default / seconds:.2f}", picks)
    return drawn


if __name__ == "__main__":
    sys.exit(main())
