"""`tidepick eval snr`: does the benchmark tell the candidates apart, or is it noise?

Tables: `snr` (each bin and measure), `snr_decisions` (would the benchmark's ranking be that of
continuous days and of noise), `snr_sizes` (how many traces that takes), `snr_bins` (bins of most
signal, chosen on development, scored on tuning), `snr_average` (averaged checkpoints beside those
that they are the mean of), `snr_training` (whether a family's checkpoints still improve) and
`snr_spreads` (whether another spread than the gap would say more). Thresholds are those of equal
false picks per hour where noise was judged, else the evaluation's.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

from rich.console import Console

from catalog.errors import Refusal
from service.evaluate.config import Evaluation, load_evaluation
from service.evaluate.labelled.oracle import eval_oracle
from service.evaluate.noise.rates import eval_noise
from service.evaluate.pieces import Workbench
from service.evaluate.shown import show
from service.evaluate.snr.question import question_of
from service.evaluate.snr.screen import shown_tables
from service.evaluate.snr.tables import tables_of
from service.evaluate.tables import keep, kept, outdated


def eval_snr(options: argparse.Namespace, out: Console) -> int:
    evaluation = load_evaluation(options.evaluation)
    if not evaluation.benchmark:
        raise Refusal(f"evaluation {options.evaluation}: benchmark: missing; name labelled traces")
    with redirect_stdout(sys.stderr if options.json else sys.stdout):
        say = Console(stderr=True) if options.json else out
        codes = list(_run_what_lacks(evaluation, options, say))
        bench = Workbench.of(evaluation, say, options.address)
        try:
            question, facts = question_of(evaluation, options.evaluation, bench)
            tables = tables_of(question)
        except ValueError as error:
            raise Refusal(f"snr: {error}") from error
    if out_of_it := sorted(set(filter(None, tables["snr"]["excluded"].to_pylist()))):
        facts["degenerate, no signal"] = "; ".join(out_of_it)
    for name, made in tables.items():
        keep(Path(evaluation.out), name, made)
    if options.json:
        show(out, True, tables, facts)
    else:
        show(out, False, {}, facts)
        for each in shown_tables(tables):
            out.print(each)
    return max([*codes, bench.tell_unfinished()])


def _run_what_lacks(
    evaluation: Evaluation, asked_with: argparse.Namespace, say: Console
) -> Iterator[int]:
    """What the table rests on and the file has data for."""
    folder = Path(evaluation.out)
    options = argparse.Namespace(
        evaluation=asked_with.evaluation, json=False, address=asked_with.address, open_test=None
    )
    runs: list[tuple[str, bool, Callable[[argparse.Namespace, Console], int]]] = [
        ("noise_thresholds", evaluation.noise is not None, eval_noise),
        ("traces", True, eval_oracle),  # perhaps at thresholds that noise gives
    ]
    for name, asked, run in runs:
        if asked and (kept(folder, name) is None or outdated(folder, name)):
            yield run(options, say)
