"""`builtin:synthetic` does what its model card says, on synthetic days that it never saw."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import obspy
import pytest
import seisbench.models as sbm
import torch
from safetensors.torch import load_file

import workers
from catalog.schema import COMPONENTS, PHASES, TraceId
from workers.synthetic import RATE, Recording, station_day
from workers.training import Picks, arrivals_of, found

BUILTIN = Path(workers.__file__).parent / "builtin"
HOURS = 3
DAYS = 3
SEED = 20_240_301  # training draws from seeds 0 and [0, 1]


def seisbench_picks(name: str, recording: Recording) -> Picks:
    """SeisBench's picks with builtin weights at the thresholds that their json recommends."""
    description = json.loads((BUILTIN / f"{name}.json").read_text())
    model = sbm.PhaseNet(**description["model_args"])
    model.load_state_dict(load_file(BUILTIN / f"{name}.safetensors"))
    stream = obspy.Stream()
    for component, row in zip(COMPONENTS, recording.data, strict=True):
        piece = obspy.Trace(row, {"sampling_rate": RATE})
        piece.id = f"{recording.trace}{component}"
        piece.stats.starttime = obspy.UTCDateTime(ns=recording.start_ns)
        stream += piece
    torch.set_num_threads(1)
    picks = model.classify(stream, batch_size=64, **description["default_args"]).picks
    return [(pick.phase, pick.peak_time.ns) for pick in picks]


PICKER: Callable[[str, Recording], Picks] = seisbench_picks


@pytest.fixture(scope="module")
def days() -> list[Recording]:
    return [
        station_day(TraceId("XX", "NEW", "", "HH"), 0, HOURS * 3600.0, 20.0, rng)
        for rng in np.random.default_rng(SEED).spawn(DAYS)
    ]


def score(name: str, days: list[Recording]) -> dict[str, float]:
    """Recall of each phase within 0.5 s, and unmatched picks per station-hour."""
    hits, planted, made = dict.fromkeys(PHASES, 0), dict.fromkeys(PHASES, 0), 0
    for day in days:
        picks, truth = PICKER(name, day), arrivals_of(day.arrivals)
        made += len(picks)
        for phase in PHASES:
            arrivals = [arrival for arrival in truth if arrival[0] == phase]
            hits[phase] += found(picks, arrivals)
            planted[phase] += len(arrivals)
    recall = {phase: hits[phase] / planted[phase] for phase in PHASES}
    return {**recall, "false": (made - sum(hits.values())) / (DAYS * HOURS)}


def test_builtin_weights_on_unseen_days(days: list[Recording]) -> None:
    scores, early = score("synthetic", days), score("synthetic_early", days)
    assert scores["P"] >= 0.9
    assert scores["S"] >= 0.9
    assert scores["false"] < 1
    # The early checkpoint is there to be told apart: usable, and worse.
    for phase in PHASES:
        assert 0.5 < early[phase] < scores[phase]
    assert early["false"] > scores["false"]


def test_a_pick_finds_one_arrival_of_its_phase() -> None:
    second = 10**9
    assert found([("P", 0)], [("P", second // 2)]) == 1
    assert found([("P", 0)], [("P", second // 2 + 1)]) == 0
    assert found([("S", 0)], [("P", 0)]) == 0
    assert found([("P", 0)], [("P", 0), ("P", second // 4)]) == 1
    assert found([("P", 0), ("P", second)], [("P", second // 4), ("P", second)]) == 2


def test_builtin_files_are_small_and_complete() -> None:
    for name in ("synthetic", "synthetic_early"):
        assert 1_000_000 < (BUILTIN / f"{name}.safetensors").stat().st_size < 1_200_000
        description = json.loads((BUILTIN / f"{name}.json").read_text())
        assert set(description["default_args"]) == {"P_threshold", "S_threshold"}
        assert name in (BUILTIN / "MODEL_CARD.md").read_text()
