"""`tidepick eval WHAT evaluation.toml`: what each does, and what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rich.console import Console

from service.evaluate.compare import eval_compare
from service.evaluate.oracle import eval_oracle
from service.evaluate.splits import eval_splits

WHATS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "compare": eval_compare,
    "oracle": eval_oracle,
    "splits": eval_splits,
}


def evaluate(options: argparse.Namespace, out: Console) -> int:
    """Returns the exit code."""
    return WHATS[options.what](options, out)
