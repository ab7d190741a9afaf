"""Workers of `tidepick eval` on Ray, and the death of one while they work."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

from service.evaluate.pool import Over, examined


def killing(killed: list[int]) -> Callable[..., Iterator[Over]]:
    """As `examined`, but that one worker is killed when the first piece is over; killed: its
    process."""

    def run(*arguments) -> Iterator[Over]:
        for over in examined(*arguments):
            if not killed:
                killed.extend(examiners_of_ours()[:1])
                os.kill(killed[0], signal.SIGKILL)
            yield over

    return run


def examiners_of_ours() -> list[int]:
    """Processes of Ray's examining actors that descend from this one."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            names[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        parents[int(folder.name)] = int(status[1])

    def ours(pid: int) -> bool:
        while pid in parents:
            if pid == os.getpid():
                return True
            pid = parents[pid]
        return False

    return sorted(p for p, name in names.items() if b"_ExamineActor" in name and ours(p))
