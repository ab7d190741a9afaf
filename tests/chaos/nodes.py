"""A Ray cluster of three nodes on this machine, whose processes may be killed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from service.ray_auth import private_token
from tests.chaos.endpoints import inhabit

CPUS = 3
"""Logical ones a node, of which the actors take one each."""

STARTS = 5
"""Ray gives a node 30 s to start, and then gives it up."""

QUIET = {
    "prestart_worker_first_driver": False,  # each would import torch for nothing
    "enable_worker_prestart": False,
    "worker_register_timeout_seconds": 300,  # on a machine that is busy with other things
}


class Nodes:
    """The head, which is left alive and has no CPUs; and two nodes that work."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self._cluster: Any = Cluster(
            initialize_head=True,
            shutdown_at_exit=True,
            head_node_args={
                "node_ip_address": "127.0.0.2",
                "num_cpus": 0,
                "object_store_memory": 80_000_000,
                "include_dashboard": False,
                "_system_config": QUIET,
            },
        )
        self._started = 0
        for _ in range(2):
            self.add()

    @property
    def address(self) -> str:
        return str(self._cluster.address)

    def __len__(self) -> int:
        """Of those that work."""
        return len(self._cluster.worker_nodes)

    def add(self) -> None:
        """One more node, at an address of its own; tried again where this machine is too busy."""
        for left in reversed(range(STARTS)):
            self._started += 1
            try:
                self._cluster.add_node(
                    node_ip_address=f"127.0.0.{2 + self._started}",
                    num_cpus=CPUS,
                    object_store_memory=80_000_000,
                )
                return
            except Exception as error:  # Ray raises no narrower one
                if not left or "timed out" not in str(error).lower():
                    raise

    def kill_one(self, which: int) -> None:
        """All processes of a node at once, without a word to anybody."""
        nodes = sorted(self._cluster.worker_nodes, key=lambda node: str(node.node_ip_address))
        self._cluster.remove_node(nodes[which % len(nodes)], allow_graceful=False)

    def actors(self) -> list[int]:
        """Pids of the processes in which actors live."""
        raylets = {
            process.process.pid
            for node in self._cluster.worker_nodes
            for process in node.all_processes.get("raylet", ())
        }
        return [pid for pid, title in descendants(raylets).items() if "PickActor" in title]

    def shutdown(self) -> None:
        self._cluster.shutdown()


@contextmanager
def ray_nodes(environment: Mapping[str, str]) -> Iterator[tuple[Nodes, dict[str, str]]]:
    """A cluster, and the environment in which it lives; ended with all that it began.

    Nothing of it is seen by, or sees, another Ray of this machine.
    """
    folder = tempfile.mkdtemp(prefix="chaos", dir="/tmp")  # Ray's sockets need a short path
    kept = {name: value for name, value in environment.items() if not name.startswith("RAY_AUTH")}
    with (
        inhabit(kept | {"RAY_TMPDIR": folder, "RAY_USAGE_STATS_ENABLED": "0"}),
        private_token(),  # this process may have had another Ray before
    ):
        try:
            nodes = Nodes()
            try:
                yield nodes, dict(os.environ)
            finally:
                nodes.shutdown()
        finally:
            for pid, title in descendants({os.getpid()}).items():
                if folder in title or "ray::" in title:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)


def descendants(ancestors: set[int]) -> dict[int, str]:
    """Living processes below some others: pid -> command line."""
    children: dict[int, list[int]] = defaultdict(list)
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            state, parent, *_ = status.read_text().rpartition(")")[2].split()
            if state != "Z":
                children[int(parent)].append(int(status.parent.name))
    found: dict[int, str] = {}
    waiting = list(ancestors)
    while waiting:
        for pid in children[waiting.pop()]:
            with suppress(FileNotFoundError, ProcessLookupError):
                title = Path(f"/proc/{pid}/cmdline").read_bytes()
                found[pid] = title.replace(b"\0", b" ").decode(errors="replace")
            waiting.append(pid)
    return found
