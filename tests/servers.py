"""Servers that tests start on loopback: a free port, and whether they answer yet."""

from __future__ import annotations

import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

HOST = "127.0.0.1"
PATIENCE_S = 120


def free_port(host: str = HOST) -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def await_answer(
    url: str, server: subprocess.Popen[bytes], log: Path, headers: Mapping[str, str] | None = None
) -> None:
    """Until a GET succeeds. Raises RuntimeError with the log where it will not."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"the server of {url} ended: {log.read_text()}")
        try:
            with urllib.request.urlopen(request, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"no answer at {url}: {log.read_text()}")
