"""Picks campaigns in processes that may be killed: `python killable.py`, an order a line, as JSON.

{"run": {...}} forks a process for one single-process run and replies its pid; {"wait": pid} replies
its exit code, -9 after SIGKILL. The process that forks has imported everything and started no
thread, so that a kill costs no new import of torch. At the end of its input it ends what it began.

A run is told where to stop: at the `nth` create of a key that begins with `prefix` (0: at each),
`before` or `after` the store has it, or once it is `linked` into a local directory and its writer
does not know yet. There it is killed, or held until the test has made the file that it waits for.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import s3fs

from catalog.runs import write_run_record
from catalog.schema import Outcome
from catalog.store import LocalStore, S3Store
from service.campaign import load_campaign
from service.mended import mended
from service.outstanding import outstanding, survey
from service.prepare import prepare
from service.provenance import provenance
from workers.picker import Picker


def main() -> None:
    running: set[int] = set()
    for line in sys.stdin:
        order = json.loads(line)
        if "run" in order:
            reply = os.fork()
            if reply == 0:
                _become(order["run"])
            running.add(reply)
        else:
            reply = os.waitstatus_to_exitcode(os.waitpid(order["wait"], 0)[1])
            running.remove(order["wait"])
        print(reply, flush=True)
    for pid in running:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _become(order: dict[str, Any]) -> None:
    """Be the process of one run; never returns."""
    code = 1
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(log, stream.fileno())
    try:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(order["environment"])
        s3fs.S3FileSystem.clear_instance_cache()
        if order["stop"] is not None:
            _stop(**order["stop"])
        _run(Path(order["campaign"]), frozenset(map(Outcome, order["retry"])))
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        sys.stdout.flush()
        os._exit(code)


def _run(campaign: Path, retry: frozenset[Outcome]) -> None:
    """What `tidepick run` does, by one picker and without Ray; prints how many commits it won."""
    prepared = prepare(load_campaign(campaign))
    plan, assignment = prepared.plan, prepared.assignment
    asked = plan, assignment.candidates, prepared.store
    again = retry, mended(prepared)
    survey(*asked, plan.months(), *again)
    facts = provenance(prepared, {}, str(campaign))
    write_run_record(prepared.store, assignment.run, uuid.uuid4().hex[:12], "start", facts)
    picker = Picker(assignment)
    won = 0
    for work in outstanding(*asked, plan.months(), *again):
        won += len(picker.pick(work).won)
    survey(*asked, plan.months())
    print(json.dumps({"won": won}))


def _stop(moment: str, prefix: str, nth: int, hold: str | None) -> None:
    """Stop every writer of this process at the nth matching create."""
    seen = 0

    def reach() -> None:
        if hold is None:
            os.kill(os.getpid(), signal.SIGKILL)
        Path(f"{hold}.{seen}").touch()
        while not Path(f"{hold}.{seen}.go").exists():
            time.sleep(0.005)

    def watched(create: Callable[[Any, str, bytes], bool]) -> Callable[[Any, str, bytes], bool]:
        def stopping(store: Any, key: str, body: bytes) -> bool:
            nonlocal seen
            matches = key.startswith(prefix)
            seen += matches
            here = matches and nth in (0, seen)
            if here and moment == "before":
                reach()
            if here and moment == "linked":
                _after_link(reach)
            created = create(store, key, body)
            if here and moment == "after":
                reach()
            return created

        return stopping

    kinds: tuple[Any, ...] = (LocalStore, S3Store)
    for kind in kinds:
        kind.create = watched(kind.create)


def _after_link(reach: Callable[[], None]) -> None:
    link = os.link

    def linking(source: Path, target: Path) -> None:
        link(source, target)
        reach()

    os.link = linking  # type: ignore[assignment]


if __name__ == "__main__":
    main()
