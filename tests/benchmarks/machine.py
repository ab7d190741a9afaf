"""The machine under the measurement: its name, and what it could do at most."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pymseed import MS3TraceList
from torch.utils.flop_counter import FlopCounterMode

from workers.engines import kernel_instructions
from workers.phasenet import WINDOW
from workers.weights import Weights

REPEATS = 5

FMA_LOOP = r"""
#include <stdio.h>
#include <time.h>
#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif
#define CHAINS 12
typedef float V __attribute__((vector_size(LANES * 4)));
int main(int count, char **none)
{
    const long rounds = 50000000;
    V sum[CHAINS], x = {0}, y = {0};
    (void)none;
    x += 0.999999f, y += 1e-6f * count;
    for (int k = 0; k < CHAINS; k++)
        sum[k] = y * (float)k;
    const clock_t begun = clock();
    for (long i = 0; i < rounds; i++) {
#pragma GCC unroll 12
        for (int k = 0; k < CHAINS; k++)
            sum[k] = sum[k] * x + y;
    }
    const double seconds = (double)(clock() - begun) / CLOCKS_PER_SEC;
    float kept = 0;
    for (int k = 0; k < CHAINS; k++)
        kept += sum[k][0];
    printf("%g %g\n", 2e-9 * LANES * CHAINS * rounds / seconds, kept);
    return 0;
}
"""
"""Twelve independent chains of fused multiply-adds: more than two units with four cycles need."""


def facts() -> dict[str, Any]:
    instructions = kernel_instructions()
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "kernel": instructions.name if instructions else "none: torch",
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
    } | {name: metadata.version(name) for name in ("torch", "seisbench", "obspy", "numpy")}


def processor() -> str:
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text().splitlines() if listed.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def peak_gflops() -> float | None:
    """Most float32 operations that a core does in a second; None where no C compiler tells."""
    compiler = shutil.which("cc")
    if compiler is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder) / "fma.c", Path(folder) / "fma"
        source.write_text(FMA_LOOP)
        flags = ["-O3", "-march=native", "-ffp-contract=fast"]
        command = [compiler, *flags, str(source), "-o", str(program)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
        runs = [
            subprocess.run([program], capture_output=True, text=True, check=True).stdout.split()[0]
            for _ in range(REPEATS)
        ]
    return max(map(float, runs))


def memory_gb_s(nbytes: int) -> float:
    """GB read and written a second by one core that copies."""
    a, b = np.ones(nbytes, np.uint8), np.empty(nbytes, np.uint8)
    return 2e-9 * nbytes / least_cpu_s(lambda: np.copyto(b, a))


def bare_unpacking_s(files: Sequence[Path]) -> float:
    """CPU seconds of libmseed alone: files read and unpacked, nothing made of them."""
    return least_cpu_s(lambda: [MS3TraceList.from_file(str(f), unpack_data=True) for f in files])


def gflop(weights: Weights, windows: int) -> float:
    """Operations of the forward passes, a multiply-add counting two."""
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        weights.network()(torch.zeros(1, 3, WINDOW))
    return float(counter.get_total_flops()) * windows / 1e9


def least_cpu_s(work: Any) -> float:
    seconds = []
    for _ in range(REPEATS):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)
