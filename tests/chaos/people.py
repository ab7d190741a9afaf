"""Who uses the product meanwhile: one who starts its run again and again, one who reads."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.endpoints import ROOT

SNAPSHOT = """\
SELECT (SELECT count(*) FROM picks) AS picks,
       (SELECT count(*) FROM (SELECT DISTINCT candidate, network, station, location, band, phase,
                                              time FROM picks)) AS peaks,
       (SELECT coalesce(sum(picks), 0)::BIGINT FROM coverage) AS promised,
       (SELECT count(*) FROM coverage) AS covered,
       (SELECT count(*) FROM (SELECT DISTINCT candidate, network, station, location, band, day
                              FROM coverage)) AS cells"""

COMPLETE, INCOMPLETE, REFUSED = 0, 1, 2


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "service.cli", *map(str, arguments), "--json"]


@dataclass
class Driver:
    """A `tidepick run`. It says how it ended in `out`, and why in `err`."""

    process: subprocess.Popen[bytes]
    out: Path
    err: Path
    begun: float = field(default_factory=time.monotonic)

    def facts(self) -> dict[str, Any]:
        """What it printed; nothing where it was killed."""
        try:
            return dict(json.loads(self.out.read_text()))
        except ValueError:
            return {}


@dataclass
class User:
    """Starts the run, and starts it again when it ended without being complete.

    Where station-days failed for good, with `--retry failed`, as the run tells; and where nothing
    else is left than what the store refuses, once it has asked for access, with
    `--retry failed,access_denied`. ask: how it asks.
    """

    campaign: Path
    address: str
    environment: Mapping[str, str]
    ask: Callable[[], None]
    drivers: list[Driver] = field(default_factory=list)
    invocations: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    why: list[str] = field(default_factory=list)
    complete: bool = False
    _retry: list[str] = field(default_factory=list)

    def start(self) -> None:
        folder = self.campaign.parent
        out, err = (folder / f"run-{self.invocations:02d}.{kind}" for kind in ("out", "err"))
        arguments = ["run", self.campaign, "--address", self.address]
        if self._retry:
            arguments += ["--retry", ",".join(self._retry)]
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                command(*arguments), cwd=ROOT, env=self.environment, stdout=stdout, stderr=stderr
            )
        self.invocations += 1
        self.drivers.append(Driver(process, out, err))

    def look(self) -> None:
        """Take note of the runs that have ended."""
        for driver in list(self.drivers):
            code = driver.process.poll()
            if code is None:
                continue
            self.drivers.remove(driver)
            facts = driver.facts()
            self.ends[str(code)] += 1
            self.complete = self.complete or code == COMPLETE
            outcomes = facts.get("outcomes", {})
            if "access_denied" not in self._retry:
                self._retry = ["failed"] if outcomes.get("failed") else []
                if outcomes.get("access_denied") and not facts["left"] and not self.drivers:
                    self.ask()
                    self._retry = ["failed", "access_denied"]
            if code in (INCOMPLETE, REFUSED):
                told = facts.get("error") or f"{facts.get('outcomes')} {facts.get('failures')}"
                self.why.append(f"{code}: {told}"[:400])
            if "Traceback" in driver.err.read_text():
                self.why.append(f"{code}: traceback in {driver.err}")


class Reader:
    """Queries the catalogue and asks for its status, one after the other, all the time.

    seen: how its commands ended. wrong: what it should never have been told.
    """

    def __init__(self, catalog: str, environment: Mapping[str, str], pause_s: float) -> None:
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._catalog, self._environment, self._pause_s = catalog, environment, pause_s
        self._over = threading.Event()
        self._asking: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._read)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._asking is not None:
            self._asking.kill()  # what it would have said is not waited for
        self._thread.join()

    def _read(self) -> None:
        while not self._over.wait(self._pause_s):
            self._ask("query", SNAPSHOT)
            if not self._over.wait(self._pause_s):
                self._ask("status")

    def _ask(self, what: str, *arguments: str) -> None:
        self._asking = subprocess.Popen(
            command(what, self._catalog, *arguments),
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        out, err = self._asking.communicate()
        code = self._asking.returncode
        if self._over.is_set():
            return
        if code == REFUSED and not err:
            self.seen[f"{what}: told why it cannot"] += 1
            if "no catalogue there" not in out:
                self.seen[json.loads(out)["error"][:200]] += 1
        elif "Traceback" in err or code not in (COMPLETE, INCOMPLETE):
            self.wrong.append(f"{what} ended {code}: {err[-2000:]}")
        else:
            self.seen[f"{what}: answered"] += 1
            if what == "query":
                (row,) = json.loads(out)
                whole = row["picks"] == row["peaks"] == row["promised"]
                if not whole or row["covered"] != row["cells"]:
                    self.wrong.append(f"query saw {row}")
