"""`tidepick eval WHAT evaluation.toml`: what each does, and what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rich.console import Console

from service.evaluate.oracle import eval_oracle

WHATS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "oracle": eval_oracle,
}


def evaluate(options: argparse.Namespace, out: Console) -> int:
    """Returns the exit code."""
    return WHATS[options.what](options, out)
