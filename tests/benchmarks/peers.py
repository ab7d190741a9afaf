"""The peers: SeisBench `classify`, and RAPID where it is installed (pip install rapid-seis)."""

from __future__ import annotations

import importlib
from typing import Any

import obspy
import torch

from service.bench.stages import (
    ASSEMBLE,
    FORWARD,
    PEAKS,
    READ,
    STACK,
    WINDOWS,
    Clock,
    Hook,
)
from tests.benchmarks.contenders import FLOOR, Contender
from tests.benchmarks.days import Stretch
from tests.peer import seisbench
from workers.phasenet import WINDOW
from workers.weights import Weights
from workers.windows import STEP

SEISBENCH_BATCHES = (256, 64, 32)
"""256 is its default."""

RAPID_BATCHES = (256, 64)
"""256 is its default."""

NO_RAPID = "RAPID not installed: pip install rapid-seis"


def seisbench_contender(stretch: Stretch, weights: Weights, batch: int) -> Contender:
    model = seisbench(weights)
    stages = {
        "annotate_stream_pre": ASSEMBLE,
        "annotate_stream_validate": ASSEMBLE,
        "stream_to_array": ASSEMBLE,
        "_cut_fragments_array": WINDOWS,
        "_predict_windows": WINDOWS,
        "annotate_batch_pre": WINDOWS,
        "forward": FORWARD,
        "annotate_batch_post": STACK,
        "_recursive_torch_to_numpy": STACK,
        "_recursive_slice_pred": STACK,
        "_stack_predictions_array": STACK,
        "_predictions_to_stream": STACK,
        "classify_aggregate": PEAKS,
    }
    hooks = [Hook(model, name, stage) for name, stage in stages.items()]
    hooks += [Hook(model._grouping, "group_stream", ASSEMBLE)]
    hooks += [Hook(obspy.Stream, name, ASSEMBLE) for name in ("copy", "merge")]

    def run(clock: Clock) -> int:
        with clock.stage(READ):
            stream = read(stretch)
        found = model.classify(stream, P_threshold=FLOOR, S_threshold=FLOOR, batch_size=batch)
        return len(found.picks)

    return Contender(run, hooks)


def rapid_missing() -> str:
    """Why RAPID cannot take part; empty where it can."""
    try:
        importlib.import_module("rapid.benchmark.fairness")
    except ImportError as error:
        return NO_RAPID if error.name == "rapid" else f"RAPID cannot be imported: {error}"
    return ""


def rapid_contender(stretch: Stretch, weights: Weights, batch: int) -> Contender:
    """`rapid.api.slipstream` in fp32 at our overlap, step by step; the weights are loaded before.

    It keeps the first trace of each component alone: give it a stretch without gaps.
    """
    lean = importlib.import_module("rapid.backends.lean_pytorch")
    fairness = importlib.import_module("rapid.benchmark.fairness")
    phase_indices = importlib.import_module("rapid.seisbench_precision_eval").phase_indices
    backend: Any = lean.LeanPyTorchBackend("PhaseNet", weights.source, "cpu", "fp32")
    # what its load() does after SeisBench's from_pretrained(), which knows no weights of ours
    model: Any = seisbench(weights)
    backend._raw_model = backend._fwd_model = model
    backend._torch_device, backend._torch_dtype = torch.device("cpu"), torch.float32
    backend.in_samples, backend.sampling_rate = model.in_samples, model.sampling_rate
    backend.component_order = model.component_order

    def run(clock: Clock) -> int:
        streams = [(str(stretch.trace), read(stretch))]
        names, windows, counts, starts = fairness.build_windowed_batch(
            model, streams, WINDOW, WINDOW - STEP, component_order=backend.component_order
        )
        probabilities = backend.infer_chunked(windows, batch_size=batch)
        p, s = phase_indices(model)
        found = fairness.windows_to_station_picks(
            *(probabilities, names, counts, starts),
            p_idx=p,
            s_idx=s,
            p_threshold=FLOOR,
            s_threshold=FLOOR,
        )
        return sum(len(times) for station in found.values() for times in station.values())

    return Contender(run)


def read(stretch: Stretch) -> obspy.Stream:
    stream = obspy.Stream()
    for path in stretch.files():
        stream += obspy.read(str(path))
    return stream
