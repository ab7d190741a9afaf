"""`make bench`: tidepick against its peers on one synthetic station-day, in one run, as ratios.

All read the same miniSEED files and run the same weights on one thread; CPU seconds, the least of
several rounds in which they take turns. Prints tables in markdown and writes bench.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress

from service.bench.stages import ASSEMBLE, FORWARD, PEAKS, READ, STACK, STAGES, WINDOWS
from tests.benchmarks import machine
from tests.benchmarks.contenders import Contender, Taken, candidate, take_turns, tidepick
from tests.benchmarks.days import (
    GAPS,
    SHORT,
    WHOLE,
    Scope,
    Stretch,
    at_rate,
    narrow,
    wide,
    write_days,
)
from tests.benchmarks.peers import (
    RAPID_BATCHES,
    SEISBENCH_BATCHES,
    rapid_contender,
    rapid_missing,
    seisbench_contender,
)
from tests.benchmarks.processes import start_to_first_shard_s, workers
from tests.benchmarks.tables import tables
from workers.archives import ArchiveConfig, open_archive
from workers.engines import CPU_BATCH, open_engine
from workers.phasenet import WINDOW
from workers.pipeline import read_span
from workers.resampling import on_grid
from workers.span import Span
from workers.synthetic import RATE
from workers.tensors import Folded, TensorEngine
from workers.weights import Weights

FULL = Scope(rounds=3, hours=24, short_hours=4)
QUICK = Scope(rounds=1, hours=1, short_hours=1)
OTHER_RATES = (40.0, 125.0, 200.0)
TWO, ENSEMBLE = "fast, two candidates", "fast, ensemble of two"


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round over one hour")
    parser.add_argument("--out", type=Path, default=Path("bench.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    console = Console(width=max(Console().width, 110))
    begun = time.monotonic()
    with (
        tempfile.TemporaryDirectory(prefix="tidepick-bench-") as folder,
        Progress(console=console, transient=True) as progress,
    ):
        results = measure(Path(folder), QUICK if arguments.quick else FULL, progress)
    results["minutes"] = (time.monotonic() - begun) / 60
    arguments.out.write_text(json.dumps(rounded(results), indent=1) + "\n")
    for title, table in tables(results):
        console.print(f"\n[bold]{title}")
        console.print(table)
    console.print(f"\nwritten: {arguments.out}")
    return 0


def measure(folder: Path, scope: Scope, progress: Progress) -> dict[str, Any]:
    """Everything, by the keys of bench.json."""
    results: dict[str, Any] = {"machine": machine.facts(), "hours": scope.hours}
    results["rounds"], results["rapid"] = scope.rounds, rapid_missing() or "measured"
    task = progress.add_task("writing the station-day", total=None)
    stretches = write_days(folder / "sds", scope)
    progress.remove_task(task)

    weights, rapid = narrow(), results["rapid"] == "measured"
    least = take_turns(
        contenders(stretches[GAPS], weights) | further(stretches[GAPS], weights),
        scope.rounds,
        progress,
        "with gaps",
    )
    whole = stretches[WHOLE]
    without_gaps = (
        take_turns(ours(whole, weights) | rapids(whole, weights), scope.rounds, progress, "RAPID")
        if rapid
        else {}
    )
    results |= ratios(least, without_gaps) | {"contenders": table_of(least)}
    results["without_gaps"] = table_of(without_gaps)
    results |= sharing(least)
    results["stages"] = {
        name: {stage: least[key].stages.get(stage, 0.0) for stage in STAGES}
        for name, key in (("fast", "fast"), ("exact", "exact"), ("seisbench", seisbench(256)))
    }
    results["limits"] = limits(stretches[GAPS], weights, least["fast"])

    larger, short = wide(folder), stretches[SHORT]
    entrants = contenders(short, larger) | (rapids(short, larger) if rapid else {})
    least = take_turns(entrants, scope.rounds, progress, "twice as wide")
    results["wide"] = {"hours": scope.short_hours, **ratios(least, least if rapid else {})}
    results["wide"]["contenders"] = table_of(least)

    task = progress.add_task("resampling", total=None)
    results["resample_cpu_s"] = resampling(whole)
    progress.update(task, description="workers")
    results |= workers(stretches[GAPS], scope)
    progress.update(task, description="tidepick run")
    results["start_to_first_shard_s"] = start_to_first_shard_s(folder, stretches[GAPS])
    progress.remove_task(task)
    return results


def seisbench(batch: int) -> str:
    return f"SeisBench, batch {batch}"


def ours(stretch: Stretch, weights: Weights) -> dict[str, Contender]:
    return {
        name: tidepick(stretch, [candidate("0", open_engine(name), weights)])
        for name in ("exact", "fast")
    }


def rapids(stretch: Stretch, weights: Weights) -> dict[str, Contender]:
    return {f"RAPID, batch {b}": rapid_contender(stretch, weights, b) for b in RAPID_BATCHES}


def contenders(stretch: Stretch, weights: Weights) -> dict[str, Contender]:
    """SeisBench and ours, one candidate each."""
    return {
        **{seisbench(b): seisbench_contender(stretch, weights, b) for b in SEISBENCH_BATCHES},
        **ours(stretch, weights),
    }


def further(stretch: Stretch, weights: Weights) -> dict[str, Contender]:
    """`fast` as it is without a C compiler, and two networks that share one read."""
    fast, torch_alone = open_engine("fast"), TensorEngine(Folded(), "cpu", CPU_BATCH)
    pair = [candidate(name, fast, weights) for name in ("0", "1")]
    return {
        "fast, torch alone": tidepick(stretch, [candidate("0", torch_alone, weights)]),
        TWO: tidepick(stretch, pair),
        ENSEMBLE: tidepick(stretch, [candidate("0", fast, weights, weights)]),
    }


def ratios(least: Mapping[str, Taken], without_gaps: Mapping[str, Taken]) -> dict[str, Any]:
    """How many times the CPU seconds of each of our engines the peers take."""
    best = min(least[seisbench(batch)].cpu_s for batch in SEISBENCH_BATCHES)
    rapid = min((t.cpu_s for name, t in without_gaps.items() if "RAPID" in name), default=None)
    return {
        engine: {
            "cpu_s": least[engine].cpu_s,
            "vs_seisbench_default": least[seisbench(256)].cpu_s / least[engine].cpu_s,
            "vs_seisbench_best": best / least[engine].cpu_s,
            "vs_rapid": rapid / without_gaps[engine].cpu_s if rapid else None,
        }
        for engine in ("exact", "fast")
    }


def sharing(least: Mapping[str, Taken]) -> dict[str, Any]:
    """What two networks in one read cost against two runs. Saved: of what is before the forward."""
    one, two = least["fast"], least[TWO]
    once, both = (sum(t.stages[stage] for stage in (READ, ASSEMBLE, WINDOWS)) for t in (one, two))
    return {
        "non_forward_cpu_s": one.non_forward_s,
        "two_candidates": 2 * one.cpu_s / two.cpu_s,
        "two_candidates_saved_s": 2 * once - both,
        "before_forward_s": once,
        "ensemble_of_two": 2 * one.cpu_s / least[ENSEMBLE].cpu_s,
    }


def table_of(least: Mapping[str, Taken]) -> dict[str, Any]:
    return {name: {"cpu_s": taken.cpu_s, "picks": taken.picks} for name, taken in least.items()}


def limits(stretch: Stretch, weights: Weights, fast: Taken) -> dict[str, Any]:
    """What this machine needs at least for each stage: seconds, by stage; and why.

    Bytes that have to be read and written at the speed of a copy: int32 samples in and out of the
    grid, windows made of them, probabilities added into curves, curves looked at.
    """
    archive = open_archive(ArchiveConfig(kind="sds", root=str(stretch.root)))
    span = stretch.trace, stretch.start_ns, stretch.end_ns
    ready = [candidate("0", open_engine("fast"), weights)]
    on_the_grid = Span.of(read_span(archive, *span, ready), *span, RATE)
    raw, windows = on_the_grid.waveform.data.nbytes, len(on_the_grid.windows())
    per_window, curves = 4 * WINDOW, raw * 2 // 3
    peak, copied = machine.peak_gflops(), machine.memory_gb_s(raw)
    work = machine.gflop(weights, windows)
    nbytes = {
        ASSEMBLE: 2 * raw,
        WINDOWS: raw + windows * 3 * per_window,
        STACK: windows * 2 * per_window + curves,
        PEAKS: curves,
    }
    return {
        "windows": windows,
        "gflop": work,
        "peak_gflops": peak,
        "forward_gflops": work / fast.stages[FORWARD],
        "forward_share_of_peak": work / fast.stages[FORWARD] / peak if peak else None,
        "memory_gb_s": copied,
        "seconds": {
            READ: machine.bare_unpacking_s(stretch.files()),
            FORWARD: work / peak if peak else None,
            **{stage: size / 1e9 / copied for stage, size in nbytes.items()},
        },
    }


def resampling(stretch: Stretch) -> dict[str, float]:
    """CPU seconds to bring three components at each other rate onto the grid."""
    first, last = (ns * RATE // 10**9 for ns in (stretch.start_ns, stretch.end_ns))
    seconds = {}
    for rate in OTHER_RATES:
        fragments = at_rate(rate, (last - first) / RATE / 3600, stretch.start_ns)
        taken = []
        for _ in range(2):
            begun = time.process_time()
            on_grid(fragments, RATE, first, last)
            taken.append(time.process_time() - begun)
        seconds[f"{rate:g}"] = min(taken)
    return seconds


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: rounded(each) for key, each in value.items()}
    return round(float(value), 4) if isinstance(value, float) else value


if __name__ == "__main__":
    sys.exit(main())
