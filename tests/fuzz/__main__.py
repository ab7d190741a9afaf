"""`python -m tests.fuzz --files 100000 --seed 0`: bad files through the decoder, each in bounds.

Every process that reads is watched: a crash, a file that takes too long, memory beyond the bound
and whatever is raised that is not BadFormat are told, and the file is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn
from rich.table import Table

from tests.fuzz.mutate import mutated
from tests.fuzz.worker import DEADLINE_S, Worker

HANGS = (-signal.SIGPROF, -signal.SIGKILL)
"""Exit codes of a process that was ended because it took too long."""


def fuzz(files: int, seed: int, processes: int, keep: Path, out: Console) -> dict[str, Any]:
    """Files [0, files), up to an interrupt: what was found, the slowest and the largest."""
    verdicts: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    found: list[dict[str, Any]] = []
    slowest, largest = (0.0, ""), (0, "")
    cpu = 0.0

    def note(number: int, name: str, verdict: str, wrong: str) -> None:
        verdicts[verdict] += 1
        kinds[name.partition(":")[0]] += 1
        if wrong:
            found.append({"number": number, "name": name, "verdict": verdict, "wrong": wrong})
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{seed}-{number}").write_bytes(mutated(number, seed)[1])
            out.print(f"[red]{verdict}[/] {number} {name}: {wrong.strip().splitlines()[-1]}")

    begun = time.monotonic()
    step = min(processes, files)
    workers = {k: Worker(k, step, files, seed) for k in range(step)}
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    # what was found by then counts, where it is interrupted
    with suppress(KeyboardInterrupt), Progress(*columns, console=out) as progress:
        task = progress.add_task("files", total=files)
        while verdicts.total() < files:
            wait([worker.results for worker in workers.values()], timeout=1.0)
            for k, worker in list(workers.items()):
                try:
                    for number, name, verdict, seconds, beyond, wrong in worker.told():
                        note(number, name, verdict, wrong)
                        slowest = max(slowest, (seconds, name))
                        largest = max(largest, (beyond, name))
                        cpu += seconds
                except EOFError:
                    worker.process.join()
                    number = int(worker.at.value)
                    del workers[k]
                    if number >= files:
                        continue
                    code = worker.process.exitcode
                    name = mutated(number, seed)[0]
                    note(number, name, "hang" if code in HANGS else "crash", f"exit code {code}")
                    if number + step < files:
                        workers[k] = Worker(number + step, step, files, seed)
                    continue
                if time.monotonic() - worker.began > DEADLINE_S:
                    worker.process.kill()
            progress.update(task, completed=verdicts.total())
    return {
        "files": verdicts.total(),
        "seed": seed,
        "verdicts": dict(verdicts),
        "kinds": dict(kinds),
        "wall_s": round(time.monotonic() - begun, 1),
        "cpu_s": round(cpu, 1),
        "slowest_cpu_s": [round(slowest[0], 3), slowest[1]],
        "largest_mb": [round(largest[0] / 2**20, 1), largest[1]],
        "found": found,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-found"), help="folder of bad files")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    out = Console(stderr=options.json)
    facts = fuzz(options.files, options.seed, options.processes, options.keep, out)
    if options.json:
        print(json.dumps(facts, indent=1))
    else:
        table = Table(show_header=False)
        for key, value in facts.items():
            if key != "found":
                table.add_row(key, str(value))
        out.print(table)
    return 1 if facts["found"] else 0


if __name__ == "__main__":
    sys.exit(main())
