"""The words of `tidepick eval`."""

from __future__ import annotations

import argparse
from pathlib import Path

from service.commands import Commands, add_command

EVALUATION = """
An evaluation file:

  name = "spring"
  out = "evaluation"                   # tables and report
  baseline = "original"                # what others are compared with; the first if none is named
  splits = "splits"                    # optional: where `tidepick eval splits` keeps them
  thresholds = "fixed"                 # or equal_emitted, f1_optimal: solved on tuning, once;
                                       # equal_false_picks: on noise, once
  muenchmeyer = true                   # optional: their three tasks beside
  label_errors = "errors.csv"          # optional: scores with these traces and without
  [[candidate]]                        # as in a campaign
  name = "original"
  weights = "original.safetensors"
  [[candidate]]
  name = "e05"
  weights = "e05.safetensors"
  [[candidate]]
  name = "e07"
  weights = "e07.safetensors"
  [[benchmark]]                        # labelled traces
  name = "ncedc"
  kind = "npz"                         # seisbench (a folder), npz, csv_zarr, table
  path = "ncedc_labelled.npz"
  [[manifest]]                         # optional: what a candidate was trained on
  candidate = "original"
  path = "trained_on.csv"              # dataset, chunk, trace_name; or sha256
  [noise]
  catalog = "catalog"                  # picked by the same candidates
  windows = "noise.parquet"            # or events and stations, to build them from
  [continuous]
  catalog = "catalog"
  arrivals = ["picks.csv"]             # QuakeML, csv, parquet
  [[family]]                           # optional: whose differences are noise of training
  candidates = ["e05", "e07"]          # in order
  kind = "checkpoints"                 # or seeds: three trainings or more
  [arena]                              # optional: battles by rule
  votes = "arena.db"                   # optional: what people said, beside them

Relative paths start at the evaluation file's folder.
"""


def add_evaluations(whats: Commands) -> None:
    """Add what can be evaluated to `tidepick eval`."""

    def what(name: str, summary: str) -> argparse.ArgumentParser:
        epilog = f"example:\n  tidepick eval {name} evaluation.toml\n{EVALUATION}"
        return add_command(whats, name, summary, epilog, command="eval", what=name)

    oracle = what("oracle", "Run the candidates over labelled traces, and score recall and timing.")
    oracle.add_argument("evaluation", type=Path)
    _may_join(oracle)
    _may_open(oracle)
    for name, summary in (
        ("noise", "False picks per station-hour on verified noise, and the threshold for a rate."),
        ("continuous", "Picks of continuous days against analysts' arrivals."),
        ("compare", "Which candidate is better, by how much and how surely: paired."),
        (
            "splits",
            "Development, tuning and sealed test by event; who was trained on what.",
        ),
        (
            "snr",
            "Signal to noise of each bin and metric: does the benchmark tell candidates apart?",
        ),
        ("report", "All of it that the file names, in one html page."),
    ):
        sub = what(name, summary)
        sub.add_argument("evaluation", type=Path)
        if name not in ("compare", "splits"):  # these read tables, and run nothing
            _may_join(sub)
    audit = what("audit", "Draw extras to be reviewed; the answers give the audited precision.")
    audit.add_argument("evaluation", type=Path)
    _may_join(audit)
    audit.add_argument(
        "--draw",
        type=int,
        default=50,
        metavar="N",
        help="extras of each candidate and phase (%(default)s)",
    )


def _may_join(sub: argparse.ArgumentParser) -> None:
    sub.add_argument("--address", help="a Ray cluster to join (auto, HOST:6379)")


def _may_open(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--open-test",
        metavar="WHY",
        help="judge on the sealed test split; who opened it, when and why is kept for ever",
    )
