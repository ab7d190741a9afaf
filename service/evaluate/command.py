"""`tidepick eval WHAT evaluation.toml`: what each does, and what it prints."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from rich.console import Console

from service.evaluate.days.continuous import eval_audit, eval_continuous
from service.evaluate.labelled.compare import eval_compare
from service.evaluate.labelled.oracle import eval_oracle
from service.evaluate.labelled.splits import eval_splits
from service.evaluate.noise.rates import eval_noise
from service.evaluate.report import eval_report
from service.evaluate.snr.snr import eval_snr

WHATS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "audit": eval_audit,
    "compare": eval_compare,
    "continuous": eval_continuous,
    "noise": eval_noise,
    "oracle": eval_oracle,
    "report": lambda options, out: eval_report(options, out, WHATS),
    "snr": eval_snr,
    "splits": eval_splits,
}


def evaluate(options: argparse.Namespace, out: Console) -> int:
    """Returns the exit code."""
    return WHATS[options.what](options, out)
