"""A process that reads bad files, and what is watched of it."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
import traceback
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

from tests.fuzz.check import read
from tests.fuzz.mutate import mutated

HANG_S = 5.0
"""CPU seconds that a file of at most 100 kB may take; after four times as many it is killed."""

DEADLINE_S = 900.0
"""Wall seconds without a word, after which a process is killed: the machine may be busy."""

MEMORY = 256 * 2**20
"""Bytes that a file may take beyond what the process had before."""

SPACE = 3 * 2**30
"""Bytes of address space beyond that of a fresh process: what asks for more gets MemoryError."""

CONTEXT = multiprocessing.get_context("spawn")


class Worker:
    """A process that reads every `step`-th file from `first` on; `at` is the one in hand."""

    def __init__(self, first: int, step: int, files: int, seed: int) -> None:
        self.at = CONTEXT.Value("q", first)
        self.began = time.monotonic()
        self.results, theirs = CONTEXT.Pipe(duplex=False)
        self.process = CONTEXT.Process(
            target=work,
            args=(first, step, files, seed, self.at, theirs),
            daemon=True,
        )
        self.process.start()
        theirs.close()

    def told(self) -> Iterator[tuple[Any, ...]]:
        """What it has to say by now. Raises EOFError where it is gone and has said all."""
        while self.results.poll():
            yield self.results.recv()
            self.began = time.monotonic()


def work(
    first: int, step: int, files: int, seed: int, at: Synchronized[int], results: Connection
) -> None:
    """Reads its files and sends (number, name, verdict, CPU s, bytes beyond, what is wrong)."""
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # C libraries print what they think
    mutated(0, seed)
    space = _status("VmSize") + SPACE
    resource.setrlimit(resource.RLIMIT_AS, (space, space))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for number in range(first, files, step):
        name, body = mutated(number, seed)
        at.value = number
        signal.setitimer(signal.ITIMER_PROF, 4 * HANG_S)  # its signal ends C code too
        Path("/proc/self/clear_refs").write_text("5")  # peak memory counts from here
        before, cpu, wrong = _status("VmRSS"), time.process_time(), ""
        try:
            verdict = read(name, body)
        except Exception:
            verdict, wrong = "raised", traceback.format_exc(limit=-6)
        seconds, beyond = time.process_time() - cpu, _status("VmHWM") - before
        if not wrong and seconds > HANG_S:
            verdict, wrong = "slow", f"{seconds:.1f} CPU s"
        if not wrong and beyond > MEMORY:
            verdict, wrong = "memory", f"{beyond / 2**20:.0f} MB"
        results.send((number, name, verdict, seconds, beyond, wrong))
    at.value = files


def _status(field: str) -> int:
    """Bytes, of a field of /proc/self/status."""
    with open("/proc/self/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field):
                return int(line.split()[1]) * 1024
    raise KeyError(field)
